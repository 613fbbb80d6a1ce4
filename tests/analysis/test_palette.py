"""Whether colours are told apart in grey, and by readers with a colour-vision deficiency: numbers, with thresholds.

Colours are compared by CIE 1976 distance, deficiencies simulated by the matrices of Machado, Oliveira and Fernandes
(2009) at full severity, on linear RGB.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from analysis.drawing import style
from analysis.figures import beside_published

DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
LIGHTNESS_STEP = 6.0  # L*, of 100
DISTANCE = 15.0  # about 2.3 is just noticeable side by side; small marks need more

ADVERSARIES = [colour for colour, _ in style.adversary_looks(map(str, range(4))).values()]
GROUPS = {
    "chains": list(style.USUAL.values()),
    "adversaries": ADVERSARIES,
    "shown or not": [style.INK, style.GREY],
    "published or not shown": [beside_published.PUBLISHED, style.GREY],
}


def lab(colour: str, matrix: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as a reader sees it (D65)."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(matrix @ linear, 0, 1) / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_distance(colours: list[str], deficiency: str) -> float:
    seen = [lab(colour, DEFICIENCIES[deficiency]) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


def least_step_in_grey(colours: list[str]) -> float:
    return float(np.diff(sorted(lab(colour, np.eye(3))[0] for colour in colours)).min())


def test_lightness_and_distance_by_hand():
    assert lab("#ffffff", np.eye(3)) == pytest.approx([100, 0, 0], abs=0.05)
    assert lab("#777777", np.eye(3))[0] == pytest.approx(50.0, abs=0.3)
    assert lab("#ff0000", np.eye(3)) == pytest.approx([53.24, 80.09, 67.20], abs=0.1)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("group", GROUPS)
def test_colours_are_told_apart_by_every_reader(group, deficiency):
    assert least_distance(GROUPS[group], deficiency) >= DISTANCE


@pytest.mark.parametrize("group", ["chains", "adversaries", "shown or not"])
def test_colours_are_told_apart_in_grey(group):
    assert least_step_in_grey(GROUPS[group]) >= LIGHTNESS_STEP


def test_a_bad_palette_fails():
    tableau = ["#2ca02c", "#d62728", "#8c564b", "#ff7f0e"]  # green, red, brown, orange
    assert least_distance(tableau, "none") > DISTANCE
    assert min(least_distance(tableau, name) for name in ("protanopia", "deuteranopia")) < DISTANCE
    assert least_step_in_grey(tableau) < LIGHTNESS_STEP


def test_where_colours_come_round_shapes_differ():
    looks = style.chain_looks(["none", "dapt", "tapt", "dapt+tapt", *map(str, range(6))])
    for (one, shape), (other, another) in combinations(looks.values(), 2):
        grey = abs(lab(one, np.eye(3))[0] - lab(other, np.eye(3))[0]) >= LIGHTNESS_STEP
        assert grey or shape != another
