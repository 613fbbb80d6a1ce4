"""Every figure, from the synthetic study and from tables with gaps: right marks, same bytes, nothing cut off."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tidy import is_tidy

from analysis import cells, comparisons, tables
from analysis.drawing import style
from analysis.drawing.labels import _ranges, beside
from analysis.study import frozen

REPOSITORY = Path(__file__).parents[2]
FIGURES = sorted(path.stem for path in (REPOSITORY / "analysis/figures").glob("[a-z]*.py"))
OF_ADAPTATION = {"loss_matrix", "vocabulary_overlap", "learning_vs_forgetting", "trajectories"}  # test_adaptation.py
OF_THEIR_OWN = {"expected_best", "beside_published", "score_vs_parameters"}  # tests
FIGURES = sorted(set(FIGURES) - OF_ADAPTATION - OF_THEIR_OWN)
OF_ANY_STUDY = ["accuracy_vs_epsilon", "clean_vs_robust", "paired_differences"]
main = importlib.import_module("analysis.figures.__main__")


def drawn(name, table):
    return importlib.import_module(f"analysis.figures.{name}").figure(table)


def with_gaps(table):
    few = (table["pretrain"] == "dapt") & (table["seed"] > 3)
    return table[~few & ~((table["adversary"] == "pgd") & (table["seed"] == 0))]


def with_two_models(table):
    own = table[~cells.is_baseline_model(table)]
    return pd.concat([own, own.assign(model="minilm", run_id="m" + own["run_id"], value=own["value"] * 1.02)])


def with_tasks(table, count=2):
    """The same runs and a little more in other tasks, in micro-F1, the last without DAPT."""
    result = [table]
    for place in range(1, count):
        metric = table["metric"].replace("macro_f1", "micro_f1")
        own = table.assign(task=f"t{place}", metric=metric, run_id=f"{place}" + table["run_id"])
        result.append(own.assign(**{"task.metric": "micro_f1"}, value=own["value"] * (1 + 0.01 * place)))
    return pd.concat([*result[:-1], result[-1][lambda t: t["pretrain"] != "dapt"]])


GAPS = {
    "whole": lambda t: t,
    "unequal seeds": with_gaps,
    "one seed": lambda t: t[t["seed"] == 0],
    "three seeds": lambda t: t[t["seed"] < 3],
    "a cell is missing": lambda t: t[~((t["pretrain"] == "dapt") & (t["adversary"] == "fgm"))],
    "one chain": lambda t: t[t["pretrain"] == "none"],
    "one adversary": lambda t: t[t["adversary"] == "none"],
    "two models": with_two_models,
    "two tasks": with_tasks,
}


def with_four_chains(table):
    more = {"none": "dapt", "dapt+tapt": "tapt"}
    rows = table.assign(pretrain=table["pretrain"].map(more), run_id="m" + table["run_id"])
    return pd.concat([table, rows])


EIGHT = ["none", "none_x2", "fgm", "pgd", "vat", "r3f", "awp", "rdrop"]
GAPS_OF_MANY = {name: GAPS[name] for name in ("whole", "one chain", "one seed")} | {
    "unequal seeds": lambda t: t[~((t["seed"] > 3) & t["adversary"].isin(["pgd", "none_x3"]))],
    "eight adversaries": lambda t: t[t["adversary"].isin(EIGHT)],
    "four chains": with_four_chains,
    "two models": with_two_models,
}


def test_there_are_figures():
    assert {"paired_differences", "clean_vs_robust", "accuracy_vs_epsilon", "gain_against_cost"} <= set(FIGURES)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("name", OF_ANY_STUDY)
def test_nothing_is_cut_off_or_overlaps(name, gap, table):
    is_tidy(drawn(name, GAPS[gap](table)))


@pytest.mark.parametrize(
    "gap", [pytest.param(gap, marks=() if gap == "whole" else pytest.mark.full) for gap in GAPS_OF_MANY]
)
@pytest.mark.parametrize("name", FIGURES)
def test_many_adversaries_stay_readable(name, gap, zoo):
    is_tidy(drawn(name, GAPS_OF_MANY[gap](zoo)))


def test_every_seed_and_only_supported_differences_are_filled(table):
    figure = drawn("paired_differences", table)
    for panel, epsilon in zip(figure.axes, (None, 0.1), strict=True):
        compared = comparisons.compare(table, epsilon)
        seeds = [line for line in panel.get_lines() if line.get_marker() == "|"]
        assert sorted(x for line in seeds for x in line.get_xdata()) == pytest.approx(
            sorted(x for c in compared for x in c.differences)
        )
        marks = [line for line in panel.get_lines() if line.get_marker() == "o"]
        hollow = [line.get_markerfacecolor() == "white" for line in marks]
        assert hollow == [not c.supported for c in compared] and len(marks) == 11
        ends = [line.get_xdata() for line in panel.get_lines() if line.get_solid_capstyle() == "butt"]
        assert np.allclose(ends, [c.t_interval for c in compared])
        assert [t.get_text() for t in panel.texts].count("6") == 11  # n of every row


def test_of_several_tasks_each_has_a_panel_with_its_metric_and_rows_that_they_share(table):
    clean = with_tasks(table[table["attack"] == "none"], 3)
    figure = drawn("paired_differences", clean)
    panels = [panel for panel in figure.axes if panel.get_visible()]
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles == ["pydoc topic, macro-F1", "t1, micro-F1", "t2, micro-F1"]
    assert [panel.get_xlabel() for panel in panels] == [
        f"difference in {metric}, test" for metric in ("macro-F1", "micro-F1", "micro-F1")
    ]
    compared = comparisons.compare(clean)
    heights = {}
    for panel, group in zip(panels, comparisons.by_context(compared), strict=True):
        marks = [line for line in panel.get_lines() if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in marks] == pytest.approx([c.mean for c in group])
        for line, one in zip(marks, group, strict=True):
            heights.setdefault(one.method, set()).add(float(line.get_ydata()[0]))
    assert len(heights) == 11 and all(len(ys) == 1 for ys in heights.values())
    assert len(set.union(*heights.values())) == 11
    note = figure.get_supxlabel().replace("\n", " ")
    assert "Method minus baseline (not adapted, plain), paired" in note and len(compared) == 11 + 11 + 8
    tested = sum(not math.isnan(one.p) for one in compared)  # the adapted models share one adaptation: no test of these
    assert tested == 2 * 3
    assert f"the {tested} comparisons of all panels" in note and "a panel's" not in note
    attacked = drawn("paired_differences", with_tasks(table))
    titles = [panel.get_title(loc="left") for panel in attacked.axes]
    under = "under attack with $\\epsilon$ = 0.1"
    assert titles == ["pydoc topic, clean", f"pydoc topic, {under}", "t1, clean", f"t1, {under}"]
    is_tidy(drawn("paired_differences", with_tasks(table[table["attack"] == "none"], 5)))
    assert "the 4 comparisons of all panels clean, or under attack," in attacked.get_supxlabel().replace("\n", " ")


def test_every_seed_is_a_mark_of_the_plane(table):
    panel = drawn("clean_vs_robust", table).axes[0]
    small = [line for line in panel.get_lines() if line.get_markersize() == 2.4]
    assert sum(len(line.get_xdata()) for line in small) == 72
    means = tables.summary(table).query("model == 'tiny' and `finetune.method` == 'full'")
    large = [line for line in panel.get_lines() if line.get_markersize() == 5]
    assert sorted(line.get_ydata()[0] for line in large) == pytest.approx(sorted(means["robust@0.1"]))


def test_unequal_numbers_of_seeds_stand_at_the_marks(table):
    texts = {t.get_text() for t in drawn("clean_vs_robust", with_gaps(table)).axes[0].texts}
    assert {"3", "4", "5", "6"} <= texts


def test_curves_start_at_the_attacks_own_zero_or_at_the_clean_score(table):
    for rows, n in ((table, 200), (table[~((table["attack"] == "pgd") & (table["attack_epsilon"] == 0))], 500)):
        figure = drawn("accuracy_vs_epsilon", rows)
        assert list(figure.axes[0].get_lines()[0].get_xdata()) == [0, 0.05, 0.1, 0.2, 0.4]
        note = figure.get_supxlabel().replace("\n", " ")
        assert ("but 500 at" in note) == (n == 500) and "200 test examples" in note


def test_gains_costs_and_the_plain_curve_are_where_they_are_measured(zoo):
    figure = drawn("gain_against_cost", zoo)
    panels = dict(zip([(row, chain) for row in (0, 1) for chain in ("none", "dapt+tapt")], figure.axes, strict=True))
    for (row, chain), panel in panels.items():
        compared = comparisons.compare(zoo[zoo["pretrain"] == chain], (None, 0.1)[row])
        gains = {c.cell["adversary"]: c for c in compared}
        methods = [c for name, c in gains.items() if not name.startswith("none")]
        marks = [line for line in panel.get_lines() if line.get_marker() == "o"]
        assert sorted(m.get_ydata()[0] for m in marks) == pytest.approx(sorted(c.mean for c in methods))
        shown = sorted(m.get_ydata()[0] for m in marks if m.get_markerfacecolor() != "white")
        assert shown == pytest.approx(sorted(c.mean for c in methods if c.supported)) and len(marks) == 14
        seeds = [y for line in panel.get_lines() if line.get_markersize() == 2.6 for y in line.get_ydata()]
        assert sorted(seeds) == pytest.approx(sorted(d for c in methods for d in c.differences))
        (curve,) = [line for line in panel.get_lines() if line.get_marker() == "D"]
        assert list(curve.get_xdata()) == pytest.approx([1, 2, 3, 4])
        assert list(curve.get_ydata()) == pytest.approx([0.0, *(gains[f"none_x{k}"].mean for k in (2, 3, 4))])
        costs = [line.get_xdata()[0] for line in panel.get_lines() if len(line.get_xdata()) == 3]
        assert sorted(costs) == pytest.approx([1, 1, 2, 2, 2, 2, 2, 8 / 3, 8 / 3, 3, 3, 10 / 3, 10 / 3, 10])
    names = [t.get_text() for t in panels[0, "none"].texts]
    assert len(names) == 14 and names[:2] == ["FreeAT", "NEFTune"] and names[-1] == "FreeLB++"


def test_hollow_marks_of_curves_and_of_the_plane_are_those_that_the_test_does_not_show(table):
    figure = drawn("accuracy_vs_epsilon", table)
    own = table[~cells.is_baseline_model(table) & (table["pretrain"] == "none")]
    wanted = {"none": [True] * 5}
    for epsilon in (0.0, 0.05, 0.1, 0.2, 0.4):
        for one in comparisons.compare(own, epsilon):
            wanted.setdefault(one.cell["adversary"], []).append(one.supported)
    looks = style.adversary_looks(wanted)
    for name, filled in wanted.items():
        colour, shape = looks[name]
        marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == shape]
        by_face = {line.get_markerfacecolor(): list(line.get_xdata()) for line in marks}
        assert len(by_face[colour]) == sum(filled) and len(by_face["white"]) == 5 - sum(filled)
    plane = drawn("clean_vs_robust", table).axes[0]
    large = [line for line in plane.get_lines() if line.get_markersize() == 5]
    clean, robust = ({c.key: c.supported for c in comparisons.compare(table, e, "accuracy")} for e in (None, 0.1))
    neither = sum(not clean[key] and not robust[key] for key in clean)
    assert sum(line.get_markerfacecolor() == "white" for line in large) == neither


def with_a_failure(table):
    """FGM on the chain DAPT+TAPT collapses, clean and attacked."""
    failed = (table["adversary"] == "fgm") & (table["pretrain"] == "dapt+tapt") & table["split"].isin(["test"])
    return table.assign(value=table["value"] - 0.5 * failed)


def test_what_is_far_out_is_named_and_squeezes_nothing(table):
    assert list(style.far_out([1, 2, 3, 4, 5, 6, 7, 8])) == [False] * 8
    # quartiles 2.75 and 6.25: fences at -7.75 and 16.75
    assert list(style.far_out([1, 2, 3, 4, 5, 6, 7, 17])) == [False] * 7 + [True]
    assert not style.far_out([0, 0, 0, 0, 0, 0, 99]).any()  # seven say nothing
    clean, _ = drawn("paired_differences", with_a_failure(table)).axes
    assert clean.get_xlim()[0] > -0.2
    assert len([line for line in clean.get_lines() if line.get_marker() == "<"]) == 1
    (difference,) = [c for c in comparisons.compare(with_a_failure(table)) if c.mean < -0.3]
    assert any(text.get_text().startswith(f"\N{MINUS SIGN}{-difference.mean:.3f} (") for text in clean.texts)
    plane = drawn("clean_vs_robust", with_a_failure(table)).axes[0]
    assert "beyond the axes: FGM at" in plane.texts[-1].get_text() and plane.get_xlim()[0] > 0.4
    for name in OF_ANY_STUDY:
        is_tidy(drawn(name, with_a_failure(table)))


def test_a_reference_far_from_the_marks_is_named_at_the_edge():
    panel = style.new_figure(style.ONE_COLUMN, 2).subplots()
    panel.plot([0.40, 0.50], [0, 1])
    style.reference_lines(panel, {"near": 0.39, "far": 0.1})
    assert [text.get_text() for text in panel.texts] == ["\N{LEFTWARDS ARROW} far 0.100", "near"]
    assert panel.get_xlim()[0] > 0.3
    assert [line.get_xdata()[0] for line in panel.get_lines()[1:]] == [0.39]


def test_marks_on_each_other_share_a_label():
    figure = style.new_figure(style.ONE_COLUMN, 2)
    panel = figure.subplots()
    points = [(0, 0), (0, 0.001), (1, 1), (0.001, 0), (0, 0.002)]
    panel.plot(*zip(*points, strict=True), "o")
    figure.draw_without_rendering()
    beside(panel, points, [1, 2, 3, 4, 5], avoid=points)
    assert sorted(text.get_text() for text in panel.texts) == ["1, 2, 4, 5", "3"]
    assert _ranges([7, 3, 5, 6, 10, 11]) == "3, 5\N{EN DASH}7, 10, 11"


def test_a_study_without_longer_plain_training_has_no_such_figure(table):
    with pytest.raises(cells.NotInTable, match="plain training of several lengths"):
        drawn("gain_against_cost", table)


def test_every_number_of_many_stands_once_in_each_plane(zoo):
    figure = drawn("clean_vs_robust", zoo)
    for panel in figure.axes:
        parts = [part.split("\N{EN DASH}") for t in panel.texts for part in t.get_text().split(", ")]
        numbers = [n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)]
        assert sorted(numbers) == list(range(1, 19))
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["not adapted", "DAPT+TAPT"]


def test_looks_of_two_adversaries_are_never_the_same():
    assert len(set(style.adversary_looks(map(str, range(40))).values())) == 40


def test_no_global_style_is_changed(table):
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn("paired_differences", table)
    assert dict(matplotlib.rcParams) == before


def test_colours_differ_within_a_figure_and_stay_between_figures():
    chains = ["none", "knn_tapt_50", "dapt", "a", "b", "c", "d", "tapt", "dapt+tapt"]
    assert len(set(style.colours(chains).values())) == len(chains)
    assert style.colours(["tapt"])["tapt"] == style.colours(chains)["tapt"]


def test_make_figures_draws_all_from_the_csv_alone_with_the_same_bytes(tmp_path, zoo):
    zoo = zoo[zoo["adversary"].isin(["none", "none_x2", "fgm", "pgd"])]
    frozen.save(zoo, tmp_path / "synthetic" / "results.csv")
    command = [sys.executable, "-m", "analysis.figures", "synthetic", "--experiments", str(tmp_path)]
    subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "1"}, cwd=REPOSITORY, check=True)
    main.draw_all(frozen.load(tmp_path / "synthetic" / "results.csv"), tmp_path / "again")
    folders = tmp_path / "synthetic" / "figures", tmp_path / "again"
    first, again = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert set(first) == {f"{name}.{kind}" for name in [*FIGURES, "beside_published"] for kind in ("png", "pdf")}
    assert first == again


def test_fresh_runs_are_drawn_under_their_root(tmp_path, table, write_study, capsys):
    write_study(tmp_path, table[(table["attack"] == "none")], dirty=True)
    assert main.main(["synthetic", "--root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "figures/synthetic/paired_differences.pdf").exists()
    assert "clean_vs_robust: not drawn: no rows under attack" in text and "dirty tree" in text


def test_an_unknown_study_is_an_error_that_says_what_makes_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main.main(["nothing", "--experiments", str(tmp_path)])
    assert "`adapt table nothing` makes it" in capsys.readouterr().err
