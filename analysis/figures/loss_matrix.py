"""The loss of every chain's model on every domain: what it has learned and what it has forgotten."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from analysis import adaptation, cells
from analysis.adaptation import CONTEXT, DOCUMENT_LOSSES, TOKEN_LOSSES
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, supported
from analysis.drawing import heat_maps, style

LINE = 0.19  # inches per chain
LINES = 8  # chains that are as high as the label of the colour bar
NOT_SHOWN = "\N{DEGREE SIGN}"
WEIGHTS = {"a predicted token": TOKEN_LOSSES, "a document": DOCUMENT_LOSSES}


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """A heat map of chains by domains for each model and task, twice: by token and by document. Raises NotInTable."""
    measured = {name: adaptation.losses(table, metrics) for name, metrics in WEIGHTS.items()}
    changes = {name: _with_changes(losses) for name, losses in measured.items()}
    every = pd.concat(changes.values())
    contexts = adaptation.contexts(every)
    lines = [len(adaptation.chain_names(adaptation.of(every, context))) for context in contexts]
    drawn = style.new_figure(style.TWO_COLUMNS, LINE * max(sum(lines), LINES) + 0.54 * len(contexts) + 0.95)
    grid = drawn.subplots(len(contexts), len(WEIGHTS), squeeze=False, height_ratios=lines)
    limits = heat_maps.limits_of(every["change"])
    for row, context in zip(grid, contexts, strict=True):
        for panel, (name, losses) in zip(row, changes.items(), strict=True):
            image = _panel(panel, adaptation.of(losses, context), limits, named=panel is row[0])
            panel.set_title(f"{adaptation.context_label(context)}\nnats {name}" if panel is row[0] else f"nats {name}")
    if every["change"].notna().any():
        heat_maps.colour_bar(drawn, image, list(grid[:, -1]), "change to not adapted (nats)")
    style.footnote(drawn, _how_to_read(every))
    return drawn


def _with_changes(losses: pd.DataFrame) -> pd.DataFrame:
    try:
        return adaptation.changes(losses)
    except NotInTable:
        return losses.assign(change=np.nan)


def _panel(panel: Axes, losses: pd.DataFrame, limits: tuple[float, float], named: bool) -> QuadMesh:
    chains, domains = adaptation.chain_names(losses), adaptation.in_order(losses["domain"])
    cell = losses.groupby(["chain", "domain"])
    means, shown = cell[["value", "change"]].mean(), cell["change"].agg(supported)
    shape = pd.MultiIndex.from_product([chains, domains])
    changes = means["change"].reindex(shape).to_numpy().reshape(len(chains), len(domains))
    image = heat_maps.heat_map(panel, changes, limits)
    for chain, domain, value, change in means.reset_index().itertuples(index=False, name=None):
        x, y = domains.index(domain), chains.index(chain)
        said = f"{value:.3f}"
        if pd.notna(change) and chain != "none":
            said += f" ({change:+z.3f})".replace("-", "\N{MINUS SIGN}").replace("+0.000", "0.000")
            said += "" if shown[chain, domain] else NOT_SHOWN
        panel.text(x, y, said, ha="center", va="center", fontsize=5.6, color=heat_maps.on(image, changes[y, x]))
    panel.set_xticks(range(len(domains)), [adaptation.domain_label(name) for name in domains])
    behind, _ = style.seeds_behind(_seeds(losses))
    labels = [cells.series_label(name) + behind.get(name, "") for name in chains]
    panel.set_yticks(range(len(chains)), labels if named else [""] * len(chains))
    return image


def _seeds(losses: pd.DataFrame) -> pd.Series:
    """The number of pretraining seeds of each adapted chain; the unadapted model is left out: there is only one."""
    adapted = losses[losses["pretrain"] != "none"]
    return adapted.groupby(["chain", *CONTEXT])["adaptation"].nunique()


def _how_to_read(every: pd.DataFrame) -> str:
    behind, seeds = style.seeds_behind(_seeds(every))
    brackets = ", their number behind the chain" if any(behind.values()) else ""
    text = (
        "Loss on held-out text under fixed masks (masked LM) or of the next token (causal LM), the same sequences for "
        f"every model; means over {seeds} of pretraining{brackets}."
    )
    if every["change"].notna().any():
        return (
            f"{text} In brackets and as colour: the change to the model that is not adapted; below 0 is learned. "
            f"{NOT_SHOWN}: the sign-flip test over the seeds shows no change (p > {LEVEL:g}, taken alone)."
        )
    return f"{text} The model that is not adapted has no trained head, so that there is no change to show."
