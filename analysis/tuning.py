"""Which setting each arm of a tuned sweep keeps: the best on dev, out of equally many for every arm. Test is not read.

Trials are ordinary runs of a study that sweeps the setting (``finetune.optimizer.learning_rate=1e-4,3e-4,1e-3``) or
that ``adapt tune`` searched. In a search each arm has its own settings, and its runs record the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from adapt.results import TUNING
from analysis import cells
from analysis.cells import NotInTable
from analysis.stats.paired import Floats, vector

LEARNING_RATE = "finetune.optimizer.learning_rate"
CHOICE = ("settings", "trials", "metric", "dev", "margin", "end")  # columns beside a chosen setting
MANY = 12  # arms: with more, a sentence gives their number instead of their names
ARM = ["source", "model", "corpus", "task", "pretrain", "peft", "adversary", "budget"]


class UnequalBudgets(ValueError):
    """Arms were tuned over different settings or seeds, so that their best scores do not compare; says which arms."""


@dataclass(frozen=True)
class Tuned:
    """A table reduced to the chosen runs, and the choices.

    rows: of the chosen runs, and of baseline models, which have no such setting. choices: one row per arm, with the
    chosen setting, the numbers of 'settings' and 'trials' (runs) that it was chosen from, 'metric', 'dev' (its mean dev
    score over seeds), 'margin' over the next best setting, and 'end': 'lowest' or 'highest' if it is the smallest or
    largest value that was tried, so that a better one may lie beyond it, else ''.
    """

    rows: pd.DataFrame
    choices: pd.DataFrame


def chosen(table: pd.DataFrame, by: str | Sequence[str] = LEARNING_RATE, metric: str | None = None) -> Tuned:
    """Keep, for each arm, the runs of the setting with the best mean dev score over its seeds.

    by: the tuned column or columns. metric: on dev, by default the task's own. Runs belong to different arms if they
    differ in ARM or in any other setting except ``by`` and the seeds. Ties go to the smaller setting. A seed with
    several adaptations counts once. If the study was searched, only the search's trials count.
    Raises UnequalBudgets; NotInTable for a missing column or dev score.
    """
    tuned = [by] if isinstance(by, str) else list(by)
    absent = [column for column in tuned if column not in table.columns]
    if absent:
        raise NotInTable(f"no column {', '.join(absent)}: the study does not say what it swept")
    searched = TUNING in table.columns and bool(table[TUNING].notna().any())
    if searched:
        table = _trials_of_the_search(table, tuned)
    reference = cells.is_baseline_model(table)
    trials = _dev_scores(table[~reference], metric)
    arm = _arm(table[~reference], tuned)
    columns = [*dict.fromkeys([*arm, *tuned]), "seed", "adaptation_seed"]
    runs = table.drop_duplicates("run_id").set_index("run_id")[columns].join(trials, how="inner")
    _refuse_unequal(runs, arm, tuned, searched)
    run_ids, choices = [], []
    for names, group in runs.groupby(arm, dropna=False, sort=False):
        seeds = group.groupby([*tuned, "seed"], dropna=False)["value"].mean()
        means = seeds.groupby(tuned, dropna=False).mean().sort_index()
        place = int(means.to_numpy().argmax())  # the first of equal ones: the smallest, because the index ascends
        best = means.index[place]
        mine = (group[tuned] == (best if isinstance(best, tuple) else (best,))).all(axis=1)
        run_ids += group.index[mine].tolist()
        choice = dict(zip(arm, names, strict=True)) | group.loc[mine, tuned].iloc[0].to_dict()
        others = means.drop(index=best)
        choice |= {"settings": len(means), "trials": len(group), "metric": group["metric"].iloc[0]}
        choice |= {"dev": means.iloc[place], "margin": means.iloc[place] - others.max()}  # NaN: no other setting
        choices.append(choice | {"end": _end(means, place) if len(tuned) == 1 else ""})
    rows = table[reference | table["run_id"].isin(run_ids)].reset_index(drop=True)
    shown = cells.ordered(pd.DataFrame(choices), arm)
    return Tuned(rows, shown.drop(columns=[c for c in arm if c != "pretrain" and shown[c].nunique(dropna=False) == 1]))


def settled(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table for reports, and a note: if the learning rate was swept, only each arm's best on dev is left.

    An unfinished sweep (UnequalBudgets) stays as it is, with every rate a cell of its own, and the note says why.
    """
    if not is_swept(table):
        return table, ""
    try:
        tuned = chosen(table)
    except (UnequalBudgets, NotInTable) as reason:
        return table, f"Learning rates are not chosen yet, each is a cell of its own: {reason}"
    return tuned.rows, f"Learning rate chosen on dev for each arm, {budget(tuned)}: {_rates(table, tuned.choices)}."


def is_swept(table: pd.DataFrame) -> bool:
    """Whether arms were tried at several learning rates."""
    return not table.empty and LEARNING_RATE in cells.cell_columns(table[~cells.is_baseline_model(table)])


def budget(tuned: Tuned) -> str:
    """From how many rates an arm's rate was chosen, in words."""
    if TUNING in tuned.rows.columns:
        return f"by search, {tuned.rows[TUNING].dropna().iloc[0]}"
    first = tuned.choices.iloc[0]
    return f"among {first['settings']} rates in {first['trials']} trials each"


def arm_columns(choices: pd.DataFrame) -> list[str]:
    """The columns that tell the arms of ``choices`` apart; columns that follow from earlier ones are left out.

    Those of cells.MAIN_COLUMNS come first, in that order; the chain is always among them.
    """
    columns = [c for c in choices.columns if c not in (LEARNING_RATE, *CHOICE)]
    main = cells.MAIN_COLUMNS
    columns.sort(key=lambda c: main.index(c) if c in main else len(main))
    telling: list[str] = []
    for column in columns:
        finer = len(choices[[*telling, column]].drop_duplicates())
        if column == "pretrain" or finer > (len(choices[telling].drop_duplicates()) if telling else 1):
            telling.append(column)
    return telling


def _rates(table: pd.DataFrame, choices: pd.DataFrame) -> str:
    """Which arms keep which rate, and which of them are at an end of the grid; if there are many arms, how many."""
    names = choices.apply(cells.cell_label, axis=1, columns=(columns := arm_columns(choices)))
    names = names if columns == ["pretrain"] else "(" + names + ")"
    ends, rates = names[choices["end"] != ""], choices[LEARNING_RATE]
    cannot = "at an end of the grid, so not shown to be tuned"
    if len(choices) <= MANY:
        said = [f"{rate:g} for {', '.join(names[rates == rate])}" for rate in sorted(rates.unique())]
        return "; ".join(said) + (f"; {cannot}: {', '.join(ends)}" if len(ends) else "")
    said = [f"{min(rates):g} to {max(rates):g}"]
    if (grid := sorted(table[LEARNING_RATE].dropna().unique())) and len(grid) <= MANY:
        said = [f"{rate:g} for {(rates == rate).sum() or 'none'}" for rate in grid]
        said[0] += f" of {len(choices)} arms"
    said += [f"{cannot}: {len(ends)} arms"] if len(ends) else []
    return "; ".join(said) + " (each arm's: tuning.md)"


def _end(means: pd.Series, place: int) -> str:
    """'lowest' or 'highest' if the best of several ascending settings is the first or last; means: by setting."""
    return "" if len(means) < 2 else {0: "lowest", len(means) - 1: "highest"}.get(place, "")


def _arm(runs: pd.DataFrame, tuned: list[str]) -> list[str]:
    return [column for column in dict.fromkeys([*ARM, *cells.cell_columns(runs)]) if column not in tuned]


def _trials_of_the_search(table: pd.DataFrame, tuned: list[str]) -> pd.DataFrame:
    """The runs of a search and of baseline models; refuses arms that were not searched, or searched differently."""
    reference = cells.is_baseline_model(table)
    runs = table[~reference].drop_duplicates("run_id")
    budgets = sorted(runs[TUNING].dropna().unique())
    if len(budgets) > 1:
        raise UnequalBudgets(f"the arms were searched differently: {' | '.join(budgets)}")
    arm = _arm(runs, tuned)
    for names, group in runs.groupby(arm, dropna=False, sort=False):
        if group[TUNING].isna().all():
            name = cells.cell_label(pd.Series(dict(zip(arm, names, strict=True))), _telling(runs, arm))
            raise UnequalBudgets(f"{name}: was not searched, or not completely, as the others were ({budgets[0]})")
    return table[reference | table[TUNING].notna()]


def _dev_scores(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """The clean dev score of each run: metric and value, by run_id. Rows of test are dropped first."""
    dev = table[table["split"] == "dev"]
    lacking = sorted(set(table["run_id"]) - set(dev["run_id"]))
    if lacking or dev.empty:
        raise NotInTable(f"no dev score of {len(lacking)} runs, such as {lacking[:1]}: nothing to choose by")
    scores = cells.scores(dev, metric=metric, split="dev")
    return scores.set_index("run_id")[["metric", "value"]]


def _refuse_unequal(runs: pd.DataFrame, arm: list[str], tuned: list[str], searched: bool) -> None:
    """Raise UnequalBudgets unless all arms were tuned alike. searched: each arm has settings of its own."""
    grids: dict[frozenset, list[str]] = {}
    seeds_of: dict[frozenset, list[str]] = {}
    for names, group in runs.groupby(arm, dropna=False, sort=False):
        name = cells.cell_label(pd.Series(dict(zip(arm, names, strict=True))), _telling(runs, arm))
        seeds = {
            setting: frozenset(zip(some["seed"], some["adaptation_seed"], strict=True))
            for setting, some in group.groupby(tuned, dropna=False)
        }
        if len(set(seeds.values())) > 1:
            counts = ", ".join(f"{_said(setting)}: {len(of)}" for setting, of in seeds.items())
            raise UnequalBudgets(f"{name}: its settings were tried with different seeds ({counts})")
        grids.setdefault(frozenset(seeds), []).append(name)
        seeds_of.setdefault(frozenset(group["seed"]), []).append(name)
    if searched and len(seeds_of) > 1:
        told = "; ".join(f"{', '.join(names)}: {', '.join(map(str, sorted(of)))}" for of, names in seeds_of.items())
        raise UnequalBudgets(f"the arms were searched with different seeds: {told}")
    if len(grids) > 1 and not searched:
        told = "; ".join(f"{', '.join(names)}: {', '.join(map(_said, sorted(grid)))}" for grid, names in grids.items())
        raise UnequalBudgets(f"the arms were tuned over different settings of {', '.join(tuned)}: {told}")


def _telling(runs: pd.DataFrame, arm: list[str]) -> list[str]:
    """The columns that tell the arms apart, in words: the chain and whatever varies."""
    return [column for column in arm if column == "pretrain" or runs[column].nunique(dropna=False) > 1]


def _said(setting: tuple) -> str:
    return " and ".join(cells.display(value) for value in setting)


def best_of(n: int) -> Floats:
    """The probability that trial i of n ascending ones is the best of k drawn: C(i-1, k-1) / C(n, k), [k, n].

    The weights of the U-statistic of Tang et al. (2020, "Showing Your Work Doesn't Always Work", section 3.2).
    """
    k, rank = np.arange(1, n + 1)[:, None], np.arange(n, 1, -1)
    steps = np.clip(rank - k, 0, None) / (rank - 1)  # from rank i to i - 1; the coefficients overflow for n over 1,000
    return np.asarray(k / n * np.cumprod(np.concatenate([np.ones((n, 1)), steps], axis=1), axis=1)[:, ::-1])


def expected_best(scores: ArrayLike) -> Floats:
    """The unbiased expected best of k trials, k = 1 to n: the mean of the best over all subsets of k scores. [n].

    At k = n it is the best score itself. Higher scores are better.
    """
    v = np.sort(vector(scores))
    return np.asarray(best_of(len(v)) @ v)


def expected_best_with_replacement(scores: ArrayLike) -> Floats:
    """The expected best of k draws from the n scores, k = 1 to n: sum_i v_(i) ((i / n)^k - ((i - 1) / n)^k). [n].

    The plug-in form of Dodge et al. (2019, "Show Your Work", section 3.1), which published curves use. It may draw a
    score more than once, so it lies below ``expected_best`` for every k > 1 unless all scores are equal.
    """
    v = np.sort(vector(scores))
    k = np.arange(1, len(v) + 1)[:, None]
    shares = np.arange(len(v) + 1) / len(v)
    return np.asarray(np.diff(shares**k, axis=1) @ v)
