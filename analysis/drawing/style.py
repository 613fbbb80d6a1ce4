"""One look for all figures: sizes of a two-column page, colours that also work in grey, fixed bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy
from numpy.typing import ArrayLike, NDArray

ONE_COLUMN = 3.03  # inches: the column and the text width of an ACL page
TWO_COLUMNS = 6.30

INK = "#000000"
GREY = "#8c8c8c"  # for differences that the test does not support
RULE = "#d9d9d9"
AWAY = 0.35  # how far a reference line may be from what is drawn, as a share of its width

# Okabe and Ito (2008), of lightness L* 0, 70, 46, 58, 70, 61, 54; three more for comparisons of more than seven.
_PALETTE = ["#000000", "#E69F00", "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#D55E00"]
_PALETTE += ["#5a3e85", "#7f4f24", "#a3a500"]
USUAL = {"none": "#000000", "dapt": "#E69F00", "tapt": "#0072B2", "dapt+tapt": "#009E73"}
_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]

RC: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text stays text
    "figure.constrained_layout.use": True,
}


def styled(function: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], Figure]:
    """A decorator for a figure function: everything it draws has this look, without changing global state."""
    decorated: Callable[[pd.DataFrame], Figure] = rc_context(RC)(function)
    return decorated


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, without a window."""
    return Figure(figsize=(width, height))


def colours(chains: Iterable[str]) -> dict[str, str]:
    """A colour for each pretraining chain; the usual chains have the same colour in every figure."""
    names = list(dict.fromkeys(chains))
    free = iter([c for c in _PALETTE if c not in {USUAL.get(name) for name in names}] * len(names))
    return {name: USUAL[name] if name in USUAL else next(free) for name in names}


def edge(chain: str, colour: str) -> str:
    """The colour of a mark's edge: black for chains of several stages, so that they can be told apart in grey."""
    return INK if "+" in chain else colour


def adversary_looks(adversaries: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each adversary, in order; the colours are not those of the usual chains."""
    names = list(dict.fromkeys(adversaries))
    colours = ["#000000", "#D55E00", "#56B4E9", "#CC79A7", *_PALETTE[7:]]
    count = len(_MARKERS)  # as many as colours: the second round pairs them differently
    return {name: (colours[i % count], _MARKERS[(i + i // count) % count]) for i, name in enumerate(names)}


def chain_looks(chains: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each chain, in order: its own colour, and never a neighbour's shape."""
    own = colours(chains)
    shapes = [shape for _, shape in adversary_looks(own).values()]
    return {name: (colour, shape) for (name, colour), shape in zip(own.items(), shapes, strict=True)}


def key(label: str, **properties: Any) -> Line2D:
    """A legend entry for marks that are drawn one by one."""
    look: dict[str, Any] = {"linestyle": "none", "markersize": 4.5} | properties
    return Line2D([], [], label=label, **look)


def legend(figure: Figure, blocks: list[list[Line2D]]) -> int:
    """Draw one legend above the plots, read row by row and as wide as fits; each block of keys starts a new row.

    Returns the number of rows.
    """
    room = figure.get_figwidth() * 72 - 10
    for columns in range(max(map(len, blocks)), 0, -1):
        grid = [block[i : i + columns] for block in blocks for i in range(0, len(block), columns)]
        by_column = [[row[i] if i < len(row) else key("") for row in grid] for i in range(columns)]
        widest = [max(len(str(entry.get_label())) for entry in column) for column in by_column]
        if sum(3.6 * letters + 26 for letters in widest) <= room:  # points: a letter; the mark and the gaps
            break
    handles = [entry for column in by_column for entry in column]  # matplotlib fills a legend column by column
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
    return len(grid)


def seeds_in_words(counts: Iterable[int], what: str = "seed") -> str:
    """How many seeds a mark stands for: '1 seed', '6 seeds', or '3 to 6 seeds' if marks differ; what: or 'pair'."""
    ordered = sorted(counts)
    low, high = ordered[0], ordered[-1]
    number = f"{low}" if low == high else f"{low} to {high}"
    return f"{number} {what}" if high == 1 else f"{number} {what}s"


def reference_lines(axes: Axes, values: dict[str, float]) -> float:
    """Draw dotted vertical lines with their names above the axes, for values near what is already drawn.

    A line further away than AWAY of the width would squeeze the rest: it is named at that edge, with its value.
    Returns the height of the names above the axes, in points.
    """
    left, right = axes.get_xlim()
    away = AWAY * (right - left)
    near = {name: x for name, x in values.items() if left - away <= x <= right + away}
    for x in near.values():
        axes.axvline(x, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=0)
    left, right = axes.get_xlim()
    letter = 3.2 / (axes.bbox.width * 72 / axes.figure.dpi)  # as a share of the axes' width, roughly: no layout yet
    named = [(near[name], name, "center") for name in near]
    named += [(left, f"\N{LEFTWARDS ARROW} {name} {_signed(x)}", "left") for name, x in values.items() if x < left]
    named += [(right, f"{name} {_signed(x)} \N{RIGHTWARDS ARROW}", "right") for name, x in values.items() if x > right]
    ends: list[float] = []  # the right end of the names on each level, from the lowest
    for x, name, side in sorted(named):
        start = (x - left) / (right - left) - letter * len(name) * {"left": 0, "center": 0.5, "right": 1}[side]
        level = next((i for i, end in enumerate(ends) if end < start), len(ends))
        ends[level : level + 1] = [start + letter * (len(name) + 1)]
        above = offset_copy(axes.get_xaxis_transform(), axes.get_figure(root=True), 0, 1.5 + 6.5 * level, "points")
        axes.text(x, 1.0, name, transform=above, ha=side, va="bottom", fontsize=5.8)
    return 1.5 + 6.5 * len(ends) if ends else 0.0


def far_out(values: ArrayLike) -> NDArray[np.bool_]:
    """Which values lie beyond the outer fences: 3 interquartile ranges outside the quartiles (Tukey, 1977).

    None of fewer than 8 values: their quartiles say too little.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 8:
        return np.zeros(len(x), dtype=bool)
    low, high = np.quantile(x, [0.25, 0.75])
    return (x < low - 3 * (high - low)) | (x > high + 3 * (high - low))


def seeds_behind(counts: pd.Series) -> tuple[dict[str, str], str]:
    """A suffix for each chain's name, and the number of seeds in words; counts: indexed by the name, and maybe more.

    The suffix is the number of seeds in brackets; it is empty if all marks have the same. Without counts, no words.
    """
    if counts.empty:
        return {}, ""
    by_name = counts.groupby(level=0)
    differ = counts.nunique() > 1
    return {str(name): f" ({_range(own)})" if differ else "" for name, own in by_name}, seeds_in_words(counts)


def _range(counts: Iterable[int]) -> str:
    return seeds_in_words(counts).partition(" seed")[0]


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def span(values: pd.Series) -> str:
    """The number of examples behind some marks: '500', or '200 to 500' if they differ."""
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def footnote(figure: Figure, text: str) -> None:
    """Write below the figure how to read it, wrapped to the figure's width."""
    characters = int(figure.get_figwidth() * 72 / (5.8 * 0.53))  # a DejaVu letter is about .53 em wide
    figure.supxlabel("\n".join(_wrapped(text, characters)), x=0.01, ha="left", fontsize=5.8, color="#404040")


def light_grid(axes: Axes, axis: str) -> None:
    """Draw thin lines behind the marks to read values by."""
    axes.grid(axis=axis, color=RULE, linewidth=0.5)  # type: ignore[arg-type]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.png and stem.pdf without date or version inside: same table, same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    with rc_context(RC):
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return paths


def _wrapped(text: str, characters: int) -> list[str]:
    return [line for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, characters)]
