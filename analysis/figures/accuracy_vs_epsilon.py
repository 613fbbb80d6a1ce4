"""Accuracy against the radius of the attack: a panel for each chain, a line for each adversary, every seed thin.

With more adversaries than shapes: a panel for each adversary with its difference to plain training, a line a chain.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, supported
from analysis.drawing import style
from analysis.stats.paired import t_interval

LINES = 7  # adversaries that can share a panel
COLUMNS, MANY_COLUMNS = 4, 5
TITLE = 22  # letters per line that fit above one of many panels
HEIGHT, MANY_HEIGHT = 1.75, 1.25  # inches per row of panels
CONTEXT = ["model", "task"]
REFERENCE: dict[str, Any] = {"color": style.GREY, "linewidth": 0.9, "linestyle": (0, (1, 1.2)), "zorder": 1}


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Curves with a band for the 95% t interval of the mean over seeds. Raises NotInTable."""
    points = _points(table[~cells.is_baseline_model(table)])
    many = points["adversary"].nunique() > LINES
    of_panel, of_line = ("adversary", "series") if many else ("series", "adversary")
    looks = style.chain_looks(points["series"]) if many else style.adversary_looks(points["adversary"])
    panels = list(points.groupby([*CONTEXT, of_panel], sort=False))
    columns = min(MANY_COLUMNS if many else COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = (MANY_HEIGHT if many else HEIGHT) * rows + 0.75
    drawn = style.new_figure(style.TWO_COLUMNS if columns > 1 else style.ONE_COLUMN, height)
    axes = drawn.subplots(rows, columns, sharex=True, squeeze=False)
    metric = cells.display(points["metric"].iloc[0])
    said: dict[str, Axes] = {}  # label of the vertical axis -> the first panel with it, whose scale the others share
    for place, (panel, (_, curves)) in enumerate(zip(axes.flat, panels, strict=False)):
        differs = many and curves["to_plain"].notna().any() and curves[of_panel].iloc[0] != "none"
        _panel(panel, curves, of_line, looks, "to_plain" if differs else "value")
        if not many:
            _unadapted(panel, points, curves)
        what = f"{metric}, less plain" if differs else f"{metric}, test"
        named = place % columns == 0 or what not in said
        if what in said:
            panel.sharey(said[what])
        said.setdefault(what, panel)
        panel.set_ylabel(what if named else "")
        panel.tick_params(labelleft=named)
        several = [c for c in CONTEXT if points[c].nunique() > 1]
        title = (cells.adversary_label if many else cells.series_label)(curves[of_panel].iloc[0])
        titles = textwrap.wrap(title, TITLE) if columns > 2 else [title]
        panel.set_title("\n".join([*titles, *(cells.display(curves[c].iloc[0]) for c in several)]))
        panel.locator_params(axis="x", nbins=3 if columns > 2 else 5)
    for panel in axes.flat[max(0, len(panels) - columns) : len(panels)]:  # those with no panel below
        panel.set_xlabel(r"$\epsilon$")  # the full label is wider than a panel, and is in the footnote
        panel.tick_params(labelbottom=True)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    referred = not many and points["series"].nunique() > 1 and bool((points["pretrain"] == "none").any())
    _legend(drawn, looks, cells.series_label if many else cells.adversary_label, referred)
    style.footnote(drawn, f"{cells.radius_label(table).capitalize()}. {_how_to_read(points, many)}")
    return drawn


def _points(methods: pd.DataFrame) -> pd.DataFrame:
    """The scores at every radius; to_plain: the score minus that of plain training with the same chain and seed.

    Radius 0 is the attack's own if it was measured, else the clean score.
    """
    grid = cells.epsilons(methods)
    if not grid:
        raise NotInTable("no rows under attack")
    scores = {epsilon: cells.scores(methods, epsilon) for epsilon in grid}
    try:
        scores[0.0] = cells.scores(methods, 0.0)
    except NotInTable:
        scores[0.0] = cells.scores(methods, metric=scores[grid[0]]["metric"].iloc[0])
    parts = [rows.assign(series=cells.series(rows), epsilon=epsilon) for epsilon, rows in sorted(scores.items())]
    points = pd.concat(parts, ignore_index=True)
    same = [*CONTEXT, "series", "epsilon", "seed"]
    plain = points[points["adversary"] == "none"].groupby(same)["value"].mean().rename("plain")
    return points.assign(to_plain=points["value"] - points.join(plain, on=same)["plain"])


def _panel(panel: Axes, curves: pd.DataFrame, of_line: str, looks: dict[str, tuple[str, str]], shown: str) -> None:
    style.light_grid(panel, "y")
    if shown == "to_plain":
        panel.axhline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    for place, (name, curve) in enumerate(curves.groupby(of_line, sort=False)):
        colour, shape = looks[str(name)]
        by_seed = curve.groupby(["epsilon", "seed"])[shown].mean().unstack()
        panel.plot(by_seed.index, by_seed, linewidth=0.35, alpha=0.35, color=colour)
        ends = [t_interval(values.dropna()) if values.notna().any() else (0.0, 0.0) for _, values in by_seed.iterrows()]
        lows, highs = zip(*ends, strict=True)
        panel.fill_between(by_seed.index, lows, highs, alpha=0.15, linewidth=0, color=colour)
        means, size = by_seed.mean(axis=1), max(2.2, 3.4 - 0.5 * place)  # smaller on top, so that those below show
        panel.plot(means.index, means, linewidth=0.9, color=colour)
        plain = bool((curve["adversary"] == "none").all())
        to_plain = curve.groupby(["epsilon", "seed"])["to_plain"].mean().groupby(level="epsilon")
        filled = pd.Series({epsilon: plain or supported(differences) for epsilon, differences in to_plain})
        for kind, face in ((filled, colour), (~filled, "white")):
            look: dict[str, Any] = {"linestyle": "none", "marker": shape, "markersize": size, "markeredgewidth": 0.7}
            panel.plot(means.index[kind], means[kind], color=colour, markerfacecolor=face, zorder=3, **look)


def _unadapted(panel: Axes, points: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Draw the mean of plain training without adaptation in the panels of other chains."""
    same = points[(points[CONTEXT] == curves[CONTEXT].iloc[0]).all(axis=1) & (points["adversary"] == "none")]
    same = same[same["pretrain"] == "none"]
    if same["series"].nunique() == 1 and curves["series"].iloc[0] != same["series"].iloc[0]:
        means = same.groupby("epsilon")["value"].mean()
        panel.plot(means.index, means, **REFERENCE)


def _legend(drawn: Figure, looks: dict[str, tuple[str, str]], label: Callable[[str], str], referred: bool) -> None:
    keys = [
        style.key(label(name), color=colour, marker=shape, linestyle="-") for name, (colour, shape) in looks.items()
    ]
    if referred:
        keys.append(style.key("not adapted, plain", **REFERENCE))
    style.legend(drawn, [keys])


def _how_to_read(points: pd.DataFrame, many: bool) -> str:
    counts = points.groupby([*CONTEXT, "series", "adversary", "epsilon"])["seed"].nunique()
    attacked = points[points["epsilon"] > 0]["n"]
    starts = points[points["epsilon"] == 0]["n"]
    text = "Less plain: paired difference to plain training of the same chain. " if many else ""
    text += (
        f"Thin lines: seeds; thick lines: means over {style.seeds_in_words(counts)}, with their 95% t interval as a "
        f"band{'' if many else ' (not paired)'}. Hollow marks: the sign-flip test, paired by seed, shows no difference "
        f"to plain training of the same chain (p > {LEVEL:g}, taken alone). Attacked: {style.span(attacked)} test "
        "examples"
    )
    if style.span(starts) != style.span(attacked):
        text += f", but {style.span(starts)} at $\\epsilon$ = 0"
    return f"{text}."
