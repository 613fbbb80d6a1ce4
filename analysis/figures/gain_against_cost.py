"""What each method gains over plain training against what it costs, beside the same cost spent on plain training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, NullLocator

from analysis import cells, equal_cost
from analysis.comparisons import LEVEL, Comparison, scopes_in_words
from analysis.drawing import style
from analysis.drawing.labels import apart
from analysis.equal_cost import Method
from analysis.stats.paired import t_interval

COLUMNS = 2
PANEL = 1.55  # inches of height
APART = 0.088  # inches between two marks, so that names of NAME points stand side by side
NAME = 5.6
FAN = 0.1  # share of a panel's height, at its bottom, for the lines from the marks to their costs
TICKS = [0.25, 0.5, 1, 2, 3, 4, 6, 10, 20, 40]
CURVE: dict[str, Any] = {
    "color": "#D55E00",
    "linewidth": 1.0,
    "linestyle": (0, (4, 1.2)),
    "marker": "D",
    "markersize": 3,
}
PLAIN_THERE: dict[str, Any] = {
    "color": CURVE["color"],
    "linestyle": "none",
    "marker": "_",
    "markersize": 4.6,
    "markeredgewidth": 1.3,
}
LEADER: dict[str, Any] = {"color": style.RULE, "linewidth": 0.5, "zorder": 0}


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A column of panels for each chain: clean, and (where measured) under attack. Raises NotInTable."""
    radii = cells.radii(table)
    scores = [equal_cost.methods(table, epsilon) for epsilon in radii]
    contexts = list(dict.fromkeys(method.context for method in scores[0]))
    columns, blocks = min(COLUMNS, len(contexts)), -(-len(contexts) // COLUMNS)
    width = style.TWO_COLUMNS if columns > 1 else style.ONE_COLUMN
    names = max(len(method.gain.label) for method in scores[0]) * 0.54 * NAME  # points of height: they are upright
    drawn = style.new_figure(width, blocks * (PANEL * len(radii) + names / 72 + 0.3) + (1.2 if columns > 1 else 1.75))
    grid = drawn.subplots(blocks * len(radii), columns, squeeze=False)
    for panel in grid.flat:
        panel.set_visible(False)
    limits = _cost_limits(scores[0])
    for place, context in enumerate(contexts):
        clean = [method for method in scores[0] if method.context == context]
        at = _places([method for method in clean if not method.length], limits, (width - 0.55) / columns - 0.15)
        for row, (epsilon, among) in enumerate(zip(radii, scores, strict=True)):
            panel = grid[place // COLUMNS * len(radii) + row, place % COLUMNS]
            panel.set_visible(True)
            own = [method for method in among if method.context == context]
            _axes(panel, limits, _gain_limits(among), last=epsilon == radii[-1])
            _plain_curve(panel, own)
            _marks(panel, [method for method in own if method.gain.label in at], at)
            if place % COLUMNS == 0:
                what = "" if epsilon is None else f"\nunder attack, $\\epsilon$ = {epsilon:g}"
                panel.set_ylabel(f"gain in {cells.display(own[0].gain.metric)}{what}")
            if row == 0:
                panel.set_title(context, pad=names + 7)
                for name, x in at.items():
                    offset: dict[str, Any] = {
                        "xytext": (0, 2),
                        "textcoords": "offset points",
                        "rotation": 90,
                        "ha": "center",
                    }
                    panel.annotate(name, (x, 1), xycoords=panel.get_xaxis_transform(), fontsize=NAME, **offset)
    _legend(drawn)
    style.footnote(drawn, _how_to_read(scores))
    return drawn


def _cost_limits(methods: list[Method]) -> tuple[float, float]:
    costs = [1.0, *(method.cost for method in methods)]
    return min(costs) / 1.2, max(costs) * 1.2


def _gain_limits(methods: list[Method]) -> tuple[float, float]:
    """From the lowest seed to the highest over all chains, without outliers, with room for the fan below."""
    shown = [m for m, far in zip(methods, style.far_out([m.gain.mean for m in methods]), strict=True) if not far]
    ends = [0.0, *(end for m in shown for end in (*m.gain.differences, *m.gain.t_interval) if np.isfinite(end))]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low)
    return low - room - FAN / (1 - FAN) * (high - low + 2 * room), high + room


def _places(methods: list[Method], limits: tuple[float, float], inches: float) -> dict[str, float]:
    """The position of each method's mark: at its cost, or beside it if others have the same cost."""
    by_cost = sorted(methods, key=lambda method: round(method.cost, 6))
    left, right = np.log(limits)
    wanted = (np.log([method.cost for method in by_cost]) - left) / (right - left) * inches
    places = np.exp(left + apart(wanted, APART, inches) / inches * (right - left))
    return {method.gain.label: float(x) for method, x in zip(by_cost, places, strict=True)}


def _axes(panel: Axes, costs: tuple[float, float], gains: tuple[float, float], last: bool) -> None:
    panel.set_xscale("log")
    panel.set_xlim(costs)
    panel.set_ylim(gains)
    ticks = [tick for tick in TICKS if costs[0] <= tick <= costs[1]]
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.tick_params(labelbottom=last)
    style.light_grid(panel, "y")
    panel.axhline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    if last:
        panel.set_xlabel("cost in passes, plain training = 1")


def _plain_curve(panel: Axes, methods: list[Method]) -> None:
    costs, gains = equal_cost.plain_curve(methods)
    if costs.empty:
        return
    xs = np.unique(np.concatenate([costs.mean(axis=1), np.linspace(1.0, costs.iloc[-1].min(), 50)]))
    read = [equal_cost.interpolated(costs, gains, pd.Series(x, index=costs.columns)) for x in xs]
    lows, highs = zip(*[t_interval(values) for values in read], strict=True)
    panel.fill_between(xs, lows, highs, color=CURVE["color"], alpha=0.18, linewidth=0, zorder=0.6)
    line, marks = CURVE | {"marker": ""}, CURVE | {"linestyle": "none"}
    panel.plot(xs, [values.mean() for values in read], **line, zorder=1)
    panel.plot(costs.mean(axis=1), gains.mean(axis=1), **marks, zorder=1)


def _marks(panel: Axes, methods: list[Method], at: dict[str, float]) -> None:
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    colours = style.colours(method.gain.cell["pretrain"] for method in methods)
    bottom = panel.get_xaxis_transform()
    for method in methods:
        gain, x = method.gain, at[method.gain.label]
        shown = colours[gain.cell["pretrain"]] if gain.supported else style.GREY
        panel.plot([method.cost, x, x], [0, FAN, 1], transform=bottom, **LEADER)
        if not low < gain.mean < high:
            _beyond(panel, gain, x, shown, low)
            continue
        beside = x * (right / left) ** 0.013
        seeds = gain.differences.sort_index()
        panel.plot([beside] * len(seeds), seeds, "_", color=shown, markersize=2.6, markeredgewidth=0.6, alpha=0.8)
        if method.at_equal_cost is not None:
            panel.plot(x, gain.mean - method.at_equal_cost.mean, **PLAIN_THERE, zorder=2)
        if gain.n > 1:
            panel.plot([x, x], gain.t_interval, color=shown, linewidth=1.0, solid_capstyle="butt")
        face = shown if gain.supported else "white"
        panel.plot(x, gain.mean, "o", markersize=3.6, color=shown, markerfacecolor=face, zorder=3)


def _beyond(panel: Axes, gain: Comparison, x: float, colour: str, low: float) -> None:
    """Draw an arrow at the edge for a gain beyond it, with its mean in numbers."""
    below = gain.mean <= low
    y, shape, shift = (FAN, "v", -1) if below else (1.0, "^", 1)
    face, across = colour if gain.supported else "white", panel.get_xaxis_transform()
    panel.plot(x, y, shape, transform=across, color=colour, mfc=face, markersize=4, clip_on=False, zorder=3)
    said = f"{gain.mean:.3f}".replace("-", "\N{MINUS SIGN}")
    note = panel.annotate(said, (x, y), (-4, -2 * shift), xycoords=across, textcoords="offset points", fontsize=NAME,
                          ha="right", va="center", zorder=4)  # fmt: skip
    note.set_path_effects([withStroke(linewidth=1.2, foreground="white")])


def _legend(drawn: Figure) -> None:
    entries = [
        style.key("plain training, longer", **CURVE),
        style.key("at a mark's cost", **PLAIN_THERE),
        style.key("gain or loss shown", color=style.INK, marker="o"),
        style.key("not shown", color=style.GREY, marker="o", markerfacecolor="white"),
    ]
    style.legend(drawn, [entries])


def _how_to_read(scores: list[list[Method]]) -> str:
    every = [method for among in scores for method in among]
    text = (
        f"Gain: paired difference to plain training of one length. Cost of fine-tuning in counted passes: "
        f"{equal_cost.CONVENTION} (plain training: 3 a step); marks of one cost stand side by side, the lines at the "
        f"bottom lead to it. Marks: means over {style.seeds_in_words([method.gain.n for method in every])}, with the "
        f"95% t interval, seeds beside; hollow and grey where the sign-flip test shows no difference to plain "
        f"training of one length (p > {LEVEL:g}, taken alone). Dashed: the same compute spent on plain training, with "
        "the 95% t interval of its gain; read at a mark's own cost it is the short line at the mark."
    )
    ratios = [method.seconds / method.cost for method in every if not np.isnan(method.seconds)]
    if ratios:
        text += f" Measured time relative to plain training is {min(ratios):.2f} to {max(ratios):.2f} times this cost."
    if any(style.far_out([method.gain.mean for method in among]).any() for among in scores):
        text += " An arrow: beyond the axis, the mean in numbers."
    return f"{text} {scopes_in_words(method.gain for method in every)}"
