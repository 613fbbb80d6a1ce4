"""A panel of a forest plot: one row per comparison, with its seeds, mean and interval, and n and p beside it."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from analysis import cells
from analysis.comparisons import LEVEL, Comparison
from analysis.drawing import style


def draw(panel: Axes, comparisons: list[Comparison], places: dict[str, float]) -> None:
    """Draw the comparisons of one context; places: method -> height in the panel."""
    colours = style.colours(c.cell["pretrain"] for c in comparisons)
    style.light_grid(panel, "x")
    panel.axvline(0, color=style.INK, linewidth=0.7)
    far_out = style.far_out([c.mean for c in comparisons])
    _limit(panel, [c for c, far in zip(comparisons, far_out, strict=True) if not far])
    for comparison, far in zip(comparisons, far_out, strict=True):
        y, colour = places[comparison.method], colours[comparison.cell["pretrain"]]
        shown = colour if comparison.supported else style.GREY
        if far:
            _beyond(panel, comparison, y, shown)
        else:
            _marks(panel, comparison, y, shown)
        _beside(panel, y, str(len(comparison.tested)), _p(comparison), style="normal")
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
    """Make the panel wide enough for these seeds and intervals, and for 0."""
    ends = [0.0, *(x for c in comparisons for x in (*c.differences, *c.t_interval) if math.isfinite(x))]
    room = 0.04 * (max(ends) - min(ends)) or 0.01
    panel.set_xlim(min(ends) - room, max(ends) + room)


def _beyond(panel: Axes, comparison: Comparison, y: float, colour: str) -> None:
    """Draw an arrow at the edge for a difference beyond it, with its mean and interval in numbers."""
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
    """Write n and p to the right of the panel."""
    for points, text in {14: n, 38: p}.items():
        at: dict[str, Any] = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
        panel.annotate(text, (1, y), (points, 0), ha="right", va="center", fontsize=6, style=style, **at)


def _p(comparison: Comparison) -> str:
    if math.isnan(comparison.p):
        return "no test"
    return f"{comparison.p:.3f}".lstrip("0") + ("*" if comparison.p_holm <= LEVEL else "")
