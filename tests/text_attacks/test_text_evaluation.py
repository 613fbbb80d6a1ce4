"""Text attacks at the end of a chain: rows, records, keys, kills, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from command import adapt_here
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from world import overrides, pipeline, sentence

from adapt import results
from adapt.chain.compose import Source, Stage
from adapt.data.kinds.classification import Example
from adapt.data.tasks import load_task
from adapt.models import loading
from adapt.runs.pipeline import Pipeline
from adapt.text_attacks import measure
from adapt.text_attacks.names import RECIPES
from adapt.text_attacks.victim import attacked_text, classifier, words_read
from adapt.text_attacks.words import split

TEXT = ["evaluate=text", "budget.text_attack_examples=6", "budget.text_attack_queries=60", "budget.epochs=6"]
CHEAP = [*TEXT, "evaluate.text.recipes=[embedding,typos]"]


def records(root: Path) -> pd.DataFrame:
    (file,) = root.glob("store/evaluate/*/text_attacks.parquet")
    return pd.read_parquet(file)


def inputs(chain: Pipeline) -> dict[str, Stage | Source]:
    return chain.stages[-1].inputs


@pytest.fixture(scope="module")
def runs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run without a pretraining stage, and a run with one."""
    roots = {chain: tmp_path_factory.mktemp(f"text{len(chain)}") for chain in ("[]", "[tapt]")}
    for chain, root in roots.items():
        pipeline(world, root, *TEXT, f"pretrain={chain}").run()
    return roots


@pytest.mark.parametrize("chain", ["[]", "[tapt]"])
def test_rows_say_what_the_records_hold(runs: dict[str, Path], chain: str) -> None:
    recorded, table = records(runs[chain]), results.load(runs[chain])
    assert sorted(set(table["attack"])) == ["none", *sorted(f"text:{name}" for name in RECIPES)]
    assert list(recorded.groupby("recipe", sort=False).size()) == [6] * len(RECIPES)
    assert recorded.drop_duplicates("recipe")["recipe"].tolist() == list(RECIPES)
    assert (recorded["status"] != "crashed").all(), recorded["error"].dropna().tolist()
    assert (recorded["queries"] <= 60).all() and (recorded["changed"] <= (recorded["words"] * 0.3).clip(lower=1)).all()
    for name, mine in recorded.groupby("recipe"):
        rows = table[table["attack"] == f"text:{name}"].set_index(["metric", "attack_epsilon"])["value"]
        status = mine["status"].value_counts()
        assert rows["accuracy", 0.3] == status.get("failed", 0) / 6
        assert rows["accuracy", 0.0] == 1 - status.get("skipped", 0) / 6
        assert rows["skipped", 0.3] == status.get("skipped", 0)
        if rows["attacked", 0.3]:
            assert rows["attack_success_rate", 0.3] == status.get("success", 0) / rows["attacked", 0.3]
    assert (recorded["status"] == "success").any() and (recorded["status"] == "failed").any()


@pytest.mark.parametrize("chain", ["[]", "[tapt]"])
def test_a_success_fools_the_saved_model(runs: dict[str, Path], chain: str) -> None:
    (folder,) = runs[chain].glob("store/finetune/*/")
    model, labels = loading.load_classifier(folder)
    tokenizer = loading.load_tokenizer(folder)
    recorded = records(runs[chain])
    for record in recorded[recorded["status"] == "success"].itertuples():
        logits = model.eval()(**tokenizer(record.text, return_tensors="pt", truncation=True, max_length=32))
        assert int(logits.argmax()) == record.predicted != record.label
        one, other = split(record.original_text), split(record.text)
        assert one.gaps == other.gaps
        assert sum(a != b for a, b in zip(one.words, other.words, strict=True)) == record.changed


def test_the_masked_lm_is_an_input_only_where_a_recipe_asks_it(world: Path, tmp_path: Path) -> None:
    plain = pipeline(world, tmp_path, "evaluate=text")
    assert isinstance(inputs(plain)["masked_lm"], Source)
    adapted = pipeline(world, tmp_path, "evaluate=text", "pretrain=[dapt,tapt]")
    assert inputs(adapted)["masked_lm"] is adapted.stages[1]
    assert adapted.stages[1].label == "tapt"
    without = pipeline(world, tmp_path, "evaluate=text", "evaluate.text.recipes=[embedding,typos,case]")
    assert set(inputs(without)) == {"model", "task", "leaks"}


def test_a_key_knows_the_text_attack_only_where_there_is_one(world: Path, tmp_path: Path) -> None:
    clean, text = pipeline(world, tmp_path, "evaluate=clean").stages[-1], pipeline(world, tmp_path, *CHEAP).stages[-1]
    assert "text" not in clean.config and "text" in text.config
    assert not [module for module in clean.modules if "text_attacks" in module]
    named = {module.rpartition(".")[2] for module in text.modules if "text_attacks" in module}
    package = Path(measure.__file__).parent
    assert named == {file.stem for file in package.glob("*.py")} - {"__init__", "names"}


def test_an_example_does_not_depend_on_the_others_or_the_batch(world: Path, tmp_path: Path) -> None:
    tables = []
    for number, more in enumerate(([], ["budget.text_attack_examples=3"], ["evaluate.batch_size=7"])):
        root = tmp_path / str(number)
        pipeline(world, root, *CHEAP, *more).run()
        tables.append(records(root))
    whole, few, small = tables
    first = whole[whole["example"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, few)
    scores = ["original_score", "score"]  # rounding may differ with the width of a padded batch
    assert (whole[scores] - small[scores]).abs().max().max() < 1e-5
    alike = whole["text"] == small["text"]  # between two words of equal score, rounding decides
    assert alike.mean() > 0.9
    pd.testing.assert_frame_equal(whole[alike].drop(columns=scores), small[alike].drop(columns=scores))


@pytest.mark.parametrize("finished", [0, 4, 9])
def test_a_killed_evaluation_goes_on_where_it_was(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    whole = tmp_path / "whole"
    pipeline(world, whole, *CHEAP).run()
    original, calls = measure.attacked_example, []

    def dies(*args: Any) -> Any:
        if len(calls) == finished:
            raise KeyboardInterrupt
        calls.append(args)
        return original(*args)

    killed = tmp_path / "killed"
    monkeypatch.setattr(measure, "attacked_example", dies)
    with pytest.raises(KeyboardInterrupt):
        pipeline(world, killed, *CHEAP).run()
    journals = sorted(killed.glob("store/evaluate/.*.unfinished/checkpoint/*.jsonl"))
    assert sum(len(journal.read_text().splitlines()) for journal in journals) == finished
    for journal in journals[-1:]:
        journal.write_text(journal.read_text() + '{"recipe": "typ')  # a line that the kill interrupted
    calls.clear()
    monkeypatch.setattr(measure, "attacked_example", lambda *args: calls.append(args) or original(*args))
    pipeline(world, killed, *CHEAP).run()
    assert len(calls) == 12 - finished
    (one,), (other,) = (list(root.glob("store/evaluate/*/text_attacks.parquet")) for root in (whole, killed))
    assert one.read_bytes() == other.read_bytes()
    assert results.same_rows(results.load(whole), results.load(killed))
    assert not list(killed.glob("store/evaluate/*/checkpoint"))


def test_a_crash_in_one_example_is_counted_and_told(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline(world, tmp_path / "sound", *CHEAP).run()
    sound = records(tmp_path / "sound")
    victim = sound[(sound["recipe"] == "typos") & (sound["status"] != "skipped")]["example"].iloc[0]
    original = measure.classifier

    def broken(model: Any, tokenizer: Any, example: Example, **more: Any) -> Any:
        classify = original(model, tokenizer, example, **more)

        def now_and_then(texts: list[str]) -> Any:
            if example.id == victim and len(texts) > 1:
                raise RuntimeError("out of luck")
            return classify(texts)

        return now_and_then

    monkeypatch.setattr(measure, "classifier", broken)
    with caplog.at_level(logging.WARNING):
        pipeline(world, tmp_path / "broken", *CHEAP).run()
    assert "typos: 1 of 6 examples crashed, the first with RuntimeError: out of luck" in caplog.text
    recorded = records(tmp_path / "broken")
    crashed = recorded["example"] == victim
    assert set(recorded[crashed]["status"]) == {"crashed"} and "out of luck" in recorded[crashed]["error"].iloc[0]
    assert str(Path(measure.__file__).parent) not in recorded[crashed]["error"].iloc[0]
    pd.testing.assert_frame_equal(recorded[~crashed], sound[~crashed])
    table = results.load(tmp_path / "broken")
    rows = table[table["attack"] == "text:typos"].set_index(["metric", "attack_epsilon"])["value"]
    assert rows["crashed", 0.3] == 1
    assert rows["accuracy", 0.3] == (recorded[recorded["recipe"] == "typos"]["status"] == "failed").sum() / 6


def test_only_the_words_that_the_classifier_reads_are_counted(world: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    text = sentence("animal", 1)
    read = [words_read(tokenizer, Example(0, text, 0), split(text), length) for length in (3, 6, 32)]
    assert read == [1, 4, len(split(text).words)]
    pair = Example(0, "the cat", 0, text)
    assert attacked_text(pair) == text and attacked_text(replace(pair, text_pair=None)) == "the cat"
    assert words_read(tokenizer, pair, split(text), 5 + 4) == 4  # [CLS] the cat [SEP] ... [SEP]


def test_the_second_text_of_a_pair_is_what_varies(world: Path) -> None:
    torch.manual_seed(0)
    model = loading.new_classifier(world / "model", labels=["a", "b"], pooling="mean", dropout=0.0).eval()
    tokenizer = loading.load_tokenizer(world / "model")
    pair = Example(0, "the cat", 0, "iron and gold")
    more: dict[str, Any] = {"max_length": 32, "batch_size": 8, "device": torch.device("cpu")}
    probabilities = classifier(model, tokenizer, pair, **more)(["iron and gold", "cat and dog"])
    with torch.no_grad():
        for row, second in zip(probabilities, ("iron and gold", "cat and dog"), strict=True):
            pair_of = tokenizer("the cat", second, return_tensors="pt", return_token_type_ids=True)
            expected = model(**pair_of).softmax(-1)[0]
            assert row == pytest.approx(expected.numpy(), abs=1e-6)
    assert probabilities[0] != pytest.approx(probabilities[1], abs=1e-6)


REFUSED = {
    "evaluate.text.recipes=[baee]": [
        "evaluate.text.recipes=baee: possible are bae, bert_attack, embedding, typos, case"
    ],
    "evaluate.text.recipes=[]": ["evaluate.text.recipes=[]: name one or more of bae"],
    "evaluate.text.recipes=[typos,bae,typos]": ["evaluate.text.recipes=[typos,bae,typos]: typos is there twice"],
    "evaluate.text.max_words=0": ["evaluate.text.max_words=0.0: must be more than 0 and at most 1"],
    "evaluate.text.max_words=1.01": ["evaluate.text.max_words=1.01: must be more than 0 and at most 1"],
    "evaluate.text.candidates=0": ["evaluate.text.candidates=0: must be 1 or more"],
    "evaluate.text.queries=0": ["evaluate.text.queries=0: must be 1 or more"],
    "budget.text_attack_queries=0": ["budget.text_attack_queries=0: must be 1 or more"],
    "evaluate.text.seed=-1": ["evaluate.text.seed=-1: must be at least 0 and at most 9000000000000"],
    "evaluate.text.candidate=5": ["evaluate.text.candidate=5: no such key", "did you mean candidates?"],
}


@pytest.mark.parametrize("given", REFUSED)
def test_bad_settings_are_refused_before_training(world: Path, tmp_path: Path, given: str) -> None:
    answer = adapt_here(*overrides(world, tmp_path), "evaluate=text", given)
    assert answer.code == 1 and answer.err.count("error: ") == 1 and "Traceback" not in answer.err
    for part in REFUSED[given]:
        assert part in answer.err
    assert not list(tmp_path.glob("store/*/*/stage.json"))


def model_without(world: Path, folder: Path, what: str) -> Path:
    shutil.copytree(world / "model", folder)
    if what == "mask":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.mask_token = None
        tokenizer.save_pretrained(folder)
    else:
        weights = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in weights.items() if "cls." not in k}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(("what", "part"), [("mask", "has no mask token"), ("head", "has no trained masked-LM head")])
def test_a_model_that_cannot_guess_words_is_refused(world: Path, tmp_path: Path, what: str, part: str) -> None:
    folder, root = model_without(world, tmp_path / what, what), tmp_path / "root"
    answer = adapt_here(*overrides(world, root), *TEXT, f"model.path={folder}")
    assert answer.code == 1 and answer.err.startswith("error: evaluate.text.recipes=bae: "), answer.err
    assert part in answer.err and "leave out bae and bert_attack" in answer.err
    assert not list(root.glob("store/finetune/*/stage.json"))


def test_a_head_that_pretraining_will_train_is_enough(world: Path, tmp_path: Path) -> None:
    folder = model_without(world, tmp_path / "headless", "head")
    root = tmp_path / "root"
    answer = adapt_here(*overrides(world, root), f"model.path={folder}", *TEXT, "pretrain=[tapt]", "seed=3")
    assert answer.code == 0, answer.err
    (file,) = root.glob("runs/*.json")
    rows = json.loads(file.read_text())["measurements"]
    assert {row["attack"] for row in rows} == {"none", *(f"text:{name}" for name in RECIPES)}


def test_the_splits_stay_as_they_are(runs: dict[str, Path]) -> None:
    """Records name examples by their index in the test split, of which the first ones are attacked."""
    root = runs["[]"]
    splits = [load_task(path.parent).splits["test"] for path in root.glob("store/task/*/task.json")]
    test = min(splits, key=len)  # the other is the whole split, which is searched for leaks
    for record in records(root).itertuples():
        assert test[record.example].text == record.original_text and test[record.example].label == record.label
