"""Each study with frozen rows has a notebook, stored without outputs, whose code runs from top to bottom.

The code cells are run in order in one namespace, with no kernel: nothing to install, nothing that waits for a port, and
the same Python that runs the tests. What only a kernel has (magics, display) the notebooks do without.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis import cells
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS

FOLDER = Path(__file__).parents[2] / "analysis" / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
FEW = 2  # seeds that a test reads of a study: a notebook's code is the same for more


def cells_of(name, kind):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_each_study_with_frozen_rows_has_one():
    assert sorted(path.parent.name for path in EXPERIMENTS.glob("*/results.csv")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_without_outputs_and_says_what_to_look_at(name):
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in cells_of(name, "code"))
    words = sum(len("".join(cell["source"]).split()) for cell in cells_of(name, "markdown"))
    assert words > 80
    ids = [cell["id"] for kind in ("code", "markdown") for cell in cells_of(name, kind)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(name, few_seeds, capsys):
    space: dict = {}
    last = [shown(compile_cell("".join(cell["source"]), name), space) for cell in cells_of(name, "code")]
    figures = [value for value in last if isinstance(value, Figure)]
    assert len(figures) >= 2 and all(figure.axes for figure in figures)
    printed = capsys.readouterr().out
    assert "mean (sd) over seeds" in printed and "nan" not in printed


@pytest.fixture
def few_seeds(monkeypatch):
    """The frozen rows with a few seeds, and without the settings that follow from a chain's or an adversary's name."""
    load = frozen.load

    def light(path):
        rows = load(path)
        known = [c for c in rows.columns if c.startswith(("pretrain.", "pretrain_adversary.", "adversary."))]
        light = rows[rows["seed"].lt(FEW) | rows["seed"].isna()].drop(columns=known)  # published rows have none
        assert cells.cell_columns(light) == cells.cell_columns(rows)
        return light

    monkeypatch.setattr(frozen, "load", light)


def compile_cell(source, name):
    """A cell as statements and the expression it ends with, if it does, whose value a notebook shows."""
    tree = ast.parse(source, name)
    ending = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    value = None if ending is None else compile(ast.Expression(ending.value), name, "eval")
    return compile(tree, name, "exec"), value


def shown(cell, space):
    statements, ending = cell
    exec(statements, space)
    return None if ending is None else eval(ending, space)
