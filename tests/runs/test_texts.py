"""What a run says of its texts before it trains: unknown, cut, left out, repeated in another split; what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from command import adapt_here
from transformers import BertConfig, BertForMaskedLM
from world import TAGGING, overrides, pipeline, sentence, tagged, write_jsonl

from adapt import results
from adapt.config import ConfigError
from adapt.runs import texts

LABELS = ("animal", "metal")
FOREIGN = {  # of none of these has the world's vocabulary a word
    "Korean": "이 영화 정말 재미있고 감동적이다",
    "Greek": "η γάτα κοιμάται πάνω στο παλιό τραπέζι",
    "Hindi": "यह फिल्म बहुत अच्छी और मजेदार है",
    "Cyrillic": "кошка спит на старом столе у окна",
}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_said", set())


def write_task(folder: Path, **instead: list[dict]) -> list[str]:
    """Splits of 16, 8 and 8 examples in one world, or others; returns the overrides."""
    for split, numbers in {"train": range(8), "dev": range(50, 54), "test": range(60, 64)}.items():
        rows = [{"text": sentence(label, number), "label": label} for number in numbers for label in LABELS]
        write_jsonl(folder / f"{split}.jsonl", instead.get(split, rows))
    return [f"task.path={folder}", "evaluate=clean", "finetune=linear_probe"]


def mixed(foreign: str, share: float, count: int = 8) -> list[dict]:
    """Examples of 20 words, that share of which is foreign."""
    words = (foreign.split() * 9)[: round(20 * share)]
    known = ["the", "old", "cat", "is", "near", "a", "tin", "of", "gold", "and"] * 2
    return [
        {"text": " ".join([*words, *known[: 20 - len(words)]]), "label": LABELS[number % 2]} for number in range(count)
    ]


def built(root: Path) -> set[str]:
    """The kinds of the stages in the store."""
    return {folder.parent.name for folder in root.glob("store/*/*/")}


def rows_of(root: Path, metric: str) -> dict[str, tuple[float, int]]:
    table = results.load(root)
    mine = table[table["metric"] == metric]
    return {row.split: (row.value, row.n) for row in mine.itertuples()}


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("script", FOREIGN)
def test_a_split_that_is_mostly_unknown_is_refused_before_anything_is_trained(
    world: Path, tmp_path: Path, script: str, split: str
) -> None:
    settings = write_task(tmp_path / "task", **{split: mixed(FOREIGN[script], 0.4)})
    with pytest.raises(
        ConfigError, match=rf"task=jsonl: {split}: 40% is unknown .* more than 30% .* allow_unknown=true"
    ):
        pipeline(world, tmp_path / "root", *settings).run()
    assert not {"finetune", "evaluate"} & built(tmp_path / "root")


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_a_mostly_unknown_task_is_read_where_that_is_allowed_and_its_rows_say_so(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    settings = write_task(tmp_path / "task", test=mixed(FOREIGN["Korean"], share))
    pipeline(world, tmp_path / "root", *settings, "allow_unknown=true").run()
    assert rows_of(tmp_path / "root", "unknown_tokens")["test"] == (share, 160)
    assert rows_of(tmp_path / "root", "unread_texts")["test"] == (8 if share == 1 else 0, 8)
    assert f"warning: task=jsonl: test: {share:.0%} is unknown to the tokenizer" in caplog.text
    assert ("test.jsonl:1" in caplog.text) == (share == 1)  # where the first text of only unknown tokens stands
    table = results.load(tmp_path / "root")
    assert "allow_unknown" not in table.columns  # it decides no number
    with pytest.raises(ConfigError, match="is unknown"):  # the same run, found in the store
        pipeline(world, tmp_path / "root", *settings).run()


@pytest.mark.parametrize(("share", "warns"), [(0.0, False), (0.05, False), (0.1, True), (0.3, True)])
def test_a_partly_unknown_split_is_read_with_a_warning(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float, warns: bool
) -> None:
    settings = write_task(tmp_path / "task", dev=mixed(FOREIGN["Greek"], share))
    with caplog.at_level(logging.WARNING):
        pipeline(world, tmp_path / "root", *settings).run()
    assert rows_of(tmp_path / "root", "unknown_tokens")["dev"] == (pytest.approx(share), 160)
    assert ("task=jsonl: dev: " in caplog.text) == warns


@pytest.mark.parametrize("chain", ["pretrain=[dapt]", "evaluate=adaptation"])
def test_a_corpus_that_is_mostly_unknown_is_refused_before_anything_is_trained(
    world: Path, tmp_path: Path, chain: str
) -> None:
    settings = write_task(tmp_path / "task")
    words = FOREIGN["Korean"].split()
    write_jsonl(
        tmp_path / "corpus.jsonl",
        [{"text": f"{' '.join(words[: 2 + number % 4])} the cat n{number}"} for number in range(60)],
    )
    given = [*settings, f"corpus.path={tmp_path / 'corpus.jsonl'}", "corpus.min_words=1", chain]
    with pytest.raises(ConfigError, match=r"text/corpus: train: \d\d% is unknown .* allow_unknown=true"):
        pipeline(world, tmp_path / "root", *given).run()
    assert not {"finetune", "evaluate", "pretrain"} & built(tmp_path / "root")


def test_a_vocabulary_without_its_settings_is_refused(tmp_path: Path, world: Path) -> None:
    """transformers 5 reads a vocab.txt without tokenizer_config.json as lower-casing, and then strips marks.

    For that it decomposes, so that syllables of Hangul become letters that no vocabulary holds.
    """
    folder, said = tmp_path / "model", FOREIGN["Korean"]
    letters = sorted({letter for word in said.split() for letter in word})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    config.intermediate_size = 16
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    rows = [{"text": said, "label": label} for label in LABELS * 4]
    settings = write_task(tmp_path / "task", train=rows, dev=rows, test=rows)
    with pytest.raises(ConfigError, match="100% is unknown .* tokenizer_config.json"):
        pipeline(world, tmp_path / "root", *settings, f"model.path={folder}").run()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    pipeline(world, tmp_path / "root", *settings, f"model.path={folder}").run()
    assert rows_of(tmp_path / "root", "unknown_tokens")["test"][0] == 0


def test_the_log_the_rows_and_the_summary_say_what_is_left_out(world: Path, tmp_path: Path) -> None:
    settings = write_task(tmp_path / "task")
    given = [*settings, "task.max_examples.train=10", "task.max_examples.dev=null", "finetune.max_length=10"]
    answer = adapt_here(*overrides(world, tmp_path / "root"), *given)
    assert answer.code == 0, answer.err
    said = answer.out + answer.err
    assert "task=jsonl: it uses train 10 of 16 (task.max_examples.train) examples" in said
    assert "task=jsonl: train: 10 of 10 examples are cut at 10 tokens (finetune.max_length)" in said
    assert rows_of(tmp_path / "root", "examples") == {"train": (10, 16), "dev": (8, 8), "test": (8, 8)}
    assert rows_of(tmp_path / "root", "truncated_texts") == {"train": (10, 10), "dev": (8, 8), "test": (8, 8)}
    line = next(line for line in answer.out.splitlines() if "reads it" in line)
    assert "train 10 of 16 examples (task.max_examples.train), 10 cut at 10 tokens, " in line
    assert "dev all 8 examples, 8 cut at 10 tokens" in line


def test_the_dry_run_says_it_and_builds_nothing(world: Path, tmp_path: Path) -> None:
    settings = write_task(tmp_path / "task", test=mixed(FOREIGN["Hindi"], 0.5))
    given = [*settings, "pretrain=[dapt]", "task.max_examples.train=10", "runtime.dry_run=true"]
    answer = adapt_here(*overrides(world, tmp_path / "root"), *given)
    assert answer.code == 0, answer.err
    train, _, test, corpus = answer.out.split("The texts that it reads:\n")[1].splitlines()[:4]
    assert "10 of 16 examples (task.max_examples.train)" in train
    assert "of the first 8: 50.0% unknown to the tokenizer (above 30%: refused unless allow_unknown=true)" in test
    assert corpus.split()[0] == "corpus" and "of the first 600" in corpus
    assert built(tmp_path / "root") == set()


@pytest.mark.parametrize(
    ("copied", "to", "said"),
    [
        ("test", "dev", "8 of 8 test texts stand in dev: checkpoints and settings are chosen on test itself"),
        ("train", "test", "16 of 16 test texts stand in train: its scores are of texts that were trained on"),
        ("train", "dev", "16 of 16 dev texts stand in train"),
        ("dev", "test", "8 of 8 test texts stand in dev"),
    ],
)
def test_a_split_that_is_a_copy_of_another_is_said_in_log_row_and_summary(
    world: Path, tmp_path: Path, copied: str, to: str, said: str
) -> None:
    settings = write_task(tmp_path / "task")
    shutil.copy(tmp_path / "task" / f"{copied}.jsonl", tmp_path / "task" / f"{to}.jsonl")
    answer = adapt_here(*overrides(world, tmp_path / "root"), *settings)
    assert answer.code == 0, answer.err
    assert f"warning: task=jsonl: {said}" in answer.out + answer.err
    target, other = (to, "train") if copied == "train" else ("test", "dev")
    number = 16 if copied == "train" else 8
    assert rows_of(tmp_path / "root", f"in_{other}")[f"leaks/{target}"] == (number, number)
    assert rows_of(tmp_path / "root", f"in_{other}_exact")[f"leaks/{target}"] == (number, number)
    (note,) = [
        line for line in answer.out.splitlines() if line.startswith(f"Note: {number} of {number} {target} texts")
    ]
    assert f"stand in {other}: " in note


@pytest.mark.parametrize(("shared", "warns", "noted"), [(0, False, False), (2, False, True), (5, True, True)])
def test_a_part_of_test_in_train(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, shared: int, warns: bool, noted: bool
) -> None:
    """Of 8 test texts; in other case and punctuation they are the same."""
    settings = write_task(tmp_path / "task")
    test = [json.loads(line) for line in (tmp_path / "task/test.jsonl").read_text().splitlines()]
    with (tmp_path / "task/train.jsonl").open("a") as stream:
        stream.writelines(json.dumps(row | {"text": f"{row['text'].upper()}!"}) + "\n" for row in test[:shared])
    answer = adapt_here(*overrides(world, tmp_path / "root"), *settings)
    assert (f"warning: task=jsonl: {shared} of 8 test texts stand in train" in answer.out + answer.err) == warns
    assert (f"Note: {shared} of 8 test texts of jsonl:task stand in train" in answer.out) == noted
    assert rows_of(tmp_path / "root", "in_train")["leaks/test"] == (shared, 8)
    assert rows_of(tmp_path / "root", "in_train_exact")["leaks/test"] == (0, 8)


def test_a_tagging_task_is_counted_alike(world: Path, tmp_path: Path) -> None:
    for split, numbers in {"train": range(30), "dev": range(100, 108), "test": range(200, 208)}.items():
        write_jsonl(tmp_path / "task" / f"{split}.jsonl", [tagged(number) for number in numbers])
    given = [*TAGGING, f"task.path={tmp_path / 'task'}", "evaluate=clean", "finetune.max_length=8"]
    pipeline(world, tmp_path / "root", *given).run()
    share, tokens = rows_of(tmp_path / "root", "unknown_tokens")["test"]
    assert 0 < share < 0.15 and tokens == sum(len(tagged(number)["tokens"]) for number in range(200, 208))
    assert rows_of(tmp_path / "root", "truncated_texts")["test"] == (8, 8)
    assert rows_of(tmp_path / "root", "examples")["train"] == (30, 30)


@pytest.mark.parametrize("word", ["nan", "None", "null", " NaN", "N/A", "<NA>"])
def test_a_missing_text_that_a_program_wrote_out_is_said(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    """It cannot be refused: a short review may say just that."""
    settings = write_task(tmp_path / "task")
    with (tmp_path / "task/dev.jsonl").open("a") as stream:
        stream.write(json.dumps({"text": word, "label": "metal"}) + "\n")
    pipeline(world, tmp_path / "root", *settings).run()
    assert (
        "dev: 1 examples have a text that says no more than nan, None or null, as programs write a mis" in caplog.text
    )
    assert f"the first at {tmp_path / 'task/dev.jsonl'}:9" in caplog.text
