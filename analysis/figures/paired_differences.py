"""Each method's paired difference to its baseline: every seed, the mean and its interval, what the test supports."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis import cells, style
from analysis.comparison import LEVEL, Comparison
from analysis.comparisons import compare, scopes_in_words
from analysis.stats import smallest_p

LINE = 0.17  # inches a row
HEADING_COLUMNS = ["model", "task"]  # rows that agree in these stand under one heading, with one of:
FEWER = ["adversary", "pretrain"]  # whichever of them has fewer values


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A forest plot, one row a method, clean and (where measured) under attack. Raises NotInTable."""
    radii = cells.radii(table)
    compared = {epsilon: compare(table, epsilon) for epsilon in radii}
    every = [c for comparisons in compared.values() for c in comparisons]
    heading = _heading_columns(every)
    places, headings = _places(every, heading)
    bottom = max([*places.values(), *headings.values()]) + 0.7
    width, footer = (style.TWO_COLUMNS, 1.05) if len(radii) > 1 else (style.ONE_COLUMN, 1.35)
    drawn = style.new_figure(width, LINE * bottom + footer)
    panels = drawn.subplots(1, len(radii), sharey=True, squeeze=False)[0]
    names = 9.0  # points: the height of n and p
    for panel, (epsilon, comparisons) in zip(panels, compared.items(), strict=True):
        _panel(panel, comparisons, places)
        names = max(names, _references(panel, table, comparisons, epsilon))
    for panel, epsilon in zip(panels, radii, strict=True):
        panel.set_title("clean" if epsilon is None else f"under attack with $\\epsilon$ = {epsilon:g}", pad=names + 3)
    _label_rows(panels[0], compared[None], heading, places, headings, bottom)
    style.footnote(drawn, _how_to_read(compared))
    return drawn


def _places(comparisons: list[Comparison], heading: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Where each row and each heading stands, in lines from the top."""
    places: dict[str, float] = {}
    headings: dict[str, float] = {}
    line = 0.0
    by_heading = sorted(comparisons, key=lambda c: [cells.rank(c.cell[column]) for column in heading])
    for title, group in itertools.groupby(by_heading, lambda c: cells.cell_label(c.cell, heading)):
        if title:
            line += 0.35 if headings else 0
            headings[title] = line
            line += 1
        for label in dict.fromkeys(c.label for c in group):
            places[label] = line
            line += 1
    return places, headings


def _heading_columns(comparisons: list[Comparison]) -> list[str]:
    """The columns of the headings that vary, as long as another column is left to name the row by."""
    varying = comparisons[0].columns
    values = pd.DataFrame([end for c in comparisons for end in (c.cell, c.baseline)])
    fewer = min([c for c in FEWER if c in varying], key=lambda c: values[c].nunique(), default="")
    columns = [c for c in (*HEADING_COLUMNS, fewer) if c in varying]
    return columns if set(varying) - set(columns) else []


def _panel(panel: Axes, comparisons: list[Comparison], places: dict[str, float]) -> None:
    colours = style.colours(c.cell["pretrain"] for c in comparisons)
    style.light_grid(panel, "x")
    panel.axvline(0, color=style.INK, linewidth=0.7)
    far_out = style.far_out([c.mean for c in comparisons])
    _limit(panel, [c for c, far in zip(comparisons, far_out, strict=True) if not far])
    for comparison, far in zip(comparisons, far_out, strict=True):
        y, colour = places[comparison.label], colours[comparison.cell["pretrain"]]
        shown = colour if comparison.supported else style.GREY
        if far:
            _beyond(panel, comparison, y, shown)
        else:
            _marks(panel, comparison, y, shown)
        _beside(panel, y, str(comparison.n), _p(comparison), style="normal")
    _beside(panel, -0.95, "n", "p", style="italic")
    metric = cells.display(comparisons[0].metric)
    panel.set_xlabel(f"difference in {metric}, test")
    panel.locator_params(axis="x", nbins=5)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _marks(panel: Axes, comparison: Comparison, y: float, colour: str) -> None:
    seeds = comparison.differences.sort_index()
    panel.plot(seeds, [y + 0.3] * len(seeds), "|", color=colour, markersize=4, markeredgewidth=0.8, alpha=0.8)
    if comparison.n > 1:
        panel.plot(comparison.t_interval, [y, y], color=colour, solid_capstyle="butt")
    face = colour if comparison.supported else "white"
    panel.plot(comparison.mean, y, "o", markersize=4, color=colour, markerfacecolor=face, zorder=3)


def _limit(panel: Axes, comparisons: list[Comparison]) -> None:
    """As wide as these seeds and intervals, and 0."""
    ends = [0.0, *(x for c in comparisons for x in (*c.differences, *c.t_interval) if math.isfinite(x))]
    room = 0.04 * (max(ends) - min(ends)) or 0.01
    panel.set_xlim(min(ends) - room, max(ends) + room)


def _beyond(panel: Axes, comparison: Comparison, y: float, colour: str) -> None:
    """An arrow at the edge for a difference beyond it, with its mean and interval in numbers."""
    below = comparison.mean < 0
    x, shape, side, shift = (0.0, "<", "left", 4) if below else (1.0, ">", "right", -4)
    across = panel.get_yaxis_transform()
    face = colour if comparison.supported else "white"
    panel.plot(x, y, shape, transform=across, color=colour, mfc=face, markersize=4, clip_on=False, zorder=3)
    said = f"{comparison.mean:.3f}"
    if comparison.n > 1:
        said += " ({:.3f} to {:.3f})".format(*comparison.t_interval)
    look: dict[str, Any] = {"ha": side, "va": "center", "fontsize": 5.6, "color": style.INK, "zorder": 4}
    text = panel.annotate(
        said.replace("-", "\N{MINUS SIGN}"), (x, y), (shift, 0), xycoords=across, textcoords="offset points", **look
    )
    text.set_path_effects([withStroke(linewidth=1.6, foreground="white")])


def _beside(panel: Axes, y: float, n: str, p: str, style: str) -> None:
    """n and p to the right of the panel."""
    for points, text in {14: n, 38: p}.items():
        at: dict[str, Any] = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
        panel.annotate(text, (1, y), (points, 0), ha="right", va="center", fontsize=6, style=style, **at)


def _p(comparison: Comparison) -> str:
    if comparison.n < 2:
        return "no test"
    return f"{comparison.p:.3f}".lstrip("0") + ("*" if comparison.p_holm <= LEVEL else "")


def _references(panel: Axes, table: pd.DataFrame, comparisons: list[Comparison], epsilon: float | None) -> float:
    """Baseline models as dotted lines, where one baseline and so one zero is shared by all; their names' height."""
    scores = cells.scores(table, epsilon, comparisons[0].metric)  # of the whole table: by the attack of the methods
    scores = scores[cells.is_baseline_model(scores)]
    if scores.empty or len({c.baseline_label for c in comparisons}) > 1:
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
    rows = {}
    for comparison in comparisons:
        of_row = [c for c in comparison.columns if c not in heading]
        rows[comparison.label] = cells.cell_label(comparison.cell, of_row)
    panel.set_yticks([places[label] for label in rows], rows.values())
    panel.set_ylim(bottom, -0.6)


def _how_to_read(compared: dict[float | None, list[Comparison]]) -> str:
    every = [c for comparisons in compared.values() for c in comparisons]
    against = " / ".join(dict.fromkeys(c.baseline_label for c in every))
    text = (
        f"Method minus baseline ({against}), paired by seed. Ticks: seeds; line: 95% t interval over the n pairs; "
        f"mark: their mean, filled where the exact sign-flip test gives p $\\leq$ {LEVEL:g} taken alone, hollow and "
        "grey where no difference is shown."
    )
    if any(c.n < 2 for c in every):
        text += " One pair of seeds carries no interval and no test."
    family = max(c.family for c in every)
    if any(c.p_holm <= LEVEL for c in every):
        text += f" *: also after Holm's correction over a panel's {family} comparisons."
    elif family > 1:
        pairs = max(c.n for c in every)
        cannot = f" ({pairs} pairs cannot pass it)" if smallest_p(pairs) * family > LEVEL else ""
        text += f" After Holm's correction over a panel's {family} comparisons no difference is shown{cannot}."
    if any(style.far_out([c.mean for c in comparisons]).any() for comparisons in compared.values()):
        text += " An arrow: beyond the axis, mean and interval in numbers."
    return f"{text} {scopes_in_words(every)}"
