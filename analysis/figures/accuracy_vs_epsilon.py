"""Accuracy against the radius of the attack: a panel for each chain, a line for each adversary, every seed thin.

With more adversaries than shapes: a panel for each adversary, a line for each chain.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells, style
from analysis.cells import NotInTable
from analysis.stats import t_interval

LINES = 7  # adversaries that can share a panel
COLUMNS, MANY_COLUMNS = 4, 5
HEIGHT, MANY_HEIGHT = 1.75, 1.25  # inches a row of panels
REFERENCE = {"color": style.GREY, "linewidth": 0.9, "linestyle": (0, (1, 1.2))}  # the mean of the study's baseline


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Curves with a band for the 95% t interval of the mean over seeds. Raises NotInTable."""
    points = _points(table[~cells.is_baseline_model(table)])
    many = points["adversary"].nunique() > LINES
    of_panel, of_line = ("adversary", "series") if many else ("series", "adversary")
    looks = style.adversary_looks(points["adversary"]) if not many else _chain_looks(points["series"])
    panels = list(points.groupby(["model", "task", of_panel], sort=False))
    columns = min(MANY_COLUMNS if many else COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = (MANY_HEIGHT if many else HEIGHT) * rows + 0.75
    drawn = style.new_figure(style.TWO_COLUMNS if columns > 1 else style.ONE_COLUMN, height)
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    plain = points[points["adversary"] == "none"]
    unadapted = plain[plain["pretrain"] == "none"]
    for panel, (_, curves) in zip(axes.flat, panels, strict=False):
        model, task, name = (str(curves[c].iloc[0]) for c in ("model", "task", of_panel))
        _panel(panel, curves, of_line, looks)
        same = plain[(plain["model"] == model) & (plain["task"] == task)]
        if many and name != "none":
            for series, means in same.groupby(["series", "epsilon"], sort=False)["value"].mean().groupby(level=0):
                panel.plot(means.loc[series].index, means, **REFERENCE | {"color": looks[str(series)][0]}, zorder=1)
        same = same[same["pretrain"] == "none"]
        if not many and same["series"].nunique() == 1 and name != same["series"].iloc[0]:
            means = same.groupby("epsilon")["value"].mean()
            panel.plot(means.index, means, **REFERENCE, zorder=1)
        several = [c for c in ("model", "task") if points[c].nunique() > 1]
        title = cells.adversary_label(name) if many else cells.series_label(name)
        panel.set_title("\n".join([title, *(cells.display(curves[c].iloc[0]) for c in several)]))
        if many:
            panel.locator_params(axis="x", nbins=3)
    for panel in axes.flat[max(0, len(panels) - columns) : len(panels)]:  # those with no panel below
        panel.set_xlabel(r"$\epsilon$")  # in full below: it is wider than a panel
        panel.tick_params(labelbottom=True)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(f"{cells.display(points['metric'].iloc[0])}, test")
    reference = (
        "plain, same chain"
        if many
        else "not adapted, plain"
        if len(unadapted) and points["series"].nunique() > 1
        else ""
    )
    _legend(drawn, looks, cells.series_label if many else cells.adversary_label, reference)
    style.footnote(drawn, f"{cells.radius_label(table).capitalize()}. {_how_to_read(points)}")
    return drawn


def _points(methods: pd.DataFrame) -> pd.DataFrame:
    """The scores at every radius. Radius 0 is the attack's own where measured, else the clean score."""
    grid = cells.epsilons(methods)
    if not grid:
        raise NotInTable("no rows under attack")
    scores = {epsilon: cells.scores(methods, epsilon) for epsilon in grid}
    try:
        scores[0.0] = cells.scores(methods, 0.0)
    except NotInTable:
        scores[0.0] = cells.scores(methods, metric=scores[grid[0]]["metric"].iloc[0])
    parts = [rows.assign(series=cells.series(rows), epsilon=epsilon) for epsilon, rows in sorted(scores.items())]
    return pd.concat(parts, ignore_index=True)


def _chain_looks(series: pd.Series) -> dict[str, tuple[str, str]]:
    """The chains' own colours, and shapes."""
    shapes = [shape for _, shape in style.adversary_looks(series).values()]
    return {name: (colour, shape) for (name, colour), shape in zip(style.colours(series).items(), shapes, strict=True)}


def _panel(panel: Axes, curves: pd.DataFrame, of_line: str, looks: dict[str, tuple[str, str]]) -> None:
    style.light_grid(panel, "y")
    for name, curve in curves.groupby(of_line, sort=False):
        colour, shape = looks[str(name)]
        by_seed = curve.groupby(["epsilon", "seed"])["value"].mean().unstack()
        panel.plot(by_seed.index, by_seed, linewidth=0.4, alpha=0.5, color=colour)
        ends = [t_interval(values.dropna()) for _, values in by_seed.iterrows()]
        lows, highs = zip(*ends, strict=True)
        panel.fill_between(by_seed.index, lows, highs, alpha=0.2, linewidth=0, color=colour)
        panel.plot(by_seed.index, by_seed.mean(axis=1), marker=shape, markersize=2.8, linewidth=0.9, color=colour)


def _legend(drawn: Figure, looks: dict[str, tuple[str, str]], label: Callable[[str], str], reference: str) -> None:
    keys = [
        style.key(label(name), color=colour, marker=shape, linestyle="-") for name, (colour, shape) in looks.items()
    ]
    if reference:
        keys.append(style.key(reference, **REFERENCE))
    style.legend(drawn, [keys])


def _how_to_read(points: pd.DataFrame) -> str:
    counts = points.groupby(["model", "task", "series", "adversary", "epsilon"])["seed"].nunique()
    attacked = points[points["epsilon"] > 0]["n"]
    starts = points[points["epsilon"] == 0]["n"]
    text = (
        f"Thin lines: seeds; thick lines: means over {style.seeds_in_words(counts)}, with the 95% t interval of the "
        f"mean (not paired) as a band. Attacked: {style.span(attacked)} test examples"
    )
    if style.span(starts) != style.span(attacked):
        text += f", but {style.span(starts)} at $\\epsilon$ = 0"
    return f"{text}."
