"""Placement of names and marks when there are many: side by side on a line, or beside their points on a plane."""

from __future__ import annotations

import itertools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from analysis.stats.paired import Floats

STEPS = [
    (radius, turn) for radius in (7, 9, 12, 15, 19, 24, 30) for turn in range(16)
]  # points; sixteenths of a circle
OVER_TEXT = 4.0  # times worse to cover another number, which then cannot be read, than a mark
HEAP = 3.0  # points between two marks that a reader cannot tell apart


def apart(wanted: ArrayLike, distance: float, length: float) -> Floats:
    """Ascending places on [0, length], no two closer than distance, as close to the wanted ones as possible.

    Least squares by pooling neighbours; if they do not all fit, they are spread evenly.
    """
    x = np.asarray(wanted, dtype=np.float64)
    distance = min(distance, length / len(x))
    steps = distance * np.arange(len(x))
    pools: list[list[float]] = []  # mean and size of each run of neighbours that would collide
    for value in x - steps:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    level = np.concatenate([np.full(int(size), mean) for mean, size in pools])
    return np.clip(level, distance / 2, length - distance / 2 - steps[-1]) + steps


def beside(axes: Axes, points: ArrayLike, numbers: list[int], avoid: ArrayLike, size: float = 5.6) -> None:
    """Write each number near its point with a line to it, away from other points and texts; call it after the layout.

    points: [numbers, 2]; avoid: [any, 2], small marks to leave free. Marks that overlap share a text such as '3, 5-8'.
    Greedy, in the given order: takes the one of the STEPS around the point that covers and crosses least.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi  # pixels to points
    centres, small = (axes.transData.transform(np.asarray(of, dtype=np.float64)) * scale for of in (points, avoid))
    (left, bottom), (right, top) = axes.transAxes.transform([(0, 0), (1, 1)]) * scale
    marks = _boxes(centres, 2.5, 2.5)
    taken, texts = [*marks, *_boxes(small, 1.0, 1.0)], list[tuple[float, ...]]()
    for members in _heaps(centres):
        text, own = _ranges([numbers[i] for i in members]), [marks[i] for i in members]
        x, y = centres[members].mean(axis=0)
        others = [box for box in taken if box not in own]
        choices = []
        for radius, turn in STEPS:
            dx, dy = radius * math.cos(turn * math.pi / 8), radius * math.sin(turn * math.pi / 8)
            dx += math.copysign(0.28 * size * (len(text) - 1), dx) if abs(dx) > 1 else 0.0  # room for a long text
            (box,) = _boxes([(x + dx, y + dy)], 0.32 * size * len(text) + 0.5, 0.42 * size + 0.5)
            outside = box[0] < left or box[1] < bottom or box[2] > right or box[3] > top
            line = [(x + dx * f / 6, y + dy * f / 6) for f in range(1, 6)]
            crossed = sum(a < u < c and b < v < d for (u, v), (a, b, c, d) in itertools.product(line, others))
            cost = sum(_common(box, other) for other in taken) + 2 * crossed + 1e3 * outside
            cost += OVER_TEXT * sum(_common(box, other) for other in texts)
            cost += 0.3 * radius + (4 if turn % 4 == 0 else 0)  # intervals run straight up and across
            choices.append((cost, dx, dy, box))
        _, dx, dy, box = min(choices)
        taken.append(box)
        texts.append(box)
        line_to = {"arrowstyle": "-", "linewidth": 0.4, "color": "#606060", "shrinkA": 0, "shrinkB": 1.5}
        left_of, above = axes.transData.inverted().transform((x / scale, y / scale))
        note = axes.annotate(text, (left_of, above), (dx, dy), textcoords="offset points", fontsize=size, ha="center",
                             va="center", arrowprops=line_to, zorder=4)  # fmt: skip
        note.set_path_effects([withStroke(linewidth=1.2, foreground="white")])
        note.set_in_layout(False)


def _heaps(centres: Floats) -> list[list[int]]:
    """Groups of marks that overlap, directly or through others: indices, ascending within each group."""
    heaps: list[list[int]] = []
    for i, centre in enumerate(centres):
        near = [heap for heap in heaps if (np.linalg.norm(centres[heap] - centre, axis=1) < HEAP).any()]
        heaps = [heap for heap in heaps if heap not in near] + [sorted([*itertools.chain(*near), i])]
    return sorted(heaps)


def _ranges(numbers: list[int]) -> str:
    """'3, 5-8' for 3, 5, 6, 7, 8, 8; a number that stands for several marks is written once."""
    ordered, runs = sorted(set(numbers)), list[list[int]]()
    for number in ordered:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [[f"{run[0]}\N{EN DASH}{run[-1]}"] if len(run) > 2 else map(str, run) for run in runs]
    return ", ".join(itertools.chain(*parts))


def _boxes(centres: ArrayLike, width: float, height: float) -> list[tuple[float, ...]]:
    """Left, bottom, right and top of boxes around the centres; width and height are half of the boxes'."""
    return [(x - width, y - height, x + width, y + height) for x, y in np.asarray(centres).tolist()]


def _common(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two boxes share, in square points."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
