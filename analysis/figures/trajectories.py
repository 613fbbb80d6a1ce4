"""What a model can do along its pretraining: its loss on each domain, and a linear probe of the task."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import adaptation, cells
from analysis.drawing import style

PROBE = "dev"


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """One row of panels per model and task: the loss on each domain, and the probe; one line per chain.

    Raises NotInTable.
    """
    points = adaptation.trajectories(table)
    contexts, curves = adaptation.contexts(points), adaptation.in_order(points["what"])
    chains = adaptation.chain_names(points)
    looks = style.chain_looks(["none", *chains])
    drawn = style.new_figure(style.TWO_COLUMNS, 1.65 * len(contexts) + 0.95)
    grid = drawn.subplots(len(contexts), len(curves), squeeze=False, sharex="row")
    for row, context in zip(grid, contexts, strict=True):
        for panel, name in zip(row, curves, strict=True):
            shown = adaptation.of(points[points["what"] == name], context)
            _panel(panel, shown, looks)
            panel.set_title(_curve_label(name, shown))
            panel.set_xlabel("steps of pretraining")
        where = f"{adaptation.context_label(context)}\n" if len(contexts) > 1 else ""
        row[0].set_ylabel(f"{where}held-out loss (nats)" if curves[0] != PROBE else where.strip())
    behind, _ = style.seeds_behind(_seeds(points))
    keys = []
    for name in chains:
        colour, shape = looks[name]
        label = cells.series_label(name) + behind[name]
        keys.append(style.key(label, color=colour, marker=shape, linestyle="-"))
    height = style.legend(drawn, [keys]) * 0.13
    drawn.set_figheight(drawn.get_figheight() + height)
    style.footnote(drawn, _how_to_read(points))
    return drawn


def _panel(panel: Axes, shown: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    style.light_grid(panel, "y")
    panel.locator_params(axis="x", nbins=5)
    for chain, curve in shown.groupby("chain", sort=False):
        colour, shape = looks[str(chain)]
        for _, part in curve.groupby("stage", sort=False):  # a gap between stages: the next starts from the best model
            by_seed = part.groupby(["at", "adaptation"])["value"].mean().unstack()
            if by_seed.shape[1] > 1:
                panel.plot(by_seed.index, by_seed, linewidth=0.4, alpha=0.5, color=colour)
            panel.plot(by_seed.index, by_seed.mean(axis=1), marker=shape, markersize=3, linewidth=0.9, color=colour)


def _curve_label(name: str, shown: pd.DataFrame) -> str:
    if name != PROBE:
        return f"loss, {adaptation.domain_label(name)}"
    metric = str(shown["metric"].iloc[0]).removeprefix("probe_") if len(shown) else ""
    return f"probe, dev {cells.display(metric)}"


def _seeds(points: pd.DataFrame) -> pd.Series:
    return points.groupby(["chain", *adaptation.CONTEXT])["adaptation"].nunique()


def _how_to_read(points: pd.DataFrame) -> str:
    spans = {what: style.span(own["n"].dropna()) for what, own in points.groupby(points["what"] == PROBE)}
    behind, seeds = style.seeds_behind(_seeds(points))
    brackets = ", their number in brackets" if any(behind.values()) else ""
    text = (
        f"Thick lines: means over {seeds} of pretraining{brackets}; thin lines: seeds. Each stage "
        "is drawn once: a chain's line begins where the chain that it goes on from ended, at that one's best model. "
    )
    text += f"Losses: nats, over {spans[False]} predicted tokens." if False in spans else ""
    if True in spans:
        text += (
            f" Probe: logistic regression on frozen features, its strength chosen on the same {spans[True]} dev "
            "examples: for the shape of the curve alone."
        )
    return text
