"""Each method's paired difference to its baseline: every seed, the mean and its interval, what the test supports."""

from __future__ import annotations

import itertools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    radii = [None] + ([cells.reference_epsilon(table)] if cells.epsilons(table) else [])
    compared = {epsilon: compare(table, epsilon) for epsilon in radii}
    every = [c for comparisons in compared.values() for c in comparisons]
    heading = _heading_columns(every)
    places, headings = _places(every, heading)
    bottom = max([*places.values(), *headings.values()]) + 0.7
    drawn = style.new_figure(style.TWO_COLUMNS, LINE * bottom + 1.05)
    panels = drawn.subplots(1, len(radii), sharey=True, squeeze=False)[0]
    for panel, (epsilon, comparisons) in zip(panels, compared.items(), strict=True):
        _panel(panel, comparisons, places, epsilon)
        _references(panel, table, comparisons, epsilon)
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


def _panel(panel: Axes, comparisons: list[Comparison], places: dict[str, float], epsilon: float | None) -> None:
    colours = style.colours(c.cell["pretrain"] for c in comparisons)
    style.light_grid(panel, "x")
    panel.axvline(0, color=style.INK, linewidth=0.7)
    for comparison in comparisons:
        y, colour = places[comparison.label], colours[comparison.cell["pretrain"]]
        shown = colour if comparison.supported else style.GREY
        seeds = comparison.differences.sort_index()
        panel.plot(seeds, [y + 0.3] * len(seeds), "|", color=shown, markersize=4, markeredgewidth=0.8, alpha=0.8)
        if comparison.n > 1:
            panel.plot(comparison.t_interval, [y, y], color=shown, solid_capstyle="butt")
        face = shown if comparison.supported else "white"
        panel.plot(comparison.mean, y, "o", markersize=4, color=shown, markerfacecolor=face, zorder=3)
        values = {1.03: str(comparison.n), 1.17: _p(comparison)}
        for x, text in values.items():
            panel.text(x, y, text, transform=panel.get_yaxis_transform(), va="center", fontsize=6)
    for x, text in {1.03: "n", 1.17: "p"}.items():
        panel.text(x, -0.95, text, transform=panel.get_yaxis_transform(), va="center", fontsize=6, style="italic")
    metric = cells.display(comparisons[0].metric)
    panel.set_title("clean" if epsilon is None else f"under attack with $\\epsilon$ = {epsilon:g}", pad=14)
    panel.set_xlabel(f"difference in {metric}, test")
    panel.locator_params(axis="x", nbins=6)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _p(comparison: Comparison) -> str:
    if comparison.n < 2:
        return "no test"
    return f"{comparison.p:.3f}".lstrip("0") + ("*" if comparison.p_holm <= LEVEL else "")


def _references(panel: Axes, table: pd.DataFrame, comparisons: list[Comparison], epsilon: float | None) -> None:
    """Baseline models as dotted lines, where one baseline and so one zero is shared by all rows."""
    scores = cells.scores(table, epsilon, comparisons[0].metric)  # of the whole table: by the attack of the methods
    scores = scores[cells.is_baseline_model(scores)]
    if scores.empty or len({c.baseline_label for c in comparisons}) > 1:
        return
    means = scores.groupby(cells.reference_names(scores))["value"].mean().sort_values() - comparisons[0].baseline_mean
    style.reference_lines(panel, {str(name): float(x) for name, x in means.items()})


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
    return f"{text} {scopes_in_words(every)}"
