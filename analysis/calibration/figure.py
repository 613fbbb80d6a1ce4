"""The calibration as a figure: how often a difference is called where there is none, and where one was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparisons import LEVEL
from analysis.drawing import style
from analysis.power import attainable_level, power, sign_flip_power
from analysis.stats.paired import smallest_p

LOOKS = {6: ("#D55E00", "s"), 10: ("#0072B2", "o")}  # number of pairs: colour and shape
APART = 0.17  # how far the marks of the two numbers of pairs lie from the middle of a row


@style.styled
def figure(rates: pd.DataFrame) -> Figure:
    """Three panels; rates: as calibration.measure.measured gives them."""
    drawn = style.new_figure(style.TWO_COLUMNS, 2.7)
    alone, family, curves = drawn.subplots(1, 3, width_ratios=[1, 1, 1.15])
    aa = rates[rates["kind"] == "A/A"]
    rows = list(dict.fromkeys(aa["noise"]))
    for panel, part, title in (
        (alone, aa[aa["family"] == 1], "A/A: one comparison"),
        (family, aa[aa["family"] > 1], f"A/A: any of {aa['family'].max()}, Holm"),
    ):
        _wrong_verdicts(panel, part, rows)
        panel.set_title(title)
    alone.set_yticks(range(len(rows)), rows)
    family.set_yticks(range(len(rows)), [])
    planted = rates[rates["kind"] == "planted"]
    _power(curves, planted)
    style.legend(drawn, [_keys(next(noise for noise in planted["noise"] if noise != "normal"))])
    style.footnote(drawn, _how_to_read(aa))
    return drawn


def _wrong_verdicts(panel: Axes, aa: pd.DataFrame, rows: list[str]) -> None:
    style.light_grid(panel, "x")
    panel.axvline(LEVEL, color=style.INK, linewidth=0.8)
    for pairs, (colour, shape) in LOOKS.items():
        of_pairs = aa[aa["pairs"] == pairs]
        y = [rows.index(noise) + (APART if pairs == max(LOOKS) else -APART) for noise in of_pairs["noise"]]
        panel.hlines(y, of_pairs["low"], of_pairs["high"], color=colour)
        panel.plot(of_pairs["rate"], y, shape, color=colour, markersize=3.2)
        if (aa["family"] == 1).all():
            panel.axvline(attainable_level(pairs), color=colour, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=0)
    panel.set_xlim(-0.002, max(0.06, 1.03 * aa["high"].max()))
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xticks([0, 0.02, 0.04, 0.06], ["0", ".02", ".04", ".06"])
    panel.set_xlabel("called different")
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _power(panel: Axes, planted: pd.DataFrame) -> None:
    style.light_grid(panel, "both")
    effects = np.linspace(0, 2.2, 23).round(1).tolist()
    for pairs, (colour, shape) in LOOKS.items():
        panel.plot(effects, [power(effect, pairs) for effect in effects], color=colour)
        exact = [sign_flip_power(effect, pairs, studies=10_000) for effect in effects]  # from the same draws: smooth
        panel.plot(effects, exact, color=colour, linestyle=(0, (1, 1)))
        part = planted[planted["pairs"] == pairs]
        for simulated in (True, False):
            rows = part[(part["noise"] == "normal") == simulated]
            panel.vlines(rows["effect"], rows["low"], rows["high"], color=colour, linewidth=0.9)
            (mark,) = panel.plot(rows["effect"], rows["rate"], shape, color=colour, markersize=2.2, zorder=3)
            if simulated:  # a ring around the dot where both agree
                mark.set(markersize=5.0, markerfacecolor="white", zorder=2)
    panel.set_xlim(0, 2.2)
    panel.set_ylim(0, 1.03)
    panel.set_title("A planted effect")
    panel.set_xlabel("effect (sd of paired differences)")
    panel.set_ylabel("called different")


def _keys(real: str) -> list[Line2D]:
    keys = [style.key(f"{pairs} seeds", color=colour, marker=shape) for pairs, (colour, shape) in LOOKS.items()]
    keys.append(style.key("t test in theory", color=style.INK, linestyle="-"))
    keys.append(style.key("exact test", color=style.INK, linestyle=(0, (1, 1))))
    keys.append(style.key("normal scores", color=style.INK, marker="o", markerfacecolor="white"))
    return [*keys, style.key(real, color=style.INK, marker="o", markersize=2.2)]


def _how_to_read(aa: pd.DataFrame) -> str:
    family = aa["family"].max()
    cannot = [str(pairs) for pairs in sorted(aa["pairs"].unique()) if smallest_p(pairs) * family > LEVEL]
    text = (
        f"How often the sign-flip test calls a difference (p $\\leq$ {LEVEL:g}). A mark: {aa['studies'].iloc[0]:,} "
        "studies and the 95% Clopper-Pearson interval. Dotted: the exact test of so many pairs, left its level, right "
        "its power under normal differences."
    )
    if cannot:
        text += f" {' and '.join(cannot)} pairs cannot pass Holm's correction over {family} comparisons."
    return text
