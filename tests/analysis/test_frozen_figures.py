"""The figures of the studies of record: every module by globbing, each text on its own ground, the seeds said."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from matplotlib.text import Text
from tidy import is_tidy

from analysis import tuning
from analysis.cells import NotInTable
from analysis.study import frozen

REPOSITORY = Path(__file__).parents[2]
FIGURES = sorted(path.stem for path in (REPOSITORY / "analysis/figures").glob("[a-z]*.py"))
STUDIES = sorted(path.parent.name for path in (REPOSITORY / "experiments").glob("*/results.csv"))


SLOW = {"adversary_zoo"}  # large planes and many panels, the kind that test_figures.py draws of made rows


@pytest.fixture(scope="module", params=[pytest.param(s, marks=pytest.mark.full if s in SLOW else ()) for s in STUDIES])
def study(request):
    """The rows of a study: its folder, all trials, and the settled table."""
    folder = REPOSITORY / "experiments" / request.param
    table = frozen.load(folder / "results.csv")
    return folder, table, tuning.settled(table)[0]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_record_can_be_read_and_says_its_seeds(study, name):
    folder, table, settled = study
    module = importlib.import_module(f"analysis.figures.{name}")
    try:
        figure = module.figure(table if getattr(module, "ALL_TRIALS", False) else settled)
    except NotInTable:
        assert not (folder / "figures" / f"{name}.png").exists(), "drawn once, and now it cannot be"
        return
    assert (folder / "figures" / f"{name}.png").exists(), f"make figures STUDY={folder.name}"
    is_tidy(figure)
    said = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert re.search(r"\b\d+ (seeds?|pairs?)\b|: no seed", said), "how many seeds does a mark stand for?"
