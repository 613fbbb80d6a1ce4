"""Selective masking through the chain: what is marked, what is shared, which keys it is in, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import adapt_here
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from world import FILLER, REPOSITORY, WORDS, overrides, pipeline, sentence

from adapt import results
from adapt.assets import train
from adapt.chain.pretraining import plain_training
from adapt.chain.stage import Stage
from adapt.config import Config, ConfigError, RuntimeConfig
from adapt.data import tasks
from adapt.data.masking.marks import FILE, Marks
from adapt.data.tokens import batching
from adapt.data.tokens.pieces import SequenceFormat
from adapt.data.tokens.tokens import load_tokens, write_folder
from adapt.models import loading
from adapt.runs.labels import science
from adapt.runs.pipeline import Pipeline
from adapt.stages.importance import Scorer, Text, importance, split
from adapt.stages.marks import marks
from adapt.stages.pretrain import pretrain
from adapt.tasks.marking import LABELS, write_cut
from adapt.tasks.tagging import new_tagger

RUNTIME = RuntimeConfig(
    device="cpu", checkpoint_seconds=1e9, progress=False, trackers=[], gradient_checkpointing=False
)  # fmt: skip
SELECTIVE = ["pretrain=[dapt]", "pretrain.dapt.masking.strategy=selective", "evaluate=clean"]
LEARNING = [
    *("budget.train_examples=96", "budget.epochs=12", "finetune.optimizer.learning_rate=0.01"),
    "finetune.head_learning_rate=0.01",
]


def chain(world: Path, root: Path, *more: str) -> Pipeline:
    return pipeline(world, root, *SELECTIVE, *more)


def inputs_of(stage: Stage, *path: str) -> Stage:
    for name in path:
        stage = stage.inputs[name]  # type: ignore[assignment]
    return stage


@pytest.fixture(scope="module")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pipeline]:
    """A run whose classifiers learn; replays general text."""
    root = tmp_path_factory.mktemp("selective")
    ran = chain(world, root, *LEARNING, "+pretrain.dapt.mix.general=0.25", "seed=3", "adversary=fgm")
    ran.run()
    return root, ran


def shares(counts: Counter, marked: Counter) -> tuple[float, float]:
    """The share of marked words: of words that tell a label, and of fillers."""
    telling = {word for words in WORDS.values() for word in words}
    return tuple(  # type: ignore[return-value]
        sum(marked[word] for word in words) / sum(counts[word] for word in words) for words in (telling, FILLER)
    )


# What is important, marked and masked --------------------------------------------------------------------------------


def test_words_that_tell_the_label_are_important_and_marked_far_more_often(run: tuple) -> None:
    root, ran = run
    (file,) = root.glob("store/importance/*/texts.jsonl")
    texts = [json.loads(line) for line in file.read_text().splitlines()]
    assert Counter(text["part"] for text in texts) == {"train": 76, "chosen": 10, "measured": 10}
    counts, important = Counter(), Counter()
    for text in texts:
        counts.update(text["tokens"])
        important.update(token for token, its in zip(text["tokens"], text["important"], strict=True) if its)
    telling, filler = shares(counts, important)
    assert telling > 0.6 and telling > 1.8 * filler

    tokenizer = loading.load_tokenizer(file.parent)
    for name in ("text", "mix.general"):
        stage = inputs_of(ran.stages[0], f"marks.{name}")
        read = Marks([ran.build(stage).folder / FILE])
        sequences = load_tokens(ran.build(inputs_of(stage, "tokens")).folder).train
        assert len(read) == len(sequences)
        counts, marked = Counter(), Counter()
        for index in range(len(sequences)):
            ids, its = sequences.ids(index), read[index]
            assert len(its) == len(ids) and its.any()
            assert not its[np.isin(ids, tokenizer.all_special_ids)].any()
            counts.update(tokenizer.convert_ids_to_tokens(ids.tolist()))
            marked.update(tokenizer.convert_ids_to_tokens(ids[its].tolist()))
        telling, filler = shares(counts, marked)
        assert telling > 0.7 and telling > 2 * filler, name


def test_rows_have_the_importance_and_its_cost(run: tuple) -> None:
    table = results.load(run[0]).set_index(["split", "metric"])
    assert table["value"]["dapt importance/train", "answered_right"] > 0.95
    assert table["n"]["dapt importance/train", "answered_right"] == 96
    assert 0.1 < table["value"]["dapt importance/train", "important_tokens"] < 0.7
    assert table["value"]["dapt importance/heldout", "importance_f1"] > 0.7
    assert table["n"]["dapt importance/heldout", "importance_f1"] == 10 * 14  # the 15th word of a text is unknown
    assert table["value"]["dapt importance/scoring", "sequences"] == 96 + 96 + 96 * 15  # all, whole, and each token
    for part in ("classifier", "importance"):
        assert table["value"][f"dapt {part}/train", "steps"] > 0
    for text in ("text", "mix.general"):
        assert 0.1 < table["value"][f"dapt {text} marks/train", "marked_tokens"] < 0.7
        assert table["value"][f"dapt {text} marks/train", "unimportant_sequences"] < 0.1
    assert table["value"]["dapt/heldout", "mlm_loss"] < 10


def test_a_second_run_writes_the_same_bytes(world: Path, run: tuple, tmp_path: Path) -> None:
    again = chain(world, tmp_path, *LEARNING, "+pretrain.dapt.mix.general=0.25")
    again.build(again.stages[0])
    files = [path for path in tmp_path.glob("store/*/*/*") if path.suffix in (".safetensors", ".arrow")]
    assert {path.parents[1].name for path in files} >= {"finetune", "importance", "marks", "pretrain"}
    for path in files:
        assert path.read_bytes() == (run[0] / path.relative_to(tmp_path)).read_bytes(), path


def test_packed_texts_are_marked_as_if_each_were_alone(world: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    texts = [" ".join(sentence(label, number).split()[: 3 + number]) for number in range(11) for label in WORDS]
    torch.manual_seed(1)
    tagger = new_tagger(world / "model", labels=LABELS, pooling="mean", dropout=0.0)
    torch.nn.init.normal_(tagger.head.out.weight)
    tagger.save(tmp_path, tokenizer, LABELS)
    write_cut(tmp_path, 0.0)
    marked = {}
    for packed in (False, True):
        folder = tmp_path / f"packed_{packed}"
        (folder / "marks").mkdir(parents=True)
        form = SequenceFormat(40 if packed else 32, packed)
        write_folder(folder, tokenizer, {"train": texts, "heldout": texts[:1]}, form)
        inputs = {"tokens": folder, "importance": tmp_path}
        rows = marks(None, inputs, folder / "marks", RUNTIME, batch_size=4)
        assert next(row["value"] for row in rows if row["metric"] == "unimportant_sequences") < 0.2
        read = Marks([folder / "marks" / FILE])
        marked[packed] = np.concatenate([read[index] for index in range(len(read))])
    # a packed sequence has a stand-in only where no text of it has an important token
    differing = np.flatnonzero(marked[False] != marked[True])
    assert len(read) < len(texts) / 2 and len(differing) <= 4 and not marked[True][differing].any()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_command_runs_the_whole_chain(world: Path, tmp_path: Path, pooling: str) -> None:
    words = [*overrides(world, tmp_path), *SELECTIVE, f"finetune.pooling={pooling}", "pretrain.dapt.packing=true"]
    ran = adapt_here(*words)
    assert ran.code == 0, ran.err
    rows = results.load(tmp_path).set_index(["split", "metric"])["value"]
    assert rows["dapt/train", "steps"] == 3 and ("dapt importance/heldout", "importance_f1") in rows.index


# What is shared, and what a key knows --------------------------------------------------------------------------------


def test_a_plain_run_of_the_stage_s_seed_shares_the_classifier(world: Path, run: tuple) -> None:
    root, ran = run  # of seed 3 under adversary=fgm, with the stage's own seed 0
    before = set(root.glob("store/finetune/*/stage.json"))
    pipeline(world, root, *LEARNING, "evaluate=clean", "adversary=none", "seed=0").run()
    assert set(root.glob("store/finetune/*/stage.json")) == before


def test_the_classifier_s_adversary_is_the_option_none() -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        assert plain_training() == OmegaConf.to_object(compose("config", overrides=["adversary=none"]).adversary)


def test_later_stages_read_the_model_before_them(world: Path, tmp_path: Path) -> None:
    both = chain(world, tmp_path, "pretrain=[dapt,tapt]", "pretrain.tapt.masking.strategy=selective")
    dapt, tapt = both.stages[:2]
    for path in (("classifier",), ()):
        assert inputs_of(tapt, "marks.text", "importance", *path, "model") is dapt
    labels = [stage.label for each in (dapt, tapt) for stage in all_of(inputs_of(each, "marks.text"))]
    own = [label for label in labels if label.startswith(("dapt ", "tapt "))]
    assert set(own) == {
        f"{name} {part}" for name in ("dapt", "tapt") for part in ("classifier", "importance", "text marks")
    }


def all_of(stage: Stage) -> list[Stage]:
    before = [each for given in stage.inputs.values() if isinstance(given, Stage) for each in all_of(given)]
    return [*before, stage]


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ("seed=5", True),  # of fine-tuning
        ("adversary=pgd", True),
        ("finetune=linear_probe", True),
        ("pretrain.dapt.seed=5", False),
        ("pretrain.dapt.masking.importance_threshold=0.1", False),
        ("finetune.epochs=3", False),
        ("budget.train_examples=30", False),
    ],
)
def test_what_the_key_of_an_importance_stage_depends_on(world: Path, tmp_path: Path, change: str, shared: bool) -> None:
    def key(*more: str) -> str:
        ran = chain(world, tmp_path, *more)
        return ran.key(inputs_of(ran.stages[0], "marks.text", "importance"))

    assert (key() == key(change)) is shared


@pytest.mark.parametrize("strategy", ["token", "whole_word", "span", "difference"])
def test_the_threshold_is_in_no_key_and_no_row_of_another_strategy(world: Path, tmp_path: Path, strategy: str) -> None:
    words = [f"pretrain.dapt.masking.strategy={strategy}", "pretrain.dapt.masking.anchors=3"]
    one, other = (
        chain(world, tmp_path, *words, f"pretrain.dapt.masking.importance_threshold={delta}") for delta in (0.05, 0.5)
    )
    assert one.key(one.stages[0]) == other.key(other.stages[0])
    assert set(one.stages[0].config["masking"]) == {"strategy", "rate", "span_length", "anchors"}
    assert "adapt.data.masking.marks" not in one.stages[0].modules
    assert "importance_threshold" not in science(one.cfg)["pretrain"]["dapt"]["masking"]
    assert science(chain(world, tmp_path).cfg)["pretrain"]["dapt"]["masking"]["importance_threshold"] == 0.05


def test_tokens_are_those_of_masks_of_single_tokens(world: Path, tmp_path: Path) -> None:
    one, other = chain(world, tmp_path), chain(world, tmp_path, "pretrain.dapt.masking.strategy=token")
    assert one.key(inputs_of(one.stages[0], "text")) == other.key(inputs_of(other.stages[0], "text"))


# What is refused -----------------------------------------------------------------------------------------------------

REFUSED = {
    "task=pydoc_entities evaluate=clean": ["dapt.masking.strategy=selective", "task.kind=tagging labels words"],
    "task.text_pair_column=other": [
        "task.text_pair_column=other gives pairs",
        "choose another task, or one of token, ",
    ],
    "model=tfidf": ["model=tfidf has no weights to pretrain", "pretrain=[]"],
    "pretrain.dapt.masking.importance_threshold=-0.1": ["importance_threshold=-0.1: must be at least 0"],
    "pretrain.dapt.masking.importance_threshold=1": ["importance_threshold=1.0: must be at least 0 and less than 1"],
    "pretrain.dapt.masking.strategy=selectiv": ["possible are token, whole_word, span, difference, selective"],
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_cannot_be_is_refused_before_training(world: Path, tmp_path: Path, given: str) -> None:
    answer = adapt_here(*overrides(world, tmp_path), *SELECTIVE, *given.split())
    assert answer.code == 1 and "Traceback" not in answer.err
    for part in REFUSED[given]:
        assert part in answer.err
    assert not list(tmp_path.glob("store/*"))


def test_a_stage_without_a_task_has_no_marks(world: Path, tmp_path: Path) -> None:
    """Such as that of ``make base-model``."""
    tokenizer = loading.load_tokenizer(world / "model")
    texts = [sentence("animal", number) for number in range(8)]
    write_folder(tmp_path, tokenizer, {"train": texts, "heldout": texts}, SequenceFormat(32, packed=False))
    masking = replace(train.RECIPE.masking, strategy="selective")
    with pytest.raises(ConfigError, match=r"base.masking.strategy=selective: needs .* \(marks.text\).* possible are"):
        pretrain(
            replace(train.RECIPE, masking=masking),
            {"model": world / "model", "text": tmp_path},
            tmp_path,
            RUNTIME,
            adversary=train.PLAIN,
            snapshots=False,
        )


@pytest.fixture
def scored(run: tuple) -> dict[str, Path]:
    """The folders that the importance stage of the run read."""
    stage = inputs_of(run[1].stages[0], "marks.text", "importance")
    folders = {name: run[1].build(given).folder for name, given in stage.inputs.items() if isinstance(given, Stage)}
    return {**folders, "model": stage.inputs["model"].folder}  # type: ignore[union-attr]


def test_a_task_that_its_classifier_cannot_do_is_refused(run: tuple, scored: dict[str, Path], tmp_path: Path) -> None:
    task = tasks.load_task(scored["task"])
    wrong = [replace(example, label=1 - example.label) for example in task.splits["train"]]
    tasks.write_task(replace(task, splits={**task.splits, "train": wrong}), tmp_path)
    with pytest.raises(ConfigError, match=r"answers 0 of its 96 training texts right, and 3 .*\(finetune.epochs"):
        importance(run[1].cfg.finetune, {**scored, "task": tmp_path}, tmp_path, RUNTIME, threshold=0.05, seed=0)


def test_a_threshold_under_which_nothing_is_important_is_refused(
    run: tuple, scored: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="masking.importance_threshold=-1: no token of 96 texts is important; raise"):
        importance(run[1].cfg.finetune, scored, tmp_path, RUNTIME, threshold=-1, seed=0)


def test_equal_texts_are_in_one_part_of_the_split() -> None:
    texts = [Text(number, [number], 0, f"form {number % 40}") for number in range(60)]
    parts = split(texts)
    assert sorted(index for part in parts.values() for index in part) == list(range(60))
    forms = [{texts[index].form for index in part} for part in parts.values()]
    assert list(map(len, forms)) == [32, 4, 4] and len(set.union(*forms)) == 40
    assert list(map(len, split(texts[:3]).values())) == [1, 1, 1]


def test_the_classifier_reads_what_fine_tuning_reads(scored: dict[str, Path]) -> None:
    """A buffer gets special tokens around it as a text does, and a text is cut where fine-tuning cuts it."""
    tokenizer = loading.load_tokenizer(scored["model"])
    scorer = Scorer(scored["classifier"], tokenizer, 8, torch.device("cpu"))
    examples = tasks.load_task(scored["task"]).splits["train"]
    whole = scorer.answered_right(examples, 32)
    expected = batching.encode(tokenizer, [examples[text.number].text for text in whole], 32).ids
    assert [scorer.around(text.ids) for text in whole] == expected
    cut = scorer.answered_right(examples, 8)
    assert {len(text.ids) for text in cut} == {6}
