"""Predictions: frozen small and exact, and what follows from them. Numbers by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from adapt import results
from analysis import predictions, tables
from analysis.cells import NotInTable
from analysis.study import frozen, record
from analysis.study import predictions as kept_predictions

LABELS = ["a", "b", "c"]


def answered(gold: str, predicted: str, run_id: str = "r", classes: int = 3, clean=None) -> pd.DataFrame:
    """One run's frozen rows, a letter a label."""
    rows = pd.DataFrame(
        {"run_id": run_id, "example": range(len(gold)), "word": 0, "text_hash": list("stuvwxyz")[: len(gold)]}
    )
    rows = rows.assign(gold=list(gold), predicted=list(predicted), clean=True if clean is None else clean)
    return rows.assign(classes=classes, correct=rows["gold"] == rows["predicted"])


def test_agreement_by_hand():
    first, second = answered("aabbcc", "aabbac"), answered("aabbcc", "abbbaa", "s")
    result = predictions.agreement(first, second)
    # 4 of 6 alike; the first says a 3, b 2, c 1 times, the second a 3, b 3: chance (9 + 6 + 0) / 36
    assert (result.n, result.share) == (6, pytest.approx(4 / 6))
    assert result.kappa == pytest.approx((4 / 6 - 15 / 36) / (1 - 15 / 36))
    assert (result.both_right, result.only_first, result.only_second, result.both_wrong) == (3, 2, 0, 1)
    right, too = predictions.paired_correct(first, second.sample(frac=1, random_state=0))
    assert right.tolist() == [True] * 4 + [False, True]
    assert too.tolist() == [True, False, True, True, False, False]
    assert math.isnan(predictions.agreement(answered("ab", "aa"), answered("ab", "aa")).kappa)


def test_runs_of_other_examples_are_refused():
    with pytest.raises(ValueError, match="did not predict the same examples: 3 and 2 rows"):
        predictions.agreement(answered("abc", "abc"), answered("ab", "ab"))
    with pytest.raises(ValueError, match="did not predict the same examples"):
        predictions.agreement(answered("abc", "abc"), answered("abc", "abc").assign(text_hash="other"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=8))
def test_macro_f1_is_the_mean_over_the_labels_that_the_rows_have(pairs):
    gold, said = ("".join(side) for side in zip(*pairs, strict=True))
    rows = answered(gold, said)
    expected = f1_score(list(gold), list(said), average="macro", zero_division=0.0)
    assert predictions.score(rows, "macro_f1") == pytest.approx(expected)
    assert predictions.score(rows, "accuracy") == pytest.approx(sum(g == s for g, s in pairs) / len(pairs))


def test_a_score_is_of_one_run_and_a_known_metric():
    rows = answered("ab", "ab")
    with pytest.raises(ValueError, match="'span_f1': possible are accuracy"):
        predictions.score(rows, "span_f1")
    with pytest.raises(ValueError, match="of one run, not of 2"):
        predictions.score(pd.concat([rows, answered("ab", "ab", "s")]), "accuracy")


def test_confusion_by_hand():
    result = predictions.confusion(answered("aabbb", "abbbc"))
    assert result.to_numpy().tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 0]] and list(result.columns) == LABELS


def test_examples_that_tell_two_arms_apart():
    gold = "aabbc"
    rows = [answered(gold, "babbb", "w1"), answered(gold, "cabba", "w2"), answered(gold, "bbbba", "w3")]
    rows += [answered(gold, "aabbc", "r1"), answered(gold, "abbbc", "r2", clean=[True, True, True, True, False])]
    result = predictions.told_apart(pd.concat(rows), ["w1", "w2", "w3"], ["r1", "r2"])
    assert result["example"].tolist() == [0, 4] and result["gold"].tolist() == ["a", "c"]
    assert result["answer"].tolist() == ["b", "a"] and result["share"].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert result["clean"].tolist() == [True, False] and result["text_hash"].tolist() == ["s", "w"]
    with pytest.raises(NotInTable, match="no predictions of run w4; there are those of 5 runs"):
        predictions.told_apart(pd.concat(rows), ["w4"], ["r1"])


def test_cells_are_paired_by_seed(table):
    table = table[table["finetune.method"] == "full"]
    ones = predictions.cell_runs(table, model="tiny", pretrain="dapt", adversary="none")
    assert ones == {seed: f"tiny-full-dapt-none-{seed}" for seed in range(6)}
    with pytest.raises(NotInTable, match="several runs of a seed, which differ in pretrain"):
        predictions.cell_runs(table, model="tiny", adversary="none")
    with pytest.raises(NotInTable, match="no run with"):
        predictions.cell_runs(table, pretrain="tpat")
    rows = pd.concat([answered("ab", "ab", ones[0]), answered("ab", "aa", ones[1]), answered("ab", "bb", "s")])
    result = predictions.agreements(rows, {0: ones[0], 1: ones[1]}, {1: "s", 2: "t"})
    assert result[["seed", "only_first", "only_second"]].to_numpy().tolist() == [[1, 1, 1]]
    with pytest.raises(NotInTable, match="share no seed"):
        predictions.agreements(rows, {0: ones[0]}, {1: "s"})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text("ab", min_size=2, max_size=6), st.integers(2, 5)), min_size=1, max_size=4), st.data())
def test_freezing_keeps_every_answer(tmp_path_factory, runs, data):
    rows = pd.concat([answered(gold, data.draw(st.permutations(gold)), f"r{i}", n) for i, (gold, n) in enumerate(runs)])
    folder = tmp_path_factory.mktemp("frozen")
    content = frozen.packed(rows)
    (folder / frozen.PREDICTIONS).write_bytes(content)
    result = predictions.load(folder)
    plain = result.astype({name: "str" for name in ("run_id", "text_hash", "gold", "predicted")})
    assert plain[rows.columns].equals(rows.reset_index(drop=True).astype(plain[rows.columns].dtypes.to_dict()))
    assert frozen.packed(rows.sample(frac=1, random_state=1)) == content


def test_labels_keep_the_order_that_their_task_gave_them(tmp_path):
    rows = answered("ab", "ba").replace({"gold": {"a": "10", "b": "2"}, "predicted": {"a": "10", "b": "2"}})
    (tmp_path / frozen.PREDICTIONS).write_bytes(frozen.packed(rows))
    assert list(predictions.confusion(predictions.load(tmp_path)).columns) == ["2", "10"]


def test_a_study_without_any_is_told_and_another_file_refused(tmp_path):
    with pytest.raises(NotInTable, match=r"no predictions\.parquet"):
        predictions.load(tmp_path)
    answered("ab", "ab").drop(columns="classes").to_parquet(tmp_path / frozen.PREDICTIONS)
    with pytest.raises(ValueError, match="columns run_id, example"):
        predictions.load(tmp_path)


def write_answers(root, run_ids, said="abca"):
    labels = pd.Index(LABELS)
    for run_id in run_ids:
        rows = answered("abcc", said, run_id).drop(columns=["run_id", "classes"])
        rows = rows.assign(**{name: pd.Categorical(rows[name], labels) for name in ("gold", "predicted")})
        results.write_predictions(root, run_id, rows.assign(**{"logit:a": 0.5}))


@pytest.fixture
def small(table):
    return table[(table["pretrain"] == "dapt") & (table["adversary"] == "none") & (table["seed"] < 3)]


def freeze(root, experiments, **options):
    outcome = record.merge("synthetic", root, experiments, options.get("replace", False))
    return kept_predictions.freeze("synthetic", root, outcome, experiments, **options)


def test_they_are_frozen_as_a_study_grows(tmp_path, small, write_study):
    ids = sorted(small["run_id"].unique())
    for machine, mine in (("one", ids[:1]), ("two", ids[1:])):
        write_study(tmp_path / machine, small[small["run_id"].isin(mine)])
        write_answers(tmp_path / machine, mine[:1])
        kept = freeze(tmp_path / machine, tmp_path / "lab")
    assert str(kept).startswith("of 2 of 3 runs, 0.00 MB")
    rows = predictions.load(tmp_path / "lab" / "synthetic")
    assert sorted(rows["run_id"].unique()) == ids[:2] and set(rows["classes"]) == {3}
    assert predictions.score(predictions.of_run(rows, ids[0]), "accuracy") == 0.75
    write_study(tmp_path / "all", small)
    write_answers(tmp_path / "all", ids[:2])
    freeze(tmp_path / "all", tmp_path / "other")
    files = [tmp_path / lab / "synthetic" / frozen.PREDICTIONS for lab in ("lab", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()
    freeze(tmp_path / "gone", tmp_path / "lab")  # without the runs
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_with_other_numbers_keeps_the_answers_that_its_rows_came_from(tmp_path, small, write_study):
    ids = sorted(small["run_id"].unique())
    write_study(tmp_path, small)
    write_answers(tmp_path, ids)
    freeze(tmp_path, tmp_path)
    write_study(tmp_path, small.assign(value=small["value"] + 0.01))
    write_answers(tmp_path, ids, said="abcc")
    for replace, accuracy in ((False, 0.75), (True, 1.0)):
        freeze(tmp_path, tmp_path, replace=replace)
        rows = predictions.load(tmp_path / "synthetic")
        assert predictions.score(predictions.of_run(rows, ids[0]), "accuracy") == accuracy


def test_a_file_that_is_too_large_is_not_kept(tmp_path, small, write_study, capsys):
    write_study(tmp_path, small)
    write_answers(tmp_path, small["run_id"].unique())
    given = ["synthetic", "--root", str(tmp_path), "--experiments", str(tmp_path)]
    assert tables.main([*given, "--predictions-megabytes", "0.001"]) == 0
    assert "too large to be written unless --predictions-megabytes allows it" in capsys.readouterr().out
    assert not (tmp_path / "synthetic" / frozen.PREDICTIONS).exists()
    assert freeze(tmp_path, tmp_path).written and (tmp_path / "synthetic" / frozen.PREDICTIONS).exists()


@pytest.mark.parametrize("study", ["quickstart", "dont_stop_pretraining", "peft_vs_full"])
def test_scores_of_frozen_predictions_are_the_frozen_scores(study):
    """Where all classes occur, as in these studies, the mean over the classes that occur is that over all."""
    folder = Path(__file__).parents[2] / "experiments" / study
    kept, table = predictions.load(folder), frozen.load(folder / "results.csv")
    rows = table[(table["split"] == "test") & (table["attack"] == "none")]
    written = rows[rows["metric"].isin(["macro_f1", "accuracy"])].set_index(["run_id", "metric"])["value"]
    checked = 0
    for run_id in sorted(kept["run_id"].unique())[:8]:
        own = predictions.of_run(kept, run_id)
        for metric in ("macro_f1", "accuracy"):
            if (run_id, metric) in written.index:
                assert predictions.score(own, metric) == pytest.approx(written[run_id, metric], abs=1e-12)
                checked += 1
    assert checked >= 8
