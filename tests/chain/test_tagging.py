"""A tagging task through the chain: trained, chosen by span F1, measured, answered, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from command import adapt_here
from world import TAGGING, overrides, pipeline, tagged, write_jsonl

from adapt import leakage, predict, results
from adapt.config import ConfigError
from adapt.data.kinds.tagging import spans
from adapt.data.tasks import Task, load_task
from adapt.models import heads

TRAINING = [
    *("evaluate=clean", "finetune.optimizer.learning_rate=0.01", "finetune.head_learning_rate=0.01"),
    *("budget.train_examples=200", "budget.epochs=4"),
]


@pytest.fixture(scope="module")
def sentences(world: Path) -> Path:
    for split, numbers in {"train": range(200), "dev": range(300, 330), "test": range(400, 440)}.items():
        write_jsonl(world / "entities" / f"{split}.jsonl", [tagged(number) for number in numbers])
    return world / "entities"


@pytest.fixture(scope="module")
def trained(world: Path, sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("tagging")
    words = [f"task.path={sentences}", *TAGGING, *TRAINING]
    runs = {"mean": [], "cls": ["finetune.pooling=cls"], "tapt": ["pretrain=[tapt]", "adversary=fgm"]}
    return root, {name: pipeline(world, root, *words, *more).run() for name, more in runs.items()}


def rows(trained: tuple[Path, dict[str, str]], name: str) -> dict[tuple[str, str], tuple[float, float]]:
    table = results.load(trained[0])
    mine = table[table["run_id"] == trained[1][name]]
    return {(row.split, row.metric): (row.value, row.n) for row in mine.itertuples()}


def measured_task(root: Path, size: int) -> Task:
    """The task whose test split has that many sentences; the store also holds the whole task."""
    stored = [load_task(file.parent) for file in sorted(root.glob("store/task/*/task.json"))]
    return next(task for task in stored if len(task.splits["test"]) == size)


@pytest.mark.parametrize("name", ["mean", "cls", "tapt"])
def test_a_plain_pattern_is_learnt(trained: tuple, name: str) -> None:
    measured = rows(trained, name)
    assert measured["test", "span_f1"][0] > 0.9
    assert measured["test", "token_accuracy"][0] > 0.95
    assert measured["test", "f1_ANIMAL"][0] > 0.9 and measured["test", "f1_METAL"][0] > 0.8


def test_rows_are_those_of_the_spans_in_the_file_of_answers(trained: tuple) -> None:
    root, runs = trained
    measured = rows(trained, "mean")
    folder = results.evaluation(root, runs["mean"])
    answers = [json.loads(line) for line in (folder / "test_tags.jsonl").read_text().splitlines()]
    task = measured_task(root, len(answers))
    gold = [[task.labels[tag] for tag in example.tags] for example in task.splits["test"]]
    predicted = [answer["tags"] for answer in answers]
    right = sum(len(set(spans(g)) & set(spans(p))) for g, p in zip(gold, predicted, strict=True))
    expected = right / sum(len(spans(p)) for p in predicted), right / sum(len(spans(g)) for g in gold)
    assert (measured["test", "span_precision"][0], measured["test", "span_recall"][0]) == pytest.approx(expected)
    assert measured["test", "span_f1"] == (pytest.approx(2 / (1 / expected[0] + 1 / expected[1])), len(gold))
    animals = sum(kind == "ANIMAL" for tags in gold for _, _, kind in spans(tags))
    words = sum(map(len, gold))
    assert measured["test", "f1_ANIMAL"][1] == animals
    assert measured["test", "token_accuracy"][1] == words


def test_words_beyond_the_cut_are_counted_and_answered_outside(world: Path, trained: tuple, sentences: Path) -> None:
    root, _ = trained
    words = [f"task.path={sentences}", *TAGGING, *TRAINING, "finetune.max_length=8", "budget.epochs=1"]
    run = pipeline(world, root, *words).run()
    measured = rows((root, {"cut": run}), "cut")
    folder = results.evaluation(root, run)
    answers = [json.loads(line)["tags"] for line in (folder / "test_tags.jsonl").read_text().splitlines()]
    assert measured["test", "truncated_words"][0] == sum(len(tags) - 6 for tags in answers)  # [CLS] and [SEP] take two
    assert {tag for tags in answers for tag in tags[6:]} == {"O"}
    assert rows(trained, "mean")["test", "truncated_words"][0] == 0


def test_the_clean_part_of_the_test_split_is_measured_too(
    world: Path, sentences: Path, tmp_path: Path, trained: tuple
) -> None:
    for split in ("train", "dev"):
        (tmp_path / f"{split}.jsonl").write_text((sentences / f"{split}.jsonl").read_text())
    leaking = [tagged(number) for number in (*range(5), *range(400, 415))]
    write_jsonl(tmp_path / "test.jsonl", leaking)
    run = pipeline(world, trained[0], f"task.path={tmp_path}", *TAGGING, *TRAINING).run()
    measured = rows((trained[0], {"leaking": run}), "leaking")
    assert measured["test", "span_f1"][1] == 20
    assert measured["test_clean", "span_f1"][1] == 15


@pytest.mark.parametrize("name", ["mean", "cls"])
def test_predict_answers_with_tags_and_spans(
    trained: tuple, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    root, runs = trained
    file = tmp_path / "sentences.jsonl"
    write_jsonl(file, [{"tokens": tagged(number)["tokens"]} for number in range(500, 510)])
    predict.main([runs[name][:12], str(file), "--root", str(root), "--export", str(tmp_path / "exported")])
    said, *lines = capsys.readouterr().out.splitlines()
    measured = [json.loads(line) for line in lines]
    assert [row["tokens"] for row in measured] == [json.loads(line)["tokens"] for line in file.read_text().splitlines()]
    for row in measured:
        assert [(span["first"], span["last"] + 1, span["type"]) for span in row["spans"]] == spans(row["tags"])
        assert all(span["text"] == " ".join(row["tokens"][span["first"] : span["last"] + 1]) for span in row["spans"])
    right = sum(row["tags"] == tagged(number)["tags"] for number, row in zip(range(500, 510), measured, strict=True))
    assert right >= 6
    assert ("AutoModelForTokenClassification" if name == "cls" else "load_tagger") in said
    assert json.loads((tmp_path / "exported" / heads.HEAD_NOTE).read_text())["kind"] == "tagging"
    write_jsonl(file, [{"text": "cat and gold"}])
    with pytest.raises(SystemExit, match="no column 'tokens'"):
        predict.main([runs[name][:12], str(file), "--root", str(root)])


@pytest.mark.parametrize(("method", "pooling"), [("lora", "mean"), ("prompt", "cls")])
def test_an_adapter_tags_under_an_adversary_and_answers_again_what_it_was_measured_on(
    world: Path,
    sentences: Path,
    trained: tuple,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    method: str,
    pooling: str,
) -> None:
    words = [f"task.path={sentences}", *TAGGING, *TRAINING, f"peft={method}", f"finetune.pooling={pooling}"]
    run = pipeline(world, trained[0], *words, "adversary=fgm").run()
    measured = rows((trained[0], {"it": run}), "it")
    assert measured["train", "delta_norm_p50"][0] > 0
    assert measured["train", "trainable_parameters"] < rows(trained, "mean")["train", "trainable_parameters"]
    measured = (results.evaluation(trained[0], run) / "test_tags.jsonl").read_text().splitlines()
    file = tmp_path / "sentences.jsonl"
    task = measured_task(trained[0], len(measured))
    write_jsonl(file, [{"tokens": list(example.tokens)} for example in task.splits["test"]])
    predict.main([run[:12], str(file), "--root", str(trained[0])])
    answers = [json.loads(line)["tags"] for line in capsys.readouterr().out.splitlines()]
    assert answers == [json.loads(line)["tags"] for line in measured]


def test_the_command_runs_a_tagging_task(world: Path, sentences: Path, tmp_path: Path) -> None:
    given = [*overrides(world, tmp_path), f"task.path={sentences}", *TAGGING, "evaluate=clean"]
    answer = adapt_here(*given)
    assert answer.code == 0, answer.err
    table = results.load(tmp_path)
    rows = ("span_f1", "span_precision", "span_recall", "f1_ANIMAL", "f1_METAL", "token_accuracy", "truncated_words")
    read = ("examples", "unknown_tokens", "unread_texts", "truncated_texts")
    for split, as_read in {"dev": read, "test": read, "test_clean": ()}.items():
        assert set(table[table["split"] == split]["metric"]) == {*rows, *as_read}


def test_the_leak_report_reads_a_tagging_task(sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for split in ("train", "dev"):
        (tmp_path / f"{split}.jsonl").write_text((sentences / f"{split}.jsonl").read_text())
    write_jsonl(tmp_path / "test.jsonl", [tagged(number) for number in (*range(5), *range(400, 415))])
    leakage.main(["task=jsonl", f"task.path={tmp_path}", *TAGGING, "runtime.progress=false"])
    (exact,) = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| train .*\| test \| exact", line)]
    assert [cell.strip() for cell in exact.strip("|").split("|")][4:7] == ["20", "20", "5"]  # texts, distinct, hits


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["evaluate=robust"],
            r"evaluate=robust: attacks only classifiers; with task\.kind=tagging use evaluate=clean",
        ),
        (["evaluate=ensemble"], r"evaluate=ensemble: attacks only classifiers"),
        (["evaluate=text"], r"evaluate=text: attacks only classifiers"),
        (["finetune=linear_probe"], r"finetune=linear_probe: .* with task\.kind=tagging use finetune=full"),
        (["model=tfidf"], r"model=tfidf: labels whole texts; task\.kind=tagging needs an encoder"),
        (["adversary=pseudo_labelled"], r"adversary=pseudo_labelled: .* use another adversary"),
        (["task.metric=macro_f1"], r"task\.metric=macro_f1: possible are span_f1 with task\.kind=tagging"),
        (["task.kind=parsing"], r"task\.kind=parsing: possible are classification, tagging"),
        (["task.format=csv"], r"task\.format=csv: possible are pydoc, .*, conll, datasets with task\.kind=tagging"),
        (["task.text_pair_column=b"], r"task\.text_pair_column=b: a tagged sentence has no pair; must be null"),
        (["task.kind=classification"], r"task\.metric=span_f1: possible are macro_f1, micro_f1, accuracy"),
    ],
)
def test_what_a_tagging_task_cannot_have_is_refused(
    world: Path, sentences: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline(world, tmp_path, f"task.path={sentences}", *TAGGING, "evaluate=clean", *words)
