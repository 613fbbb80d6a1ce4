"""Cost in passes and the difference to plain training of the same cost, by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt import results
from analysis import equal_cost, tables
from analysis.cells import NotInTable
from analysis.drawing import labels
from analysis.pages import equal_cost as equal_cost_report

PLAIN = {"none": 1, "none_x2": 2, "none_x4": 4}
CURVE = {"none": [0.50, 0.52], "none_x2": [0.54, 0.54], "none_x4": [0.56, 0.60]}  # by seed


def runs(*given):
    """A clean score and costs a step for each (adversary, [value by seed], (F, Bp, Bi), length)."""
    rows = []
    for adversary, values, passes, length in given:
        for seed, value in enumerate(values):
            run = dict(run_id=f"{adversary}-{seed}", model="tiny", task="t", pretrain="none", adversary=adversary)
            run |= dict(seed=seed, attack="none", attack_epsilon=0.0, attack_steps=0, n=10)
            rows.append(run | dict(split="test", metric="macro_f1", value=value))
            counts = zip(equal_cost.WEIGHTS, passes, strict=True)
            rows += [run | dict(split="train", metric=name, value=10.0 * length * count) for name, count in counts]
            rows.append(run | dict(split="tapt/train", metric="forward_passes", value=1e5))
            rows.append(run | dict(split="train", metric="train_seconds", value=5.0 * length * sum(passes)))
    return results.typed(pd.DataFrame(rows))


def study(*more):
    return runs(*[(name, CURVE[name], (1, 1, 0), length) for name, length in PLAIN.items()], *more)


def method(table, name):
    (measured,) = [m for m in equal_cost.methods(table) if m.gain.cell["adversary"] == name]
    return measured


@pytest.mark.parametrize(
    "passes, length, cost, seconds",
    [
        ((2, 2, 0), 1, 2.0, 2.0),  # (2 + 2 * 2) / 3
        ((4, 2, 2), 1, 10 / 3, 4.0),  # PGD of 3 steps: (4 + 2 * 2 + 2) / 3
        ((3, 2, 1), 1, 8 / 3, 3.0),  # (3 + 2 * 2 + 1) / 3
        ((1, 1, 0), 3, 3.0, 3.0),
    ],
)
def test_cost_in_passes_of_fine_tuning_alone(passes, length, cost, seconds):
    measured = method(study(("pgd", [0.5, 0.5], passes, length)), "pgd")
    assert measured.cost == pytest.approx(cost) and measured.seconds == pytest.approx(seconds)


def test_a_method_is_compared_with_its_seeds_own_curve_at_its_own_cost():
    # cost 10/3, two thirds of the way from 2 to 4: plain is .54 + 2/3 * .02 = .55333 and .54 + 2/3 * .06 = .58
    measured = method(study(("pgd", [0.57, 0.57], (4, 2, 2), 1)), "pgd").at_equal_cost
    assert measured.differences.tolist() == pytest.approx([0.57 - 0.553333, 0.57 - 0.58], abs=1e-6)
    assert measured.mean == pytest.approx(0.01 / 3) and measured.baseline_mean == pytest.approx(0.5666667)
    assert measured.p == 1.0 and measured.n == 2
    gain = method(study(("pgd", [0.57, 0.57], (4, 2, 2), 1)), "pgd").gain
    assert gain.differences.tolist() == pytest.approx([0.07, 0.05])


@pytest.mark.parametrize("name", ["none_x2", "none_x4"])
def test_plain_training_is_the_curve_and_not_compared_with_it(name):
    measured = method(study(("fgm", [0.5, 0.5], (2, 2, 0), 1)), name)
    assert measured.at_equal_cost is None and measured.cost == PLAIN[name] == measured.length


def test_on_a_point_of_the_curve_the_difference_is_to_that_training():
    measured = method(study(("fgm", [0.55, 0.56], (2, 2, 0), 1)), "fgm").at_equal_cost
    assert measured.differences.tolist() == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize("length, compared", [(4.1, True), (4.3, False), (0.96, True), (0.9, False)])
def test_nothing_is_extrapolated(length, compared):
    measured = method(study(("free_at", [0.6, 0.6], (1, 1, 0), length)), "free_at").at_equal_cost
    assert (measured is not None) == compared
    if compared:
        assert measured.baseline_mean == pytest.approx(0.58 if length > 1 else 0.51)


def test_a_seed_that_lacks_a_length_of_the_curve_is_left_out_and_counted():
    table = study(("fgm", [0.55, 0.56], (2, 2, 0), 1))
    measured = method(table[table["run_id"] != "none_x4-1"], "fgm")
    assert measured.gain.n == 2
    assert measured.at_equal_cost.differences.tolist() == pytest.approx([0.01]) and measured.at_equal_cost.unpaired == 1


@pytest.mark.parametrize("without", ["none", "forward_passes", "backward_passes", "longer"])
def test_without_costs_or_curve_it_says_so(without):
    table = study(("fgm", [0.55, 0.56], (2, 2, 0), 1))
    dropped = table["adversary"].isin(["none_x2", "none_x4"]) if without == "longer" else table["adversary"] == without
    with pytest.raises(NotInTable, match="plain training of several lengths"):
        equal_cost.methods(table[~dropped & (table["metric"] != without)])


def test_chains_have_curves_of_their_own():
    table = study(("fgm", [0.55, 0.56], (2, 2, 0), 1))
    adapted = table.assign(pretrain="dapt", run_id="d" + table["run_id"], adaptation="a", adaptation_seed="0")
    adapted["value"] += 0.1 * ((adapted["adversary"] == "none_x2") & (adapted["metric"] == "macro_f1"))
    result = {m.context: m.at_equal_cost for m in equal_cost.methods(pd.concat([table, adapted])) if not m.length}
    assert result["not adapted"].mean == pytest.approx(0.015) and result["DAPT"].mean == pytest.approx(-0.085)
    assert result["DAPT"].scope == "given this adaptation"


def test_scores_of_another_attack_do_not_stand_beside_the_ensembles(zoo):
    adapted = zoo["pretrain"] != "none"
    by_pgd = zoo[adapted & (zoo["attack"] == "ensemble")].assign(attack="pgd", value=0.0)
    rest = zoo[~(adapted & (zoo["attack"] == "ensemble"))]
    measured = equal_cost.methods(pd.concat([rest, by_pgd]), 0.1)
    assert {m.context for m in measured} == {"not adapted"}
    without = equal_cost.methods(zoo[zoo["attack"].isin(["none", "ensemble"])], 0.1)
    assert [m.gain.mean for m in equal_cost.methods(zoo, 0.1)] == [m.gain.mean for m in without]


def test_holm_is_over_every_comparison_of_the_page(zoo):
    families = [equal_cost.methods(zoo), equal_cost.methods(zoo, 0.1)]
    compared = [m.at_equal_cost for measured in equal_cost.adjusted(families) for m in measured if m.at_equal_cost]
    assert len(compared) == 2 * 2 * 13 and {c.family for c in compared} == {52}
    smallest = min(compared, key=lambda c: c.p)
    assert smallest.p == 0.03125 and smallest.p_holm == 1.0  # 52 * .03125 > 1


def test_the_page_holds_the_numbers():
    page = equal_cost_report.report(study(("fgm", [0.55, 0.56], (2, 2, 0), 1), ("freelb", [0.6] * 2, (9, 9, 0), 1)))
    # mean .015, sd .0070711, t_1(.975) = 12.7062: half-width .0635310
    line = "| FGM | 2.00 | 2.00 | +0.045 | +0.015 | -0.049 to +0.079 | 2 | 0.5 | 0.5 | not shown |"
    assert line in page
    assert "| FreeLB | 9.00 | 9.00 | +0.090 |  |  |  |  |  | beyond the curve |" in page
    assert "| plain x4 | 4.00 | 4.00 | +0.070 |  |  |  |  |  | the curve |" in page
    assert "nan" not in page and "over all 1 comparisons" in page


def test_make_table_writes_the_page_only_where_there_is_a_curve(tmp_path, table, zoo, write_study, capsys):
    for name, rows in {"curve": zoo, "other": table}.items():
        some = rows[(rows["seed"] < 2) & (rows["finetune.method"] == "full") & (rows["model"] == "tiny")]
        write_study(tmp_path / name, some, experiment=name)
        assert tables.main([name, "--root", str(tmp_path / name), "--experiments", str(tmp_path)]) == 0
    assert "## DAPT+TAPT: accuracy, under attack, epsilon 0.1" in (tmp_path / "curve/equal_cost.md").read_text()
    assert not (tmp_path / "other/equal_cost.md").exists()
    assert "under attack by an ensemble, 20 steps, on 200 examples" in capsys.readouterr().out


def test_failed_checks_stand_beside_the_numbers_that_they_spoil(zoo, table):
    (note,) = tables.caveats(zoo)
    assert note.startswith("Note: the attack's check 'iterated' failed in 1 of 216 runs")
    assert note.endswith("too high: not adapted, FGM.") and tables.caveats(table) == []


def test_marks_apart_by_hand():
    assert labels.apart([1, 2, 3], 0.5, 10).tolist() == [1, 2, 3]
    assert labels.apart([2, 2], 1, 10).tolist() == [1.5, 2.5]
    assert labels.apart([2, 2, 2, 6], 1, 10).tolist() == [1, 2, 3, 6]
    assert labels.apart([0, 0], 1, 10).tolist() == [0.5, 1.5]
    assert labels.apart([9, 9, 9], 5, 9).tolist() == [1.5, 4.5, 7.5]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20).map(sorted), st.floats(0.01, 2))
def test_marks_keep_their_order_and_distance(wanted, distance):
    result = labels.apart(wanted, distance, 10)
    assert (np.diff(result) >= min(distance, 10 / len(wanted)) - 1e-9).all()
    assert result[0] >= -1e-9 and result[-1] <= 10 + 1e-9 and not math.isnan(result.sum())
