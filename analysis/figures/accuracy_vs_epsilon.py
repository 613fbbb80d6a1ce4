"""Accuracy against the radius of the attack: a panel for each chain, a line for each adversary, every seed thin."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells, style
from analysis.cells import NotInTable
from analysis.stats import t_interval

PANEL = ["model", "task", "series"]
COLUMNS = 4
REFERENCE = {"color": style.GREY, "linewidth": 0.9, "linestyle": (0, (1, 1.2))}  # the mean of the study's baseline


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Curves with a band for the 95% t interval of the mean over seeds. Raises NotInTable."""
    points = _points(table[~cells.is_baseline_model(table)])
    panels = list(points.groupby(PANEL, sort=False))
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    drawn = style.new_figure(style.TWO_COLUMNS if columns > 1 else style.ONE_COLUMN, 1.75 * rows + 0.75)
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    unadapted = points[(points["adversary"] == "none") & (points["pretrain"] == "none")]
    for panel, (_, curves) in zip(axes.flat, panels, strict=False):
        model, task, series = (str(curves[c].iloc[0]) for c in PANEL)
        _panel(panel, curves, points["adversary"])
        plain = unadapted[(unadapted["model"] == model) & (unadapted["task"] == task)]
        if plain["series"].nunique() == 1 and series != plain["series"].iloc[0]:
            means = plain.groupby("epsilon")["value"].mean()
            panel.plot(means.index, means, **REFERENCE, zorder=1)
        several = [c for c in ("model", "task") if points[c].nunique() > 1]
        panel.set_title("\n".join([cells.series_label(series), *(cells.display(curves[c].iloc[0]) for c in several)]))
    for panel in axes.flat[max(0, len(panels) - columns) : len(panels)]:  # those with no panel below
        panel.set_xlabel(r"$\epsilon$")  # in full below: it is wider than a panel
        panel.tick_params(labelbottom=True)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(f"{cells.display(points['metric'].iloc[0])}, test")
    _legend(drawn, points["adversary"], reference=len(unadapted) > 0 and points["series"].nunique() > 1)
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


def _panel(panel: Axes, curves: pd.DataFrame, adversaries: pd.Series) -> None:
    looks = style.adversary_looks(adversaries)
    style.light_grid(panel, "y")
    for adversary, curve in curves.groupby("adversary", sort=False):
        colour, shape = looks[str(adversary)]
        by_seed = curve.groupby(["epsilon", "seed"])["value"].mean().unstack()
        panel.plot(by_seed.index, by_seed, linewidth=0.4, alpha=0.5, color=colour)
        ends = [t_interval(values.dropna()) for _, values in by_seed.iterrows()]
        lows, highs = zip(*ends, strict=True)
        panel.fill_between(by_seed.index, lows, highs, alpha=0.2, linewidth=0, color=colour)
        panel.plot(by_seed.index, by_seed.mean(axis=1), marker=shape, markersize=2.8, linewidth=0.9, color=colour)


def _legend(drawn: Figure, adversaries: pd.Series, reference: bool) -> None:
    keys = [
        style.key(cells.adversary_label(name), color=colour, marker=shape, linestyle="-")
        for name, (colour, shape) in style.adversary_looks(adversaries).items()
    ]
    if reference:
        keys.append(style.key("not adapted, plain", **REFERENCE))
    style.legend(drawn, [keys])


def _how_to_read(points: pd.DataFrame) -> str:
    counts = points.groupby([*PANEL, "adversary", "epsilon"])["seed"].nunique()
    attacked = points[points["epsilon"] > 0]["n"]
    starts = points[points["epsilon"] == 0]["n"]
    text = (
        f"Thin lines: seeds; thick lines: means over {style.seeds_in_words(counts)}, with the 95% t interval of the "
        f"mean (not paired) as a band. Attacked: {style.span(attacked)} test examples"
    )
    if style.span(starts) != style.span(attacked):
        text += f", but {style.span(starts)} at $\\epsilon$ = 0"
    return f"{text}."
