"""Each method's paired difference to its baseline: every seed, the mean and its interval, what the test supports."""

from __future__ import annotations

import itertools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells
from analysis.comparisons import CONTEXT, LEVEL, Comparison, by_context, cannot_pass, compare, scopes_in_words
from analysis.drawing import forest, style

LINE = 0.17  # inches per row
COLUMNS = 3  # at most so many panels side by side
HEAD = 0.55  # inches that a row of panels needs besides its lines: for title and axis
FEWER = ["adversary", "pretrain"]  # rows are grouped under headings by the one of these with fewer values

Panel = tuple[float | None, list[Comparison]]  # its radius and its comparisons


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A forest plot: one row per method, one panel per task and model, clean and (where measured) under attack.

    Raises NotInTable.
    """
    compared = {epsilon: compare(table, epsilon) for epsilon in cells.radii(table)}
    every = [c for comparisons in compared.values() for c in comparisons]
    panels, columns = _panels(compared)
    rows = -(-len(panels) // columns)
    heading = _heading_columns(every)
    places, headings = _places(every, heading)
    bottom = max([*places.values(), *headings.values()]) + 0.7
    width, footer = (style.TWO_COLUMNS, 1.05) if len(panels) > 1 else (style.ONE_COLUMN, 1.35)
    drawn = style.new_figure(width, rows * LINE * bottom + (rows - 1) * HEAD + footer)
    axes = drawn.subplots(rows, columns, sharey=True, squeeze=False)
    names = [9.0] * rows  # points: the height of what is above each row of panels: n and p, names of references
    for i, (panel, (epsilon, comparisons)) in enumerate(zip(axes.flat, panels, strict=False)):
        forest.draw(panel, comparisons, places)
        names[i // columns] = max(names[i // columns], _references(panel, table, comparisons, epsilon))
    for i, (panel, (epsilon, comparisons)) in enumerate(zip(axes.flat, panels, strict=False)):
        panel.set_title(_title(epsilon, comparisons, len(compared) > 1), pad=names[i // columns] + 3)
    for row in axes:
        _label_rows(row[0], every, heading, places, headings, bottom)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    style.footnote(drawn, _how_to_read(compared, len(panels) > len(compared)))
    return drawn


def _panels(compared: dict[float | None, list[Comparison]]) -> tuple[list[Panel], int]:
    """The panels, one per context and radius, and how many of them are side by side."""
    contexts = list(dict.fromkeys(c.context for comparisons in compared.values() for c in comparisons))
    groups = {(e, group[0].context): group for e, family in compared.items() for group in by_context(family)}
    panels = [(e, groups[e, context]) for context in contexts for e in compared if (e, context) in groups]
    whole = len(panels) == len(contexts) * len(compared)
    if len(compared) > 1 and whole:
        return panels, len(compared)
    rows = -(-len(panels) // COLUMNS)
    return panels, -(-len(panels) // rows)


def _title(epsilon: float | None, comparisons: list[Comparison], attacked: bool) -> str:
    """The panel's task and model, if there are several, with its radius or, if all panels are clean, its metric."""
    where = "clean" if epsilon is None else f"under attack with $\\epsilon$ = {epsilon:g}"
    if not (context := comparisons[0].context_label):
        return where
    return f"{context}, {where if attacked else cells.display(comparisons[0].metric)}"


def _places(comparisons: list[Comparison], heading: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """The line of each method and of each heading, counted from the top; all panels share them."""
    places: dict[str, float] = {}
    headings: dict[str, float] = {}
    line = 0.0
    by_heading = sorted(_in_order(comparisons), key=lambda c: [cells.rank(c.cell[column]) for column in heading])
    for title, group in itertools.groupby(by_heading, lambda c: cells.cell_label(c.cell, heading)):
        if title:
            line += 0.35 if headings else 0
            headings[title] = line
            line += 1
        for method in dict.fromkeys(c.method for c in group):
            places[method] = line
            line += 1
    return places, headings


def _in_order(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons in the order that they have within a context, even if some contexts lack a method."""
    columns = [c for c in comparisons[0].columns if c not in CONTEXT]
    known = pd.DataFrame([c.cell[columns] for c in comparisons]).infer_objects().assign(place=range(len(comparisons)))
    return [comparisons[place] for place in cells.ordered(known, columns[::-1])["place"]]


def _heading_columns(comparisons: list[Comparison]) -> list[str]:
    """The column of the headings, if it varies and another column is left to name the rows by; else none."""
    varying = [c for c in comparisons[0].columns if c not in CONTEXT]
    values = pd.DataFrame([end for c in comparisons for end in (c.cell, c.baseline)])
    fewer = min([c for c in FEWER if c in varying], key=lambda c: values[c].nunique(), default="")
    return [fewer] if fewer and len(varying) > 1 else []


def _references(panel: Axes, table: pd.DataFrame, comparisons: list[Comparison], epsilon: float | None) -> float:
    """Draw baseline models as dotted lines, if all rows have the same baseline; returns the height of their names."""
    scores = cells.scores(table, epsilon, comparisons[0].metric)  # of the whole table: under the methods' attack
    scores = scores[cells.is_baseline_model(scores)]
    for column in (c for c in CONTEXT if c in scores.columns):
        own = scores[column] == comparisons[0].cell[column]
        scores = scores[own | (scores["model"] == "tfidf") if column == "model" else own]
    if scores.empty or len({c.against for c in comparisons}) > 1:
        return 0.0
    means = scores.groupby(cells.reference_names(scores))["value"].mean().sort_values() - comparisons[0].baseline_mean
    return style.reference_lines(panel, {str(name): float(x) for name, x in means.items()})


def _label_rows(
    panel: Axes,
    comparisons: list[Comparison],
    heading: list[str],
    places: dict[str, float],
    headings: dict[str, float],
    bottom: float,
) -> None:
    for title, y in headings.items():
        panel.text(-0.02, y, title, transform=panel.get_yaxis_transform(), ha="right", va="center", weight="bold")
    rows = {
        c.method: cells.cell_label(c.cell, [n for n in c.columns if n not in (*CONTEXT, *heading)]) for c in comparisons
    }
    panel.set_yticks([places[method] for method in rows], rows.values())
    panel.set_ylim(bottom, -0.6)


def _how_to_read(compared: dict[float | None, list[Comparison]], several: bool) -> str:
    """The footnote; several: whether there are panels of other tasks, whose comparisons belong to the same family."""
    every = [c for comparisons in compared.values() for c in comparisons]
    against = " / ".join(dict.fromkeys(c.against for c in every))
    text = (
        f"Method minus baseline ({against}), paired by seed. Ticks: seeds; line: 95% t interval over the n pairs; "
        f"mark: their mean, filled where the exact sign-flip test gives p $\\leq$ {LEVEL:g} taken alone, hollow and "
        "grey where no difference is shown."
    )
    if any(c.n < 2 for c in every):
        text += " One pair of seeds carries no interval and no test."
    family = max(c.family for c in every)
    of_all = f"the {family} comparisons of all {'panels' if len(compared) == 1 else 'panels clean, or under attack,'}"
    over = of_all if several else f"a panel's {family} comparisons"
    if any(c.p_holm <= LEVEL for c in every):
        text += f" *: also after Holm's correction over {over}."
    elif family > 1:
        cannot = f" ({named} cannot pass it)" if (named := cannot_pass(every)) else ""
        text += f" After Holm's correction over {over} no difference is shown{cannot}."
    groups = [group for comparisons in compared.values() for group in by_context(comparisons)]
    if any(style.far_out([c.mean for c in group]).any() for group in groups):
        text += " An arrow: beyond the axis, mean and interval in numbers."
    if several:
        text += " Each panel has a scale of its own."
    return f"{text} {scopes_in_words(every)}"
