"""Which setting each arm of a tuned sweep keeps: the best on dev, among as many for every arm. Test is never read.

Trials are ordinary runs of a study that sweeps the setting, ``finetune.optimizer.learning_rate=1e-4,3e-4,1e-3``, or
that ``python -m adapt.tune`` searched: then each arm has settings of its own, and its runs say what the budget was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from adapt.results import TUNING
from analysis import cells
from analysis.cells import NotInTable

LEARNING_RATE = "finetune.optimizer.learning_rate"
_CHOICE = ("settings", "trials", "metric", "dev", "margin")  # what stands beside a chosen setting
ARM = ["source", "model", "corpus", "task", "pretrain", "peft", "adversary", "budget"]


class UnequalBudgets(ValueError):
    """Arms were tuned over different settings or seeds, so that their best ones do not compare: says which."""


@dataclass(frozen=True)
class Tuned:
    """What is left of a table, and why.

    rows: of the chosen runs, and of baseline models, which have no such setting. choices: one row an arm, with the
    chosen setting, 'settings' and 'trials' (runs) that it was chosen among, 'metric', 'dev' (its mean dev score over
    seeds) and 'margin' over the next best setting.
    """

    rows: pd.DataFrame
    choices: pd.DataFrame


def chosen(table: pd.DataFrame, by: str | Sequence[str] = LEARNING_RATE, metric: str | None = None) -> Tuned:
    """Keep, of each arm, the runs of the setting with the best mean dev score over its seeds.

    by: the tuned column or columns. metric: of dev, by default the task's own. An arm is what differs in ARM or in any
    other setting but ``by`` and the seeds. Equal means: the smaller setting. A seed with several adaptations counts
    once. Of a study that was searched the trials alone count, each arm's among its own.
    Raises UnequalBudgets; NotInTable for a column or dev score that is not there.
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
    kept, choices = [], []
    for names, group in runs.groupby(arm, dropna=False, sort=False):
        seeds = group.groupby([*tuned, "seed"], dropna=False)["value"].mean()
        means = seeds.groupby(tuned, dropna=False).mean().sort_index()
        place = int(means.to_numpy().argmax())  # the first of equal ones, and the index ascends
        best = means.index[place]
        mine = (group[tuned] == (best if isinstance(best, tuple) else (best,))).all(axis=1)
        kept += group.index[mine].tolist()
        found = dict(zip(arm, names, strict=True)) | group.loc[mine, tuned].iloc[0].to_dict()
        others = means.drop(index=best)
        found |= {"settings": len(means), "trials": len(group), "metric": group["metric"].iloc[0]}
        choices.append(
            found | {"dev": means.iloc[place], "margin": means.iloc[place] - others.max()}
        )  # NaN: no other setting
    rows = table[reference | table["run_id"].isin(kept)].reset_index(drop=True)
    shown = cells.ordered(pd.DataFrame(choices), arm)
    return Tuned(rows, shown.drop(columns=[c for c in arm if c != "pretrain" and shown[c].nunique(dropna=False) == 1]))


def settled(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table to report of: where the learning rate was swept, each arm's best on dev; and a note on the choice.

    A sweep that is not finished (UnequalBudgets) stays as it is, every rate a cell of its own, and the note says why.
    """
    swept = not table.empty and LEARNING_RATE in cells.cell_columns(table[~cells.is_baseline_model(table)])
    if not swept:
        return table, ""
    try:
        tuned = chosen(table)
    except (UnequalBudgets, NotInTable) as reason:
        return table, f"Learning rates are not chosen yet, each is a cell of its own: {reason}"
    rates = _in_words(tuned.choices).groupby(tuned.choices[LEARNING_RATE], sort=True).agg(", ".join)
    said = "; ".join(f"{rate:g} for {arms}" for rate, arms in rates.items())
    first = tuned.choices.iloc[0]
    budget = f"among {first['settings']} rates in {first['trials']} trials each"
    if TUNING in tuned.rows.columns:
        budget = f"by search, {tuned.rows[TUNING].dropna().iloc[0]}"
    return tuned.rows, f"Learning rate chosen on dev for each arm, {budget}: {said}."


def _in_words(choices: pd.DataFrame) -> pd.Series:
    """What to call each arm: its chain, and where other columns tell arms of one chain apart, they too, in brackets."""
    others = [c for c in choices.columns if c not in (LEARNING_RATE, "pretrain", *_CHOICE)]
    telling = [c for c in others if (choices.groupby("pretrain")[c].nunique(dropna=False) > 1).any()]
    if not telling:
        return choices["pretrain"].map(cells.display)
    return choices.apply(lambda arm: f"({cells.cell_label(arm, ['pretrain', *telling])})", axis=1)


def _arm(runs: pd.DataFrame, tuned: list[str]) -> list[str]:
    return [column for column in dict.fromkeys([*ARM, *cells.cell_columns(runs)]) if column not in tuned]


def _trials_of_the_search(table: pd.DataFrame, tuned: list[str]) -> pd.DataFrame:
    """The runs of a search and of baseline models; refuses arms that were not searched, or not all alike."""
    reference = cells.is_baseline_model(table)
    runs = table[~reference].drop_duplicates("run_id")
    budgets = sorted(runs[TUNING].dropna().unique())
    if len(budgets) > 1:
        raise UnequalBudgets(f"the arms were searched differently: {' | '.join(budgets)}")
    arm = _arm(runs, tuned)
    for names, group in runs.groupby(arm, dropna=False, sort=False):
        if group[TUNING].isna().all():
            name = cells.cell_label(pd.Series(dict(zip(arm, names, strict=True))), _telling(runs, arm))
            raise UnequalBudgets(f"{name}: was not searched, or not to the end, as the others were ({budgets[0]})")
    return table[reference | table[TUNING].notna()]


def _dev_scores(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """The clean dev score of each run: metric and value, by run_id. Rows of test are left out before anything else."""
    dev = table[table["split"] == "dev"]
    lacking = sorted(set(table["run_id"]) - set(dev["run_id"]))
    if lacking or dev.empty:
        raise NotInTable(f"no dev score of {len(lacking)} runs, such as {lacking[:1]}: nothing to choose by")
    found = cells.scores(dev, metric=metric, split="dev")
    return found.set_index("run_id")[["metric", "value"]]


def _refuse_unequal(runs: pd.DataFrame, arm: list[str], tuned: list[str], searched: bool) -> None:
    """searched: each arm has settings of its own, as many as the budget but for those that failed."""
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
