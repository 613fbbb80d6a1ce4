"""What each chain has learned, of the domain and for the task, against what it has forgotten of general text."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import adaptation, cells, style
from analysis.adaptation import CONTEXT
from analysis.cells import NotInTable
from analysis.labels import beside

FORGOTTEN = "general"
SCORE = "score"
KEY = 0.13  # inches a row of the key


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Planes for each model and task: gain in loss on a domain, and in score; a mark a chain. Raises NotInTable."""
    points = _points(table)
    contexts, what = adaptation.contexts(points), adaptation.in_order(points["what"])
    chains = adaptation.chain_names(points)
    drawn = style.new_figure(style.TWO_COLUMNS, 2.1 * len(contexts) + 0.85)
    grid = drawn.subplots(len(contexts), len(what), squeeze=False, sharex="row")
    for row, context in zip(grid, contexts, strict=True):
        for panel, name in zip(row, what, strict=True):
            shown = adaptation.of(points[points["what"] == name], context)
            _panel(panel, shown, chains)
            panel.set_xlabel("loss added on general text")
            panel.set_ylabel(_gain_label(name, shown))
        row[0].set_title(adaptation.context_label(context))
    keys = _legend(drawn, points, chains)
    style.footnote(drawn, _how_to_read(points))
    drawn.set_figheight(drawn.get_figheight() + KEY * keys)
    drawn.draw_without_rendering()  # lays out: only then is it known which marks are near each other
    for row, context in zip(grid, contexts, strict=True):
        for panel, name in zip(row, what, strict=True):
            shown = adaptation.of(points[points["what"] == name], context)
            means = _means(shown)
            numbers = [str(chains.index(chain) + 1) for chain in means.index]
            beside(panel, means, numbers, avoid=shown[["forgotten", "gain"]])
    return drawn


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """CONTEXT, pretrain, chain, what, forgotten, gain, adaptation, seed, metric: a row an adapted model, or a run."""
    losses = adaptation.changes(adaptation.losses(table))
    losses = losses[losses["pretrain"] != "none"]
    model = [*CONTEXT, "chain", "adaptation"]
    forgotten = losses[losses["domain"] == FORGOTTEN].set_index(model)["change"].rename("forgotten")
    learned = losses[losses["domain"] != FORGOTTEN].assign(gain=-losses["change"], what=losses["domain"])
    points = pd.concat([learned, adaptation.score_gains(table).assign(what=SCORE)])  # losses have no seed of tuning
    points = points.join(forgotten, on=model, how="inner")
    if points.empty:
        raise NotInTable("no adapted model with a loss on general text and on another")
    kept = [*model, "pretrain", "what", "forgotten", "gain", "seed", "metric"]
    return points[kept].reset_index(drop=True)


def _means(shown: pd.DataFrame) -> pd.DataFrame:
    """A row a chain: the mean over its adaptations, of each the mean over the seeds of fine-tuning."""
    adapted = shown.groupby(["chain", "adaptation"], sort=False)[["forgotten", "gain"]].mean()
    return adapted.groupby(level="chain", sort=False).mean()


def _panel(panel: Axes, shown: pd.DataFrame, chains: list[str]) -> None:
    style.light_grid(panel, "both")
    panel.axhline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    panel.axvline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    panel.locator_params(nbins=5)
    colours = style.colours(["none", *chains])
    for chain, mean in _means(shown).iterrows():
        colour, seeds = colours[str(chain)], shown[shown["chain"] == chain]
        panel.plot(seeds["forgotten"], seeds["gain"], "o", color=colour, markersize=2.2, alpha=0.5, markeredgewidth=0)
        edge = style.edge(str(chain), colour)
        panel.plot(*mean, "o", mfc=colour, mec=edge, markersize=4.2, markeredgewidth=0.7, zorder=3)


def _gain_label(name: str, shown: pd.DataFrame) -> str:
    if name != SCORE:
        return f"loss gained on {adaptation.domain_label(name)}"
    metrics = " or ".join(cells.display(metric) for metric in shown["metric"].unique())
    return f"{metrics} gained on test"


def _legend(drawn: Figure, points: pd.DataFrame, chains: list[str]) -> int:
    """The number of each chain, and the seeds behind its marks."""
    colours = style.colours(["none", *chains])
    keys = []
    for number, chain in enumerate(chains, 1):
        own = points[points["chain"] == chain].groupby(CONTEXT)
        seeds = style.seeds_in_words(own["adaptation"].nunique()).partition(" seed")[0]
        tuned = own["seed"].nunique()
        seeds += f", {style.seeds_in_words(tuned).partition(' seed')[0]}" if tuned.max() else ""
        edge = style.edge(chain, colours[chain])
        label = f"{number}  {cells.series_label(chain)} ({seeds})"
        keys.append(style.key(label, color=colours[chain], marker="o", markeredgecolor=edge))
    return style.legend(drawn, [keys])


def _how_to_read(points: pd.DataFrame) -> str:
    text = (
        "Losses in nats, against the model that is not adapted, which is where the lines cross: right is forgotten, up "
        "is gained. Large marks: means; small marks: seeds. In brackets their numbers: seeds of pretraining"
    )
    if (points["what"] == SCORE).any():
        text += ", and seeds of fine-tuning, each paired with the same seed on the model that is not adapted"
    return f"{text}."
