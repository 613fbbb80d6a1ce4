"""Score against trained parameters: planted numbers appear where a reader looks for them, and the figure is tidy."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from peft_study import HEAD, METHODS, peft_study
from tidy import is_tidy

from analysis import cells, comparisons
from analysis.cells import NotInTable
from analysis.drawing import style
from analysis.figures.score_vs_parameters import DODGE, figure
from analysis.stats.paired import t_interval

MANY = METHODS | {
    name: (2_000 * 2**place, -0.01 * place, 1.0)
    for place, name in enumerate(["head_only", "vera", "dora", "adalora", "prompt", "p_tuning_lstm", "qlora"])
}
GAPS = {
    "whole": lambda t: t,
    "unequal seeds": lambda t: t[~((t["peft"] == "lora") & (t["seed"] > 3))],
    "one seed": lambda t: t[t["seed"] == 0],
    "one chain": lambda t: t[t["pretrain"] == "none"],
    "one adversary": lambda t: t[t["adversary"] == "none"],
    "no full": lambda t: t[t["peft"] != "none"],
    "clean alone": lambda t: t[t["attack"] == "none"],
    "two tasks": lambda t: pd.concat([t, t.assign(task="other", run_id="o" + t["run_id"])]),
}


FEW = ("unequal seeds", "one seed")


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    return peft_study()


def marks_of(panel, shape: str):
    return [line for line in panel.get_lines() if line.get_marker() == shape]


@pytest.mark.parametrize("gap", [pytest.param(gap, marks=() if gap in FEW else pytest.mark.full) for gap in GAPS])
def test_nothing_is_cut_off_or_overlaps(gap: str, study: pd.DataFrame) -> None:
    is_tidy(figure(GAPS[gap](study)))


@pytest.mark.full
def test_many_methods_and_chains_stay_readable() -> None:
    is_tidy(figure(peft_study(MANY, ("none", "dapt", "tapt", "dapt+tapt"), ("none", "fgm", "pgd"))))


def test_marks_stand_at_their_parameters_and_mean_with_the_interval_over_seeds(study: pd.DataFrame) -> None:
    drawn = figure(study)
    assert [panel.get_title(loc="left") for panel in drawn.axes] == ["plain", "", "FGM", ""]
    for panel, adversary in ((drawn.axes[0], "none"), (drawn.axes[2], "fgm")):
        assert panel.get_xscale() == "log"
        for chain, (_, shape), side in zip(
            ("none", "dapt+tapt"), style.chain_looks(["none", "dapt+tapt"]).values(), (1 / DODGE, DODGE), strict=True
        ):
            own = study[(study["pretrain"] == chain) & (study["adversary"] == adversary)]
            scores = cells.scores(own).groupby("peft")["value"]
            marks = {round(line.get_xdata()[0] / side): line for line in marks_of(panel, shape)}
            assert set(marks) == {trained + HEAD for trained, *_ in METHODS.values()}
            for method, (trained, *_) in METHODS.items():
                assert marks[trained + HEAD].get_ydata()[0] == pytest.approx(scores.get_group(method).mean())
            bars = [line.get_ydata() for line in panel.get_lines() if line.get_solid_capstyle() == "butt"]
            assert all(np.isclose(bars, t_interval(seeds)).all(axis=1).any() for _, seeds in scores)


def test_filled_marks_are_those_that_differ_from_all_weights_of_their_chain(study: pd.DataFrame) -> None:
    panel = figure(study).axes[1]  # plain, under attack
    for chain, (_, shape) in style.chain_looks(["none", "dapt+tapt"]).items():
        own = study[(study["pretrain"] == chain) & (study["adversary"] == "none")]
        shown = {c.cell["peft"]: c.supported for c in comparisons.compare(own, cells.reference_epsilon(study))}
        filled = [line.get_markerfacecolor() != "white" for line in marks_of(panel, shape)]
        assert sum(filled) == 1 + sum(shown.values()) and len(filled) == 1 + len(shown)
        assert 0 < sum(shown.values()) < len(shown)  # both kinds occur


def test_each_mark_says_how_many_seeds_it_stands_for(study: pd.DataFrame) -> None:
    assert "means over 6 seeds" in figure(study).get_supxlabel().replace("\n", " ")
    few = figure(GAPS["unequal seeds"](study))
    names = [text.get_text() for text in few.legends[0].get_texts()]
    assert any(name.endswith("LoRA (4)") for name in names) and any(name.endswith("all weights (6)") for name in names)
    assert "In brackets" in few.get_supxlabel()


def test_it_is_drawn_where_methods_vary_alone(study: pd.DataFrame, table: pd.DataFrame) -> None:
    for rows in (table, study[study["peft"] == "lora"]):
        with pytest.raises(NotInTable, match="one method of training alone: sweep peft"):
            figure(rows)
    with pytest.raises(NotInTable, match="trained parameters"):
        figure(study[study["metric"] != "trainable_parameters"])


@pytest.mark.parametrize("name", ["clean_vs_robust", "paired_differences", "accuracy_vs_epsilon"])
def test_the_other_figures_stay_readable(name: str, study: pd.DataFrame) -> None:
    is_tidy(importlib.import_module(f"analysis.figures.{name}").figure(study))


def test_the_plane_numbers_methods_with_their_adversary(study: pd.DataFrame) -> None:
    drawn = importlib.import_module("analysis.figures.clean_vs_robust").figure(study)
    names = {text.get_text().partition("  ")[2] for text in drawn.legends[0].get_texts()}
    assert {"LoRA, plain", "LoRA, FGM", "all weights, plain", "BitFit, FGM"} <= names
    assert [panel.get_title(loc="left") for panel in drawn.axes] == ["not adapted", "DAPT+TAPT"]


def test_every_option_of_peft_is_called_as_in_its_paper() -> None:
    assert cells.method_label("none") == "all weights" and cells.method_label("lora") == "LoRA"
    assert cells.method_label("head_only") == "head only" and cells.method_label("prefix") == "prefix"
