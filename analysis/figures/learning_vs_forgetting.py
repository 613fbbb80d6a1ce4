"""What each chain has learned, of the domain and for the task, against what it has forgotten of general text."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import adaptation, cells, nesting
from analysis.adaptation import CONTEXT
from analysis.cells import NotInTable
from analysis.comparisons import LEVEL, supported
from analysis.drawing import style
from analysis.drawing.labels import beside

FORGOTTEN = "general"
SCORE = "score"
KEY = 0.13  # inches per row of the legend
OTHER = "#606060"
COLOURS = 7  # chains that can be told apart by colour


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Planes for each model and task: gain in loss on a domain, and in score; one mark per chain. Raises NotInTable."""
    points = _points(table)
    contexts, what = adaptation.contexts(points), adaptation.in_order(points["what"])
    chains = adaptation.chain_names(points)
    drawn = style.new_figure(style.TWO_COLUMNS, 2.1 * len(contexts) + 0.85)
    grid = drawn.subplots(len(contexts), len(what), squeeze=False, sharex="row")
    for row, context in zip(grid, contexts, strict=True):
        for panel, name in zip(row, what, strict=True):
            shown = adaptation.of(points[points["what"] == name], context)
            _panel(panel, shown, chains)
            panel.set_xlabel("nats lost on general text")
            panel.set_ylabel(_gain_label(name, shown))
        if len(contexts) > 1:
            row[0].set_title(adaptation.context_label(context))
    keys = _legend(drawn, points, chains)
    style.footnote(drawn, _how_to_read(points))
    drawn.set_figheight(drawn.get_figheight() + KEY * keys)
    drawn.draw_without_rendering()  # runs the layout, so that it is known which marks are near each other
    for row, context in zip(grid, contexts, strict=True):
        for panel, name in zip(row, what, strict=True):
            shown = adaptation.of(points[points["what"] == name], context)
            means = _means(shown)
            numbers = [chains.index(chain) + 1 for chain in means.index]
            beside(panel, means, numbers, avoid=shown[["forgotten", "gain"]])
    return drawn


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """CONTEXT, pretrain, chain, what, forgotten, gain, adaptation, seed, adaptation_seed, metric.

    One row per adapted model or run.
    """
    losses = adaptation.changes(adaptation.losses(table))
    losses = losses[losses["pretrain"] != "none"]
    model = [*CONTEXT, "chain", "adaptation"]
    forgotten = losses[losses["domain"] == FORGOTTEN].set_index(model)["change"].rename("forgotten")
    learned = losses[losses["domain"] != FORGOTTEN].assign(gain=-losses["change"], what=losses["domain"])
    points = pd.concat([learned, adaptation.score_gains(table).assign(what=SCORE)])  # losses have no fine-tuning seed
    points = points.join(forgotten, on=model, how="inner")
    if points.empty:
        raise NotInTable("no adapted model with a loss on general text and on another")
    if points["peft"].nunique() > 1:  # scores tell apart methods that started from the same adapted model
        scored = points["what"] == SCORE
        named = points["chain"].map(cells.series_label) + ", " + points["peft"].astype("str").map(cells.method_label)
        points["chain"] = points["chain"].mask(scored, named)
    columns = [*model, "pretrain", "what", "forgotten", "gain", "seed", "adaptation_seed", "metric"]
    return points[columns].reset_index(drop=True)


def _means(shown: pd.DataFrame) -> pd.DataFrame:
    """One row per chain: the mean over its adaptations of their means over fine-tuning seeds."""
    adapted = shown.groupby(["chain", "adaptation"], sort=False)[["forgotten", "gain"]].mean()
    return adapted.groupby(level="chain", sort=False).mean()


def _panel(panel: Axes, shown: pd.DataFrame, chains: list[str]) -> None:
    style.light_grid(panel, "both")
    panel.axhline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    panel.axvline(0, color=style.INK, linewidth=0.6, zorder=0.5)
    panel.locator_params(nbins=5)
    colours = _colours(chains)
    for chain, mean in _means(shown).iterrows():
        colour, seeds = colours[str(chain)], shown[shown["chain"] == chain]
        panel.plot(seeds["forgotten"], seeds["gain"], "o", color=colour, markersize=2.2, alpha=0.5, markeredgewidth=0)
        face, edge = (colour, style.edge(str(chain), colour)) if _differs(seeds) else ("white", colour)
        panel.plot(*mean, "o", mfc=face, mec=edge, markersize=4.2, markeredgewidth=0.7, zorder=3)


def _differs(points: pd.DataFrame) -> bool:
    """Whether a chain's gain is shown: over adaptations for a loss, for scores over seeds that share no adaptation."""
    if points["seed"].isna().any():
        return supported(points.groupby("adaptation")["gain"].mean())
    unadapted = points.assign(adaptation="none", adaptation_seed="none")  # what each run is paired with
    return supported(points.groupby("seed")["gain"].mean(), nesting.units(points, unadapted))


def _gain_label(name: str, shown: pd.DataFrame) -> str:
    if name != SCORE:
        return f"nats gained on {adaptation.domain_label(name)}"
    metrics = " or ".join(cells.display(metric) for metric in shown["metric"].unique())
    return f"{metrics} gained on test"


def _colours(chains: list[str]) -> dict[str, str]:
    """The chains' own colours; with many chains only for the usual ones, since no palette tells so many apart."""
    own = style.colours(["none", *chains])
    return own if len(chains) <= COLOURS else {name: style.USUAL.get(name, OTHER) for name in own}


def _legend(drawn: Figure, points: pd.DataFrame, chains: list[str]) -> int:
    """Draw the legend: each chain's number and, if they differ, its number of seeds. Returns the number of rows."""
    colours = _colours(chains)
    (pretraining, _), (tuning, _) = (style.seeds_behind(counts) for counts in _seeds(points))
    keys = []
    for number, chain in enumerate(chains, 1):
        behind = pretraining.get(chain, "") + tuning.get(chain, "")
        label = f"{number}  {cells.series_label(chain)}{behind.replace(') (', ', ')}"
        edge = style.edge(chain, colours[chain])
        keys.append(style.key(label, color=colours[chain], marker="o", markeredgecolor=edge))
    return style.legend(drawn, [keys])


def _seeds(points: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """For each chain and context, the number of pretraining seeds, and of fine-tuning seeds where there are scores."""
    scores = points[points["what"] == SCORE].groupby(["chain", *CONTEXT])
    return points.groupby(["chain", *CONTEXT])["adaptation"].nunique(), scores["seed"].nunique()


def _how_to_read(points: pd.DataFrame) -> str:
    (behind, pretraining), (behind_tuned, tuned) = (style.seeds_behind(counts) for counts in _seeds(points))
    text = (
        "Against the model that is not adapted, which is where the lines cross: right is forgotten, up is gained. "
        f"Large marks: means over {pretraining} of pretraining, hollow where the sign-flip test shows no change on the "
        f"vertical axis (p > {LEVEL:g}, taken alone), or too few adaptations for a test; small marks: seeds."
    )
    if tuned:
        text += f" Scores: {tuned} of fine-tuning, each paired with the same seed on the model that is not adapted."
    if any(behind.values()) or any(behind_tuned.values()):
        text += " In brackets: the seeds of each chain, where they differ."
    return text
