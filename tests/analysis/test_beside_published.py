"""Our differences beside published ones: right places, right fill, the seeds said."""

from __future__ import annotations

import pytest
from frames import runs
from tidy import is_tidy

from analysis import literature
from analysis.cells import NotInTable
from analysis.drawing import style
from analysis.figures import beside_published
from analysis.stats import paired


def study(task: str, seeds=range(6), chains=("none", "dapt", "tapt")):
    """DAPT is above by .05 or a little more in each seed, TAPT above or below by turns."""
    gains = {"none": lambda s: 0.0, "dapt": lambda s: 0.05 + 0.001 * s, "tapt": lambda s: 0.01 * (-1) ** s}
    rows = [(chain, "none", s, 0.4 + gains.get(chain, gains["dapt"])(s)) for chain in chains for s in seeds]
    return runs(*rows).assign(task=task)


def marks(panel):
    return {(line.get_ydata()[0], line.get_marker()): line for line in panel.get_lines() if line.get_marker() in "oD"}


def labels(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_published_task_stands_beside_its_own_numbers_alone():
    figure = beside_published.figure(study("jsonl:acl_arc"))
    assert labels(figure) == ["ours, tiny", "ACL-ARC, macro-F1", "gururangan2020, roberta-base",
                              "ACL-ARC, macro-F1"]  # fmt: skip
    dapt, tapt = figure.axes
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["DAPT", "TAPT"]
    ours, theirs = marks(dapt).values()
    assert ours.get_xdata()[0] == pytest.approx(0.0525) and theirs.get_xdata()[0] == pytest.approx(0.754 - 0.630)
    assert (ours.get_marker(), theirs.get_marker()) == ("o", "D")
    assert ours.get_markerfacecolor() == style.INK and theirs.get_markerfacecolor() == beside_published.PUBLISHED
    # 5 seeds each, sds .025 and .058
    low, high = paired.welch_interval((0.754, 0.025, 5), (0.630, 0.058, 5))
    spans = [line.get_xdata() for line in dapt.get_lines() if line.get_solid_capstyle() == "butt"]
    assert list(spans[1]) == pytest.approx([low, high])
    for line in marks(tapt).values():  # .674 (.018) to .630 (.058) is not shown, nor is ours
        assert line.get_markerfacecolor() == "white" and line.get_color() == style.GREY
    note = figure.get_supxlabel().replace("\n", " ")
    assert "over 6 pairs" in note and "over 5 seeds each" in note and "other tasks" not in note


def test_a_study_of_another_task_stands_beside_all_and_says_so():
    figure = beside_published.figure(study("pydoc_topic"))
    known = literature.differences(literature.published())
    tasks = known[known["pretrain"] == "dapt"]["task"].nunique()
    assert len(labels(figure)) == 2 + 1 + tasks
    assert len(marks(figure.axes[0])) == 1 + tasks
    assert "other tasks: none of the study's own was published" in figure.get_supxlabel().replace("\n", " ")


def test_chains_that_were_not_published_are_no_figure():
    with pytest.raises(NotInTable, match="none of the study's chains was published"):
        beside_published.figure(study("t", chains=("none", "dsir")))
    with pytest.raises(NotInTable):
        beside_published.figure(study("t", chains=("none",)))


CHAINS = ("none", "dapt", "irrelevant_dapt", "tapt", "dapt+tapt", "knn_tapt_50", "dapt+curated_tapt", "rand_tapt")


STUDIES = {
    "two chains": lambda: study("t"),
    "a published task": lambda: study("acl_arc"),
    "one seed": lambda: study("t", [0]),
    "one chain": lambda: study("t", chains=("none", "dapt")),
    "many chains": lambda: study("t", chains=CHAINS),
    "unequal seeds": lambda: study("t")[lambda t: t["run_id"] != "dapt-none-3-[]"],
}


@pytest.mark.parametrize("made", STUDIES)
def test_it_can_be_read(made):
    is_tidy(beside_published.figure(STUDIES[made]()))
