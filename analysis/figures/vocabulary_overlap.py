"""How many of their frequent words two domains share, and how the tokenizer cuts the words of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import adaptation
from analysis.drawing import heat_maps, style

CELL = 0.34  # inches of height


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """For each model and task, a heat map of pairs of domains, and each domain's tokens per word. Raises NotInTable."""
    pairs, cuts = adaptation.overlaps(table), adaptation.fertility(table)
    contexts = adaptation.contexts(pairs)
    domains = adaptation.in_order(pd.concat([pairs["a"], pairs["b"]]))
    drawn = style.new_figure(style.TWO_COLUMNS, len(contexts) * (CELL * len(domains) + 0.5) + 0.7)
    grid = drawn.subplots(len(contexts), 2, squeeze=False)
    longest = cuts["tokens_per_word"].max() if len(cuts) else 1.0
    for (left, right), context in zip(grid, contexts, strict=True):
        _pairs(left, adaptation.of(pairs, context), domains)
        _cuts(right, adaptation.of(cuts, context), domains, longest)
        left.set_title(f"{adaptation.context_label(context)}: words in common (%)")
        right.set_title("tokens a word")
    style.footnote(drawn, _how_to_read(pairs, cuts))
    return drawn


def _pairs(panel: Axes, pairs: pd.DataFrame, domains: list[str]) -> None:
    shares = np.full((len(domains), len(domains)), np.nan)
    for a, b, share in zip(pairs["a"], pairs["b"], pairs["value"], strict=True):
        column, row = sorted((domains.index(a), domains.index(b)))
        shares[row, column] = 100 * share
    image = heat_maps.heat_map(panel, shares[1:, :-1], (0.0, 100.0))
    for (row, column), share in np.ndenumerate(shares[1:, :-1]):
        if not np.isnan(share):
            panel.text(column, row, f"{share:.1f}", ha="center", va="center", color=heat_maps.on(image, share))
    names = [adaptation.domain_label(name) for name in domains]
    panel.set_xticks(range(len(domains) - 1), names[:-1])
    panel.set_yticks(range(len(domains) - 1), names[1:])


def _cuts(panel: Axes, cuts: pd.DataFrame, domains: list[str], longest: float) -> None:
    places = [domains.index(name) for name in cuts["domain"]]
    panel.barh(places, cuts["tokens_per_word"], height=0.6, color="#b0b0b0")
    for y, (tokens, whole) in zip(places, cuts[["tokens_per_word", "whole_words"]].to_numpy(), strict=True):
        panel.text(0.04 * longest, y, f"{tokens:.2f}, {100 * whole:.0f}% of words whole", va="center", fontsize=6)
    panel.set_yticks(range(len(domains)), [adaptation.domain_label(name) for name in domains])
    panel.set_ylim(len(domains) - 0.5, -0.5)
    panel.set_xlim(0, 1.05 * max(longest, 1.0))
    panel.tick_params(axis="y", length=0)


def _how_to_read(pairs: pd.DataFrame, cuts: pd.DataFrame) -> str:
    text = (
        f"Of the {style.span(pairs['n'])} most frequent words of each domain, stop words left out, the share that the "
        "other has among its own (Gururangan et al., 2020, figure 2; fewer words where a domain has fewer)."
    )
    if len(cuts):
        text += f" Tokens a word: over {style.span(cuts['n'])} running words, under the tokenizer of the base model."
    return f"{text} Counted on text: no seed."
