"""What a tuning budget buys: the best dev score that a number of trials is expected to find, for each chain.

Dodge et al. (2019), "Show Your Work"; the estimate without bias is that of Tang et al. (2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adapt.results import TUNING
from analysis import cells, style
from analysis.cells import NotInTable
from analysis.stats import Floats, t_interval
from analysis.tuning import LEARNING_RATE
from analysis.tuning_curves import best_of

ALL_TRIALS = True  # read before the best setting of each arm is kept

LINES = 4  # arms that can share a panel
COLUMNS = 6
HEIGHT = 1.12  # inches a row of panels
OTHERS = {"color": style.RULE, "linewidth": 0.7, "zorder": 0.6}


@dataclass(frozen=True)
class Arm:
    """What was tuned: trials [settings, seeds], dev scores, the best mean over the seeds last."""

    context: tuple[str, ...]  # the model, the task and the adversary
    chain: str
    metric: str
    trials: Floats


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Expected best dev score against the number of trials, with the t interval over seeds. Raises NotInTable.

    Few arms share a panel; of many each has its own, the others behind it in grey. table: with all trials, not only the
    chosen ones.
    """
    arms = _arms(table)
    contexts = list(dict.fromkeys(arm.context for arm in arms))
    together = all(sum(arm.context == context for arm in arms) <= LINES for context in contexts)
    looks = style.chain_looks(["none", *(arm.chain for arm in arms)])
    panels = [[a for a in arms if a.context == c] for c in contexts] if together else [[arm] for arm in arms]
    columns = min(len(panels), 2 if together else COLUMNS)
    rows = -(-len(panels) // columns)
    width = style.ONE_COLUMN if len(panels) == 1 else style.TWO_COLUMNS
    drawn = style.new_figure(width, (1.7 if together else HEIGHT) * rows + 0.85 + (0.3 if columns == 1 else 0))
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, own in zip(axes.flat, panels, strict=False):
        style.light_grid(panel, "y")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
        for other in [] if together else [a for a in arms if a.context == own[0].context and a is not own[0]]:
            panel.plot(*_curve(other), **OTHERS)
        for arm in own:
            _line(panel, arm, *looks[arm.chain])
        title = [cells.series_label(own[0].chain)] if not together else []
        title += [_said(own[0].context, contexts)] if len(contexts) > 1 else []
        panel.set_title("\n".join(title), fontsize=7 if together else 6.2)
    for panel in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        panel.tick_params(labelbottom=True)
    for panel in axes.flat[(rows - 1) * columns : len(panels)]:
        panel.set_xlabel("trials")
    for panel in axes[:, 0]:
        panel.set_ylabel(f"dev {' or '.join(dict.fromkeys(cells.display(arm.metric) for arm in arms))}")
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    if together:
        _legend(drawn, arms, looks)
    style.footnote(drawn, _how_to_read(arms, _is_searched(table), together))
    return drawn


def _arms(table: pd.DataFrame) -> list[Arm]:
    """The arms in their order. Of a study that was searched its trials alone; of an arm the seeds of all its trials."""
    runs = table[~cells.is_baseline_model(table)]
    if _is_searched(runs):
        runs = runs[runs[TUNING].notna()]
    if LEARNING_RATE not in cells.cell_columns(runs):
        raise NotInTable(f"one {LEARNING_RATE} for each arm: no tuning whose budget could be drawn")
    scores = cells.scores(runs, split="dev")
    of_arm = [c for c in cells.cell_columns(runs) if c != LEARNING_RATE]
    context = [c for c in of_arm if c in {"source", "model", "task", "adversary"}]
    chains = cells.series(scores.drop(columns=LEARNING_RATE))
    arms = []
    for (*names, chain, metric), own in scores.groupby([*context, chains.rename("chain"), "metric"], sort=False):
        by_setting = own.pivot_table(index=LEARNING_RATE, columns="seed", values="value").dropna(axis=1)
        if by_setting.empty or len(by_setting) < 2:
            continue
        order = by_setting.mean(axis=1).sort_values(kind="stable").index
        arms.append(Arm(tuple(map(str, names)), str(chain), str(metric), by_setting.loc[order].to_numpy(dtype=float)))
    if not arms:
        raise NotInTable(f"no arm with two of {LEARNING_RATE} that share a seed on dev")
    return arms


def _is_searched(table: pd.DataFrame) -> bool:
    """Whether the trials are those of ``python -m adapt.tune``."""
    return TUNING in table.columns and bool(table[TUNING].notna().any())


def _by_seed(arm: Arm) -> Floats:
    """[budgets, seeds]: the expected dev score of a seed at the setting that has the best mean of those drawn."""
    return np.asarray(best_of(len(arm.trials)) @ arm.trials)


def _curve(arm: Arm) -> tuple[Floats, Floats]:
    by_seed = _by_seed(arm)
    return np.arange(1.0, len(by_seed) + 1), by_seed.mean(axis=1)


def _line(panel: Axes, arm: Arm, colour: str, shape: str) -> None:
    budgets, means = _curve(arm)
    lows, highs = zip(*(t_interval(values) for values in _by_seed(arm)), strict=True)
    panel.fill_between(budgets, lows, highs, color=colour, alpha=0.18, linewidth=0)
    every = max(1, len(budgets) // 8)
    panel.plot(budgets, means, color=colour, marker=shape, markersize=3.2, markevery=every, linewidth=1.0, zorder=3)


def _said(context: tuple[str, ...], contexts: list[tuple[str, ...]]) -> str:
    """What tells a context from the others."""
    varying = [i for i in range(len(context)) if len({other[i] for other in contexts}) > 1]
    last = len(context) - 1  # the adversary
    return ", ".join(cells.adversary_label(context[i]) if i == last else cells.display(context[i]) for i in varying)


def _legend(drawn: Figure, arms: list[Arm], looks: dict[str, tuple[str, str]]) -> None:
    keys = []
    for chain in dict.fromkeys(arm.chain for arm in arms):
        colour, shape = looks[chain]
        keys.append(style.key(cells.series_label(chain), color=colour, marker=shape, linestyle="-"))
    style.legend(drawn, [keys])


def _how_to_read(arms: list[Arm], searched: bool, together: bool) -> str:
    trials, seeds = ({arm.trials.shape[axis] for arm in arms} for axis in (0, 1))
    number = f"{min(trials)}" if len(trials) == 1 else f"{min(trials)} to {max(trials)}"
    drawn = "as if drawn at random from those of the search" if searched else "drawn from those of the grid"
    text = (
        f"Expected best of k trials, {drawn} without replacement (estimate without bias, Tang et al., 2020; after "
        f"Dodge et al., 2019). A trial is a learning rate with its mean dev score over {style.seeds_in_words(seeds)}; "
        f"an arm has {number} trials"
    )
    text += ", which show little more than how far the worst lies from the best." if max(trials) < 5 else "."
    if max(seeds) > 1:
        text += " Band: 95% t interval over seeds, for these trials alone."
    return text if together else f"{text} Grey: the other arms."
