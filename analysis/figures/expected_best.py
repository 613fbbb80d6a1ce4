"""What a tuning budget buys: the best dev score that a number of trials is expected to find, for each chain.

Dodge et al. (2019), "Show Your Work"; the estimate without bias is that of Tang et al. (2020).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adapt.results import TUNING
from analysis import cells
from analysis.cells import NotInTable
from analysis.drawing import style
from analysis.stats.paired import Floats, t_interval
from analysis.tuning import LEARNING_RATE, best_of

ALL_TRIALS = True  # needs all trials, not only each arm's best setting

LINES = 4  # arms that can share a panel
COLUMNS = 6
HEIGHT = 1.12  # inches per row of panels
TITLE = 20  # letters per line that fit above one of COLUMNS panels
AMONG: Any = {"color": style.GREY, "linewidth": 0.5, "zorder": 2}
OTHERS: Any = {"color": style.RULE, "linewidth": 0.7, "zorder": 0.6}


@dataclass(frozen=True)
class Arm:
    """An arm that was tuned; trials: dev scores [settings, seeds], ordered by the mean over seeds, best last."""

    context: tuple[str, ...]  # the model, the task and the adversary
    chain: str
    task: str
    metric: str
    trials: Floats


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Expected best dev score against the number of trials, with the t interval over seeds. Raises NotInTable.

    Several tasks have one panel each. Few arms share a panel, in colours. Many arms of one task have one panel each,
    with the others in grey behind; many arms of several tasks share their task's panel in grey, except for the best and
    the worst. table: with all trials, not only the chosen ones.
    """
    arms = _arms(table)
    contexts = list(dict.fromkeys(arm.context for arm in arms))
    few = all(sum(arm.context == context for arm in arms) <= LINES for context in contexts)
    several = len({arm.task for arm in arms}) > 1
    together = few or several
    panels = [[a for a in arms if a.context == c] for c in contexts] if together else [[arm] for arm in arms]
    coloured = arms if few or not several else [own[place] for own in panels for place in _ends(own)]
    looks = style.chain_looks(["none", *(arm.chain for arm in coloured)])
    columns = min(len(panels), 2 if together else COLUMNS)
    rows = -(-len(panels) // columns)
    width = style.ONE_COLUMN if len(panels) == 1 else style.TWO_COLUMNS
    drawn = style.new_figure(width, (1.7 if together else HEIGHT) * rows + 0.85 + (0.3 if columns == 1 else 0))
    axes = drawn.subplots(rows, columns, sharex=True, sharey=not several, squeeze=False)
    for i, (panel, own) in enumerate(zip(axes.flat, panels, strict=False)):
        style.light_grid(panel, "y")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
        for other in [] if together else [a for a in arms if a.context == own[0].context and a is not own[0]]:
            panel.plot(*_curve(other), **OTHERS)
        if few or not several:
            for arm in own:
                _line(panel, arm, *looks[arm.chain])
        else:
            _best_and_worst(panel, own, looks)
        title = textwrap.wrap(cells.series_label(own[0].chain), TITLE) if not together else []
        title += [_said(own[0].context, contexts)] if len(contexts) > 1 else []
        panel.set_title("\n".join(title), fontsize=7 if together else 6.2)
        if several or i % columns == 0:
            panel.set_ylabel(f"dev {cells.display(own[0].metric)}")
    for panel in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        panel.tick_params(labelbottom=True)
    for panel in axes.flat[(rows - 1) * columns : len(panels)]:
        panel.set_xlabel("trials")
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    if few:
        _legend(drawn, arms, looks)
    style.footnote(drawn, _how_to_read(arms, _is_searched(table), few, several))
    return drawn


def _arms(table: pd.DataFrame) -> list[Arm]:
    """The arms, in order: only trials of the search, if there was one, and seeds that all of an arm's trials have."""
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
        trials = by_setting.loc[order].to_numpy(dtype=float)
        arms.append(Arm(tuple(map(str, names)), str(chain), str(own["task"].iloc[0]), str(metric), trials))
    if not arms:
        raise NotInTable(f"no arm with two of {LEARNING_RATE} that share a seed on dev")
    return arms


def _is_searched(table: pd.DataFrame) -> bool:
    """Whether the trials come from ``adapt tune``."""
    return TUNING in table.columns and bool(table[TUNING].notna().any())


def _by_seed(arm: Arm) -> Floats:
    """[budgets, seeds]: the expected dev score of each seed at the drawn setting that has the best mean."""
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


def _ends(arms: list[Arm]) -> tuple[int, int]:
    """The indices of the best and of the worst arm after all trials."""
    last = [_curve(arm)[1][-1] for arm in arms]
    return int(np.argmax(last)), int(np.argmin(last))


def _best_and_worst(panel: Axes, arms: list[Arm], looks: dict[str, tuple[str, str]]) -> None:
    """Draw the best and the worst arm with their names, the others thin and grey, and write how much they differ."""
    last = [_curve(arm)[1][-1] for arm in arms]
    gains = [after - _curve(arm)[1][0] for arm, after in zip(arms, last, strict=True)]
    ends = dict(zip(("bottom", "top"), _ends(arms), strict=True))  # va of the names: above, below the end of a line
    for place, arm in enumerate(arms):
        if place not in ends.values():
            panel.plot(*_curve(arm), **AMONG)
    for side, place in ends.items():
        _line(panel, arms[place], *looks[arms[place].chain])
        at = (len(arms[place].trials), last[place])
        name = cells.series_label(arms[place].chain)
        panel.annotate(name, at, (4, 0), textcoords="offset points", va=side, fontsize=5.8, annotation_clip=False)
    said = f"more trials: +{np.mean(gains):.3f}\nbest to worst arm: {max(last) - min(last):.3f}"
    panel.text(0.98, 0.04, said, transform=panel.transAxes, ha="right", va="bottom", fontsize=5.8)


def _said(context: tuple[str, ...], contexts: list[tuple[str, ...]]) -> str:
    """What tells a context from the others, in words."""
    varying = [i for i in range(len(context)) if len({other[i] for other in contexts}) > 1]
    last = len(context) - 1  # the adversary
    return ", ".join(cells.adversary_label(context[i]) if i == last else cells.display(context[i]) for i in varying)


def _legend(drawn: Figure, arms: list[Arm], looks: dict[str, tuple[str, str]]) -> None:
    keys = []
    for chain in dict.fromkeys(arm.chain for arm in arms):
        colour, shape = looks[chain]
        keys.append(style.key(cells.series_label(chain), color=colour, marker=shape, linestyle="-"))
    style.legend(drawn, [keys])


def _how_to_read(arms: list[Arm], searched: bool, few: bool, several: bool) -> str:
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
    if few:
        return text
    if not several:
        return f"{text} Grey: the other arms."
    return (
        f"{text} Named: the arms with the best and the worst score after all trials; grey: the others. In numbers: "
        "what all trials bring over one, the mean over the arms; and after all trials the best arm less the worst, "
        "which chance makes larger, as they are the extremes. Each panel has a scale of its own."
    )
