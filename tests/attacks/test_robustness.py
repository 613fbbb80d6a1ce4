"""The robustness part of an evaluation: its rows, what it stores, and that it resumes after a kill."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from test_options import composed
from transformers import AutoModel
from victims import Masked

from adapt.config import ConfigError
from adapt.data.kinds.classification import Example
from adapt.data.tasks import Task
from adapt.models import heads, loading
from adapt.stages import robustness

N = 12


@pytest.fixture(scope="module")
def setting(world: Path):
    """A random classifier of three classes, its tokenizer, and a task that calls most of its answers right."""
    torch.manual_seed(0)
    encoder = AutoModel.from_pretrained(world / "model")
    model = heads.Classifier(encoder, heads.MeanHead(16, 3, 0.5)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.3)
    tokenizer = loading.load_tokenizer(world / "model")
    texts = [json.loads(line)["text"] for line in (world / "task" / "test.jsonl").read_text().splitlines()][:N]
    with torch.no_grad():
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        labels = model(**inputs).argmax(-1).tolist()
    labels[0] = (labels[0] + 1) % 3
    examples = [Example(number, text, label) for number, (text, label) in enumerate(zip(texts, labels, strict=True))]
    return model, tokenizer, Task(["a", "b", "c"], "macro_f1", {"test": [*examples, *examples]})


def measured(setting, out: Path, *overrides: str, model=None, task=None) -> list[dict]:
    strengths = ["num_steps=4", "minimal_norm_steps=15", "gradient_free_queries=5", "epsilons=[0.5,0.02,0.1]"]
    option = [f"evaluate.attack.{setting}" for setting in (*strengths, f"max_examples={N}")]
    cfg = composed("evaluate=ensemble", *option, *overrides)
    out.mkdir(exist_ok=True)
    return robustness.attacked(
        cfg.evaluate.attack, model or setting[0], setting[1], task or setting[2], batch_size=5, max_length=32,
        device=torch.device("cpu"), out=out, runtime=replace(cfg.runtime, progress=False),
    )  # fmt: skip


def values(rows: list[dict], attack: str, metric: str) -> dict[float, float]:
    return {row["attack_epsilon"]: row["value"] for row in rows if row["attack"] == attack and row["metric"] == metric}


def test_a_cascade_has_the_same_worst_case_and_no_accuracy_a_member(setting, tmp_path):
    cascade = measured(setting, tmp_path / "cascade")
    each_alone = measured(setting, tmp_path / "alone", "evaluate.attack.cascade=false")
    assert values(cascade, "ensemble", "accuracy") == values(each_alone, "ensemble", "accuracy")
    assert {row["attack"] for row in cascade if row["metric"] == "accuracy"} == {"ensemble"}


def test_the_rows_of_the_ensemble(setting, tmp_path):
    rows = measured(setting, tmp_path, "evaluate.attack.cascade=false")
    members = ["apgd_ce", "apgd_dlr", "minimal_norm", "gradient_free"]
    ensemble = values(rows, "ensemble", "accuracy")
    assert list(ensemble) == [0.0, 0.02, 0.1, 0.5] and ensemble[0.0] == (N - 1) / N
    assert list(ensemble.values()) == sorted(ensemble.values(), reverse=True) and ensemble[0.5] < ensemble[0.02]
    assert list(values(rows, "ensemble", "macro_f1")) == list(ensemble)
    for member in members:
        own = values(rows, member, "accuracy")
        assert own[0.0] == ensemble[0.0] and all(own[epsilon] >= ensemble[epsilon] for epsilon in own)
    steps = {row["attack"]: row["attack_steps"] for row in rows if row["metric"] == "accuracy"}
    assert steps == {"ensemble": 4, "apgd_ce": 4, "apgd_dlr": 4, "minimal_norm": 15, "gradient_free": 5}
    norms = ("median_minimal_norm", "never_fooled")  # of the examples whose clean answer is right
    assert all(row["split"] == "test" and row["n"] == N - (row["metric"] in norms) for row in rows)
    for metric in ("attack_forward_passes", "attack_backward_passes", "attack_seconds"):
        (total,) = values(rows, "ensemble", metric).values()
        assert total == pytest.approx(sum(values(rows, member, metric)[0.0] for member in members))
        assert values(rows, "checks", metric)[0.0] > 0
    assert values(rows, "gradient_free", "attack_backward_passes") == {0.0: 0.0}
    # 16 forward passes of each example but the one that is wrong already
    assert values(rows, "minimal_norm", "attack_forward_passes") == {0.0: 16 * (N - 1) / N}
    passed = {row["attack"]: row["value"] for row in rows if row["metric"] == "passed"}
    assert len(passed) == 10 and set(passed.values()) == {1.0} and all(name.startswith("check:") for name in passed)
    assert {row["attack"] for row in rows if row["metric"] == "observed"} == set(passed)


def test_what_is_kept_of_each_example_agrees_with_the_rows(setting, tmp_path):
    rows = measured(setting, tmp_path)
    table = pd.read_parquet(tmp_path / robustness.PER_EXAMPLE)
    assert len(table) == N and table["minimal_norm"][0] == table["epsilon"][0] == 0 and table["member"][0] == ""
    for epsilon, accuracy in values(rows, "ensemble", "accuracy").items():
        assert (table["minimal_norm"] > epsilon).mean() == (table["epsilon"] > epsilon).mean() == accuracy
        fell = table["epsilon"] <= epsilon
        assert (table["answer"][fell] != table["label"][fell]).all()
    smallest = table.filter(regex=r"\.minimal_norm$").min(axis=1)
    assert (table["minimal_norm"] == smallest).all()
    fooled = np.isfinite(smallest) & (smallest > 0)
    assert all(table[f"{table['member'][row]}.minimal_norm"][row] == smallest[row] for row in np.flatnonzero(fooled))
    (median,) = values(rows, "ensemble", "median_minimal_norm").values()
    attacked = sorted(smallest[smallest > 0])  # one clean answer is wrong
    assert len(attacked) == N - 1 and median == attacked[(N - 1) // 2]
    assert values(rows, "ensemble", "never_fooled") == {0.0: np.isinf(attacked).mean()}


def test_pgd_alone_gives_its_accuracies_and_nothing_else(setting, tmp_path):
    cfg = composed("evaluate=robust").evaluate.attack
    assert (cfg.members, cfg.checks, cfg.restarts) == (["pgd"], False, 1)
    rows = measured(setting, tmp_path, "evaluate.attack.members=[pgd]", "evaluate.attack.checks=false")
    assert {(row["attack"], row["metric"], row["attack_steps"]) for row in rows} == {
        ("pgd", "accuracy", 4), ("pgd", "macro_f1", 4),
    }  # fmt: skip
    assert [row["attack_epsilon"] for row in rows] == [0.0, 0.0, 0.02, 0.02, 0.1, 0.1, 0.5, 0.5]


def same(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["metric"] != "attack_seconds"]


@pytest.mark.parametrize("batches_done", [1, 2])
def test_a_killed_evaluation_goes_on_after_its_last_batch(setting, tmp_path, monkeypatch, batches_done):
    whole, table = measured(setting, tmp_path / "whole"), pd.read_parquet(tmp_path / "whole" / robustness.PER_EXAMPLE)
    sizes, original = [], robustness.attack_batch

    def dying(attack, model, batch, members):
        if len(sizes) == batches_done:
            raise KeyboardInterrupt
        sizes.append(len(batch["labels"]))
        return original(attack, model, batch, members)

    monkeypatch.setattr(robustness, "attack_batch", dying)
    with pytest.raises(KeyboardInterrupt):
        measured(setting, tmp_path / "killed")
    (tmp_path / "killed" / "checkpoint" / f"attacks-{batches_done}.new").write_bytes(b"half a")  # an interrupted write
    done, batches_done = sum(sizes), -1
    again = measured(setting, tmp_path / "killed")
    assert sum(sizes) == N and done in (5, 10)  # only the rest was computed
    assert same(again) == same(whole)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "killed" / robustness.PER_EXAMPLE), table)


def test_a_failed_check_is_a_warning_beside_its_number(setting, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        rows = measured(setting, tmp_path, model=Masked(setting[0]))
    passed = {row["attack"]: row["value"] for row in rows if row["metric"] == "passed"}
    assert passed["check:nonzero_gradient"] == 0.0 and passed["check:no_dropout"] == 1.0
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == list(passed.values()).count(0.0)
    (said,) = [message for message in messages if "nonzero_gradient" in message]
    accuracy = values(rows, "ensemble", "accuracy")[0.1]
    assert "of apgd_ce failed" in said and f"({accuracy:.3f} at epsilon 0.1) may be too high" in said


def test_without_a_right_answer_there_is_nothing_to_check(setting, tmp_path):
    task = setting[2]
    wrong = [replace(example, label=(example.label + 1) % 3) for example in task.splits["test"][1:N]]
    rows = measured(setting, tmp_path, task=replace(task, splits={"test": wrong}))
    assert not [row for row in rows if row["attack"].startswith("check:")]
    assert set(values(rows, "ensemble", "accuracy").values()) == {0.0}
    assert not [row for row in rows if row["metric"] in ("median_minimal_norm", "never_fooled")]


def test_dlr_is_left_out_with_two_classes_and_that_is_said(setting, tmp_path, caplog):
    torch.manual_seed(0)
    model = heads.Classifier(setting[0].encoder, heads.MeanHead(16, 2, 0.0)).eval()
    examples = [replace(example, label=example.label % 2) for example in setting[2].splits["test"]]
    task = Task(["a", "b"], "accuracy", {"test": examples})
    with caplog.at_level(logging.WARNING):
        rows = measured(setting, tmp_path, model=model, task=task)
    assert "apgd_dlr" not in {row["attack"] for row in rows} and "apgd_ce" in {row["attack"] for row in rows}
    assert [record.getMessage() for record in caplog.records if "three classes" in record.getMessage()]
    only = ("evaluate.attack.members=[apgd_dlr]", "evaluate.attack.checks=false")
    with pytest.raises(ConfigError, match=r"members=\['apgd_dlr'\]: none works for a task of two classes"):
        measured(setting, tmp_path / "none", *only, model=model, task=task)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epsilons=[]", r"evaluate.attack.epsilons=\[\]: must name at least one radius"),
        ("epsilons=[0.1,-1]", r"evaluate.attack.epsilons=-1.0: must be 0 or more"),
        ("epsilons=[0]", r"evaluate.attack.checks=true: needs a radius above 0"),
        ("members=[]", r"evaluate.attack.members=\[\]: must name at least one attack; possible are pgd, apgd_ce"),
        ("members=[apgd_ce,square]", r"evaluate.attack.members=square: possible are pgd, apgd_ce, apgd_dlr"),
        ("members=[pgd,apgd_ce,pgd]", r"pgd is there twice"),
        ("members=[apgd_dlr]", r"evaluate.attack.checks=true: what is checked is apgd_ce or pgd"),
        ("num_steps=0", r"evaluate.attack.num_steps=0: must be 1 or more"),
        ("restarts=0", r"evaluate.attack.restarts=0: must be 1 or more"),
        ("minimal_norm_steps=0", r"evaluate.attack.minimal_norm_steps=0: must be 1 or more"),
        ("gradient_free_queries=0", r"evaluate.attack.gradient_free_queries=0: must be 1 or more"),
        ("minimal_norm_steps=null", r"minimal_norm_steps=null: minimal_norm is among the members and needs a number"),
        ("gradient_free_queries=null", r"gradient_free_queries=null: gradient_free is among the members"),
        ("seed=-1", r"evaluate.attack.seed=-1: must be at least 0 and at most 9000000000000"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message):
        composed("evaluate=ensemble", f"evaluate.attack.{override}")


def test_every_strength_is_a_number_of_the_file_and_not_of_a_budget():
    file = OmegaConf.load(Path(__file__).parents[2] / "conf" / "evaluate" / "ensemble.yaml")
    for name in ("epsilons", "num_steps", "restarts", "minimal_norm_steps", "gradient_free_queries"):
        assert not OmegaConf.is_interpolation(file.attack, name), name
