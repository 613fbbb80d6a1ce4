"""The expected best of a tuning budget, and its figure: numbers by hand."""

from __future__ import annotations

import importlib
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from tidy import is_tidy

from adapt import results
from analysis import cells, tuning
from analysis.cells import NotInTable
from analysis.figures import expected_best
from analysis.stats.paired import t_interval
from analysis.tuning import LEARNING_RATE, best_of

main = importlib.import_module("analysis.figures.__main__")
DEV = {1e-4: (0.2, 0.4), 1e-3: (0.6, 0.6), 1e-2: (0.5, 0.5)}  # of seeds 0 and 1; means .3, .6, .5


def study(chains=("none", "dapt"), dev=DEV, **more) -> pd.DataFrame:
    """Each chain .1 above the one before it."""
    rows = []
    for place, chain in enumerate(chains):
        for rate, scores in dev.items():
            for seed, score in enumerate(scores):
                run = dict(source="ours", model="tiny", corpus="none", task="t", pretrain=chain, peft="none", n=10)
                run |= dict(adversary="none", budget="quick", seed=seed, adaptation=f"{chain}-{seed}", attack="none")
                run |= dict(adaptation_seed="0", attack_epsilon=0.0, attack_steps=0, metric="macro_f1")
                run |= {LEARNING_RATE: rate, "task.metric": "macro_f1", "run_id": f"{chain}-{rate}-{seed}"} | more
                rows += [run | {"split": split, "value": score + 0.1 * place} for split in ("dev", "test")]
    return results.typed(pd.DataFrame(rows))


def test_the_weights_are_the_chances_of_every_draw():
    for n in range(1, 7):
        for k in range(1, n + 1):
            draws = list(combinations(range(n), k))
            wanted = [sum(max(draw) == i for draw in draws) / len(draws) for i in range(n)]
            assert best_of(n)[k - 1] == pytest.approx(wanted)


def test_curves_by_hand():
    panel = expected_best.figure(study()).axes[0]
    plain, dapt = panel.get_lines()
    # means .3, .5, .6: one drawn 1.4 / 3; of two the best is .5 in one draw of three, else .6; of three .6
    assert list(plain.get_xdata()) == [1, 2, 3]
    assert list(plain.get_ydata()) == pytest.approx([1.4 / 3, (0.5 + 2 * 0.6) / 3, 0.6])
    assert list(dapt.get_ydata()) == pytest.approx([y + 0.1 for y in plain.get_ydata()])
    ends = panel.collections[0].get_paths()[0].vertices
    low, high = t_interval([(0.2 + 0.5 + 0.6) / 3, (0.4 + 0.5 + 0.6) / 3])
    assert ends[ends[:, 0] == 1][:, 1].min() == pytest.approx(low)
    assert ends[ends[:, 0] == 1][:, 1].max() == pytest.approx(high)


def test_the_footnote_says_what_a_trial_is_and_that_three_are_few():
    note = expected_best.figure(study()).get_supxlabel().replace("\n", " ")
    assert "A trial is a learning rate with its mean dev score over 2 seeds; an arm has 3 trials" in note
    assert "show little more" in note and "of the grid" in note
    long = expected_best.figure(study(dev={rate: (rate, rate) for rate in np.linspace(0.1, 0.6, 6)}))
    assert "show little more" not in long.get_supxlabel().replace("\n", " ")


def test_of_a_search_its_trials_alone_count():
    searched = study(**{results.TUNING: "3 trials of tpe, seed 0"})
    other = study(("none",), {5e-3: (0.9, 0.9)})
    figure = expected_best.figure(results.typed(pd.concat([searched, other])))
    assert figure.axes[0].get_lines()[0].get_ydata()[-1] == pytest.approx(0.6)
    assert "those of the search" in figure.get_supxlabel().replace("\n", " ")


def test_a_seed_that_a_trial_lacks_counts_for_none():
    table = study()
    fewer = table[table["run_id"] != "none-0.001-1"]
    figure = expected_best.figure(fewer)
    assert figure.axes[0].get_lines()[0].get_ydata()[-1] == pytest.approx(0.6)  # of seed 0: .2, .6, .5
    assert "1 to 2 seeds" in figure.get_supxlabel().replace("\n", " ")


def test_one_setting_is_no_budget():
    with pytest.raises(NotInTable, match="no tuning whose budget"):
        expected_best.figure(study(dev={1e-3: (0.5, 0.6)}))
    with pytest.raises(NotInTable):
        expected_best.figure(study()[lambda t: t["split"] == "test"])


MANY = ("none", "dapt", "tapt", "dapt+tapt", "dsir", "knn_tapt_50", "rand_tapt")


LEVELS = dict(zip(MANY, (0.10, 0.02, 0.03, 0.09, 0.04, 0.05, 0.06), strict=True))


def many_tasks(count=3):
    """Many arms of each task; not adapted is the best in all, DAPT the worst; the second task is in micro-F1."""
    result = []
    for place in range(count):
        metric = "micro_f1" if place == 1 else "macro_f1"
        table = study(MANY).assign(task=f"t{place}", metric=metric, **{"task.metric": metric})
        level = table["pretrain"].map(LEVELS) - 0.1 * table["pretrain"].map(MANY.index)  # less what study adds
        result.append(table.assign(value=table["value"] + level, run_id=f"{place}" + table["run_id"]))
    return pd.concat(result, ignore_index=True)


def test_of_several_tasks_each_has_a_panel_with_all_its_arms_the_best_and_the_worst_named():
    figure = expected_best.figure(many_tasks())
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert [panel.get_title(loc="left") for panel in panels] == ["t0", "t1", "t2"]
    assert [panel.get_ylabel() for panel in panels] == ["dev macro-F1", "dev micro-F1", "dev macro-F1"]
    for panel in panels:
        lines = panel.get_lines()
        assert len(lines) == len(MANY) and len([line for line in lines if line.get_marker() == "None"]) == 5
        # best mean .6 and .1 or .02 more; one drawn 1.4 / 3 of it: the same gain in all arms
        said = ["not adapted", "DAPT", f"more trials: +{0.6 - 1.4 / 3:.3f}\nbest to worst arm: 0.080"]
        assert [text.get_text() for text in panel.texts] == said
        best, worst = (text.xy[1] for text in panel.texts[:2])
        assert (best, worst) == pytest.approx((0.7, 0.62))
    note = figure.get_supxlabel().replace("\n", " ")
    assert "Named: the arms with the best and the worst score" in note and not figure.legends


def test_few_arms_of_several_tasks_keep_their_colours_and_each_task_its_metric():
    other = study().assign(task="u", run_id="u" + study()["run_id"], metric="micro_f1", **{"task.metric": "micro_f1"})
    figure = expected_best.figure(pd.concat([study(), other]))
    assert [panel.get_ylabel() for panel in figure.axes] == ["dev macro-F1", "dev micro-F1"]
    assert figure.legends and "Named" not in figure.get_supxlabel()


STUDIES = {
    "two arms": study,
    "many arms": lambda: study(MANY),
    "one arm": lambda: study(("none",)),
    "one seed": lambda: study(dev={rate: scores[:1] for rate, scores in DEV.items()}),
    "two tasks": lambda: pd.concat([study(), study().assign(task="u", run_id="u" + study()["run_id"])]),
    "many arms of three tasks": many_tasks,
    "a run is missing": lambda: study()[lambda t: t["run_id"] != "dapt-0.01-1"],
}


@pytest.mark.parametrize("made", STUDIES)
def test_it_can_be_read(made):
    is_tidy(expected_best.figure(STUDIES[made]()))


def test_of_many_arms_each_has_a_panel_with_the_others_in_grey():
    figure = expected_best.figure(study(MANY, {rate: [s / 5 for s in scores] for rate, scores in DEV.items()}))
    titles = [panel.get_title(loc="left") for panel in figure.axes if panel.get_visible()]
    assert titles[:2] == ["not adapted", "DAPT"] and len(titles) == len(MANY)
    assert all(len(panel.get_lines()) == len(MANY) for panel in figure.axes if panel.get_visible())


def test_it_is_given_all_trials_where_other_figures_are_given_the_chosen(tmp_path):
    table = study()
    assert tuning.settled(table)[0]["run_id"].nunique() < table["run_id"].nunique()
    assert len(cells.cell_columns(tuning.settled(table)[0])) == 4
    written, not_drawn = main.draw_all(table, tmp_path / "one")
    names = {path.name for path in written}
    assert {f"{name}.{kind}" for name in ("expected_best", "paired_differences") for kind in ("png", "pdf")} <= names
    assert "clean_vs_robust" in not_drawn
    main.draw_all(table.sample(frac=1, random_state=1), tmp_path / "two")
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
