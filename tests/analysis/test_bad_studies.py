"""Studies with something wrong: tables and figures still work, the gap is named, and no test claims too much."""

from __future__ import annotations

import importlib
import math

import pandas as pd
import pytest
from frames import runs

from analysis import cells, comparisons, tables
from analysis.caveats import caveats

main = importlib.import_module("analysis.figures.__main__")


def in_percent(table: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
    scores = table["metric"].isin(["accuracy", "macro_f1"])
    return table.assign(value=table["value"].where(~(which & scores), 100 * table["value"]))


def of_two_commits(table: pd.DataFrame) -> pd.DataFrame:
    newer = (table["seed"] > 3) | ((table["seed"] == 0) & (table["pretrain"] == "dapt"))
    return table.assign(commit=newer.map({True: "abcdef0123", False: "1234567890"}), dirty=table["seed"] == 1)


DAPT_FGM = "DAPT, FGM"
BAD = {
    "one seed": (
        lambda t: t[t["seed"] == 0],
        "Note: every run has seed 0: there is no spread over seeds, and no difference is tested.",
    ),
    "unequal seeds": (
        lambda t: t[~((t["pretrain"] == "dapt") & (t["adversary"] == "fgm") & (t["seed"] > 3))],
        "Note: missing DAPT, FGM: seed 4, 5.",
    ),
    "a missing cell": (
        lambda t: t[~((t["pretrain"] == "dapt") & (t["adversary"] == "fgm"))],
        "Note: missing DAPT, FGM: every seed.",
    ),
    "two commits": (
        of_two_commits,
        "Note: the runs come from 2 commits: 1234567, abcdef0; within seed 0 they differ, and a difference may be the "
        "code's.",
    ),
    "two devices": (
        lambda t: t.assign(device=t["device"].where(t["seed"] < 3, "H100")),
        "Note: the runs come from 2 devices: H100 (39 runs); cpu (40 runs).",
    ),
    "sides on two devices": (
        lambda t: t.assign(device=t["device"].where(t["run_id"] != "tiny-full-dapt-fgm-2", "H100")),
        "Note: the runs come from 2 devices: H100 (1 run); cpu (78 runs); the two sides of 1 of 11 comparisons "
        "(DAPT, FGM: seed 2) differ in it, and a difference may be the device's.",
    ),
    "two versions of a library": (
        lambda t: t.assign(versions=t["seed"].map(lambda s: f"python 3.12; torch 2.{s // 3}; numpy 2")),
        "Note: the runs come from 2 sets of versions: torch 2.0 (40 runs); torch 2.1 (39 runs).",
    ),
    "dirty rows": (of_two_commits, "Note: 13 of 79 runs come from a dirty tree: no rows of record."),
    "two units": (
        lambda t: in_percent(t, (t["pretrain"] == "dapt") & (t["adversary"] == "fgm") & (t["seed"] == 2)),
        "Note: macro-F1 of pydoc topic is above 1, so in percent, in 1 of 79 runs (tiny, DAPT, FGM, full: seed 2), but "
        "a share in the others: left out of every mean and comparison.",
    ),
    "a run without its score": (
        lambda t: t[~((t["metric"] == "macro_f1") & (t["run_id"] == "tiny-full-dapt-fgm-2"))],
        "Note: no score on test in the metric of the task in 1 of 79 runs (tiny, DAPT, FGM, full: seed 2): in no mean "
        "and comparison.",
    ),
    "a run made twice": (
        lambda t: pd.concat([t, t[t["run_id"] == "tiny-full-dapt-fgm-2"].assign(run_id="again")]),
        "Note: several runs of the same settings and seed, which count once, with their mean: tiny, DAPT, FGM, full: "
        "seed 2.",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_the_table_comes_and_names_what_is_wrong(bad, table):
    spoiled, note = BAD[bad][0](table), BAD[bad][1]
    text = tables.format_summary(spoiled)
    assert note in caveats(spoiled) and note in text.splitlines()
    assert note not in caveats(table) and DAPT_FGM in text and "nan" not in text


@pytest.mark.parametrize("bad", ["two units", "a run without its score"])  # gaps of other kinds: test_figures.py
def test_the_figures_come(bad, table):
    for name in ("paired_differences", "clean_vs_robust"):
        assert importlib.import_module(f"analysis.figures.{name}").figure(BAD[bad][0](table)).axes


def of_dapt_fgm(table: pd.DataFrame, epsilon: float | None = None) -> comparisons.Comparison:
    (comparison,) = [c for c in comparisons.compare(table, epsilon) if c.label == DAPT_FGM]
    return comparison


def test_a_whole_study_is_not_complained_of(table, zoo):
    assert caveats(table) == []
    assert all("failed in" in note for note in caveats(zoo))  # a check that is planted in one run


def test_one_seed_carries_no_test(table):
    for epsilon in (None, 0.1):
        for comparison in comparisons.compare(BAD["one seed"][0](table), epsilon):
            assert (comparison.n, comparison.reading, comparison.supported) == (1, "no test", False) and math.isnan(
                comparison.p_holm
            )
            assert "p =" not in comparison.verdict() and "no test" in comparison.verdict()


@pytest.mark.parametrize("bad, pairs", [("unequal seeds", 4), ("two units", 5), ("a run without its score", 5)])
def test_the_pairs_that_are_left_carry_the_test(bad, pairs, table, make_study):
    shared = of_dapt_fgm(BAD[bad][0](table))
    assert shared.n == pairs and math.isnan(shared.p) and not shared.supported  # one adapted model, of any seeds
    table = make_study(shared_adaptation=False)
    comparison, whole = of_dapt_fgm(BAD[bad][0](table)), of_dapt_fgm(table)
    assert (comparison.n, comparison.unpaired) == (pairs, 6 - pairs)
    assert comparison.p >= 2 / 2**pairs > 0.05 and not comparison.supported and whole.supported
    kept = whole.differences[comparison.differences.index]
    assert comparison.differences.tolist() == kept.tolist()


def test_a_score_in_percent_is_compared_with_no_share_under_attack_either(table):
    spoiled = in_percent(table, (table["pretrain"] == "dapt") & (table["seed"] == 2))
    assert of_dapt_fgm(spoiled, 0.1).n == 5 and of_dapt_fgm(spoiled, 0.1).mean < 1
    assert (cells.scores(spoiled, 0.4)["value"] < 1).all() and (cells.scores(spoiled, split="dev")["value"] < 1).all()
    assert "accuracy of pydoc topic is above 1" in "\n".join(caveats(spoiled))


def test_a_baseline_in_percent_leaves_nothing_to_compare_and_the_table_still_comes(table):
    spoiled = in_percent(table, (table["pretrain"] == "none") & (table["adversary"] == "none"))
    text = tables.format_summary(spoiled)
    assert "macro-F1 of pydoc topic is above 1" in text
    assert not any("not adapted, plain" in c.label for c in comparisons.compare(spoiled))


def test_one_unit_is_never_another_one(table):
    percent = in_percent(table, table["seed"] >= 0)
    assert not cells.in_another_unit(percent).any() and len(cells.scores(percent)) == len(cells.scores(table))
    assert of_dapt_fgm(percent).mean == pytest.approx(100 * of_dapt_fgm(table).mean)
    published = pd.concat([table, in_percent(table, table["seed"] >= 0).assign(source="published")])
    assert not cells.in_another_unit(published).any()  # a comparison never crosses sources


def test_a_loss_above_1_is_no_percentage():
    table = runs(("none", "none", 0, 0.5), ("none", "none", 1, 2.5, {"metric": "loss"}))
    assert not cells.in_another_unit(table).any()


def test_chains_that_are_trained_plainly_alone_lack_nothing():
    star = runs(*[(*cell, s, 0.5) for cell in (("none", "none"), ("dapt", "none"), ("none", "fgm")) for s in (0, 1)])
    assert caveats(star) == []
    six = [(chain, adversary) for chain in ("none", "dapt") for adversary in ("none", "fgm", "pgd")]
    crossed = runs(*[(*cell, s, 0.5) for cell in six if cell != ("dapt", "none") for s in (0, 1)])
    assert caveats(crossed) == []  # nothing says that plain training of another chain was meant
    crossed = runs(*[(*cell, s, 0.5) for cell in six if cell != ("none", "pgd") for s in (0, 1)])
    assert caveats(crossed) == ["Note: missing not adapted, PGD: every seed."]


def test_tasks_on_devices_of_their_own_are_named_and_no_comparison_is_doubted(table):
    other = table.assign(task="jsonl:acl_arc", run_id="a" + table["run_id"], device="H100")
    assert caveats(pd.concat([table, other])) == [
        "Note: the runs come from 2 devices: H100 (ACL-ARC); cpu (pydoc topic)."
    ]


def test_no_score_at_all_is_said():
    assert "Note: no run has a score on test in the metric of its task." in caveats(
        runs(("none", "none", 0, 0.5, {"split": "dev"}), ("dapt", "none", 0, 0.5, {"split": "dev"}))
    )
