"""What each chain gains over no adaptation in this study, and beside it what was published for the same chain."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import cells, literature
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, Comparison, compare, scopes_in_words
from analysis.drawing import style

COLUMNS = 6
LINE = 0.135  # inches per task
LETTERS = 15  # that fit in the title of a narrow panel
PUBLISHED = "#D55E00"


@dataclass(frozen=True)
class Gain:
    """A chain's difference to the unadapted model, with its 95% interval; place: heading and task."""

    panel: str  # the chain, and what else tells our cells apart
    place: tuple[str, str]
    mean: float
    interval: tuple[float, float]
    supported: bool
    seeds: int
    ours: bool


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A forest plot for each chain that both have, ours on top, all on one scale. Raises NotInTable.

    Shows published results for the study's own tasks; if there are none, those for all tasks.
    """
    compared = [c for c in compare(literature.of_whole_models(table)) if c.cell["pretrain"] != "none"]
    known = literature.differences(literature.published())
    same = known["task"].isin({str(c.cell["task"]).rpartition(":")[2] for c in compared})
    known = known[same] if same.any() else known
    compared = [c for c in compared if c.cell["pretrain"] in set(known["pretrain"])]
    if not compared:
        raise NotInTable("none of the study's chains was published")
    panels = {_panel_of(c): str(c.cell["pretrain"]) for c in compared}
    gains = [_ours(c) for c in compared]
    for row in known.to_dict("records"):
        gains += [_published(panel, row) for panel, chain in panels.items() if chain == row["pretrain"]]
    drawn = _draw(gains, list(panels))
    style.footnote(drawn, f"{_how_to_read(gains, bool(same.any()))} {scopes_in_words(compared)}")
    return drawn


def _panel_of(one: Comparison) -> str:
    return cells.cell_label(one.cell, ["pretrain", *(c for c in one.columns if c not in cells.MAIN_COLUMNS)])


def _ours(one: Comparison) -> Gain:
    place = f"ours, {one.cell['model']}", f"{cells.display(one.cell['task'])}, {cells.display(one.metric)}"
    return Gain(_panel_of(one), place, one.mean, one.t_interval, one.supported, one.n, ours=True)


def _published(panel: str, row: dict[Hashable, Any]) -> Gain:
    """row: one of literature.differences."""
    place = f"{row['source']}, {row['model']}", f"{cells.display(row['task'])}, {cells.display(row['metric'])}"
    shown = bool(row["low"] > 0 or row["high"] < 0)
    return Gain(
        panel, place, row["difference"], (row["low"], row["high"]), shown, seeds=int(row["n_seeds"]), ours=False
    )


def _draw(gains: list[Gain], titles: list[str]) -> Figure:
    lines: dict[tuple[str, str], float] = {}  # (heading, '') or place -> lines from the top
    by_heading = {heading: dict.fromkeys(g.place for g in gains if g.place[0] == heading) for heading, _ in
                  dict.fromkeys(g.place for g in gains)}  # fmt: skip
    for heading, places in by_heading.items():
        for place in [(heading, ""), *places]:
            lines[place] = len(lines) + 0.3 * list(by_heading).index(heading)
    bottom = max(lines.values()) + 0.7
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    width, footer = (style.ONE_COLUMN, 1.15) if columns == 1 else (style.TWO_COLUMNS, 0.85)
    drawn = style.new_figure(width, rows * (LINE * bottom + 0.3) + footer)
    grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, title in zip(grid.flat, titles, strict=False):
        _panel(panel, [gain for gain in gains if gain.panel == title], lines)
        narrow = columns > 3 and len(title) > LETTERS
        panel.set_title(title.replace("+", "+\n") if narrow else title, fontsize=6 if columns > 3 else 7)
        panel.locator_params(axis="x", nbins=3 if columns > 3 else 5)
    for left in grid[:, 0]:
        left.set_yticks(list(lines.values()), [task or heading for heading, task in lines], fontsize=6)
        for label, (_, task) in zip(left.get_yticklabels(), lines, strict=True):
            label.set_weight("normal" if task else "bold")
    grid[0, 0].set_ylim(bottom, -0.7)
    for panel in grid.flat[max(0, len(titles) - columns) : len(titles)]:
        panel.tick_params(labelbottom=True)
    for panel in grid.flat[(rows - 1) * columns : len(titles)]:
        panel.set_xlabel("difference")
    for panel in grid.flat[len(titles) :]:
        panel.set_visible(False)
    return drawn


def _panel(panel: Axes, gains: list[Gain], lines: dict[tuple[str, str], float]) -> None:
    style.light_grid(panel, "x")
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.axvline(0, color=style.INK, linewidth=0.7)
    for gain in gains:
        y, colour = lines[gain.place], style.INK if gain.ours else PUBLISHED
        shown, face = (colour, colour) if gain.supported else (style.GREY, "white")
        if gain.seeds > 1:
            panel.plot(gain.interval, [y, y], color=shown, linewidth=1.0, solid_capstyle="butt")
        panel.plot(gain.mean, y, "o" if gain.ours else "D", markersize=3.4 if gain.ours else 2.8, color=shown, mfc=face,
                   zorder=3)  # fmt: skip


def _how_to_read(gains: list[Gain], same: bool) -> str:
    pairs = style.seeds_in_words([gain.seeds for gain in gains if gain.ours], "pair")
    seeds = style.seeds_in_words([gain.seeds for gain in gains if not gain.ours])
    text = (
        "Difference on test to the same model not adapted, with its 95% interval. Ours, circles: paired t over "
        f"{pairs}, filled where the exact sign-flip test gives p $\\leq$ {LEVEL:g} taken alone. Published, diamonds: "
        f"Welch's t from means and sds over {seeds} each, filled where it leaves out 0. Hollow and grey: no difference "
        "shown. Another model and other corpora"
    )
    return f"{text}." if same else f"{text}, and other tasks: none of the study's own was published."
