"""Each method of a study against its baseline, paired by seed, and what may be said about the difference."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from analysis import cells, stats
from analysis.cells import NotInTable

METHOD = ["pretrain", "adversary", "peft"]  # the baseline is the cell with the most 'none' among these
CONTEXT = ["source", "model", "task"]  # a comparison never crosses these
LEVEL = 0.05  # a difference is supported where p, uncorrected, is at most this; Holm's is always given beside it


@dataclass(frozen=True)
class Comparison:
    """A cell's paired differences to its baseline (method minus baseline, indexed by seed) and their tests."""

    cell: pd.Series
    baseline: pd.Series
    columns: list[str]  # of the cell that vary in the study: what a label must say
    metric: str
    differences: pd.Series
    baseline_mean: float  # over all the baseline's seeds
    unpaired: int  # seeds that only one of the two has
    adaptations: int  # distinct adaptations where several seeds share one, else 0
    p: float  # exact sign-flip test, two-sided; NaN for one pair
    family: int = 1
    p_holm: float = math.nan

    @property
    def n(self) -> int:
        """Pairs of seeds."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference, in the metric's units."""
        return float(self.differences.mean())

    @property
    def t_interval(self) -> tuple[float, float]:
        """95% t interval over the paired seeds."""
        return stats.t_interval(self.differences)

    @property
    def sign_flip_interval(self) -> tuple[float, float]:
        """95% interval by inverting the sign-flip test; unbounded with fewer than 6 pairs."""
        return stats.sign_flip_interval(self.differences)

    @property
    def supported(self) -> bool:
        """Whether the test supports that there is a difference (p <= LEVEL, uncorrected)."""
        return self.p <= LEVEL

    @property
    def label(self) -> str:
        """The cell in words."""
        return cells.cell_label(self.cell, self.columns)

    @property
    def key(self) -> str:
        """The cell's key, as cells.keys gives it."""
        return "|".join(map(str, self.cell))

    @property
    def baseline_label(self) -> str:
        """The baseline in words."""
        return cells.cell_label(self.baseline, self.columns)

    @property
    def scope(self) -> str:
        """What a finding is conditional on: 'given this adaptation' where all seeds share one."""
        return {0: "", 1: "given this adaptation"}.get(self.adaptations, f"given these {self.adaptations} adaptations")

    @property
    def reading(self) -> str:
        """What may be said, in two or three words."""
        if math.isnan(self.p):
            return "no test"
        if not self.supported:
            return "not shown"
        return ("better" if self.mean > 0 else "worse") + (" (taken alone)" if self.p_holm > LEVEL else "")

    def verdict(self) -> str:
        """The comparison in one sentence, which claims no more than the test carries."""
        who = f"{self.label} against {self.baseline_label}"
        difference = f"{self.mean:+.3f} {cells.display(self.metric)}"
        scope = f", {self.scope}" if self.scope else ""
        if self.n < 2:
            return f"{who}: {difference} from one pair of seeds: no test{scope}."
        low, high = self.t_interval
        least = stats.smallest_p(self.n)
        test = f"sign-flip p = {self.p:.2g}"
        if not self.supported and least > LEVEL:
            test += f"; {self.n} pairs cannot give less than {least:.2g}"
        if self.supported and self.family > 1:
            cannot = f", which {self.n} pairs cannot pass" if least * self.family > LEVEL else ""
            test += f"; {self.p_holm:.2g} by Holm over {self.family} comparisons{cannot}"
        numbers = f"{difference} (95% t interval {low:+.3f} to {high:+.3f}, {self.n} pairs)"
        finding = "difference not shown" if self.reading == "not shown" else self.reading
        return f"{who}: {numbers}: {finding}{scope} ({test})."


def compare(table: pd.DataFrame, epsilon: float | None = None, metric: str | None = None) -> list[Comparison]:
    """Every method cell against the baseline of its context, clean or under attack, as one Holm family.

    Of several baselines a cell's is the one that shares most of its other settings. Where a seed was fine-tuned on
    several adaptations, its score is their mean: seeds stay the unit, and the scope says how many adaptations.
    Raises NotInTable where there is nothing to compare.
    """
    table = table[~cells.is_baseline_model(table)]
    columns = cells.cell_columns(table)
    rows = cells.scores(table, epsilon, metric)
    context = [c for c in CONTEXT if c in columns]
    varying = [c for c in columns if rows[c].nunique(dropna=False) > 1]
    groups = [group for _, group in rows.groupby(context, sort=False)]
    found = [comparison for group in groups for comparison in _against_baseline(group, columns, varying)]
    if not found:
        raise NotInTable("one method alone, or no seed that a method shares with its baseline: nothing to compare")
    adjusted = stats.holm([c.p for c in found])
    family = sum(not math.isnan(c.p) for c in found)
    return [dataclasses.replace(c, p_holm=p, family=family) for c, p in zip(found, adjusted, strict=True)]


def scopes_in_words(comparisons: Iterable[Comparison]) -> str:
    """A sentence on what the comparisons are conditional on, or nothing."""
    scopes = sorted({c.scope for c in comparisons if c.scope})
    return f"Findings on adapted models hold {' or '.join(scopes)}." if scopes else ""


def _against_baseline(rows: pd.DataFrame, columns: list[str], varying: list[str]) -> list[Comparison]:
    """The comparisons within one context; rows as cells.scores gives them; varying: the columns that a label says."""
    present = cells.ordered(rows[columns].drop_duplicates(), columns[::-1])
    places = present.assign(cell=present.index).merge(rows, on=columns)  # each row with the place of its cell
    by_seed = places.groupby(["cell", "seed"])["value"].mean().unstack()
    shared = {cell: _shared_adaptations(group) for cell, group in places.groupby("cell")}
    nones = (present[[c for c in METHOD if c in columns]] == "none").sum(axis=1)
    baselines = present[nones == nones.max()]
    comparisons = []
    for place, cell in present[nones < nones.max()].iterrows():
        same = (baselines == cell) | (baselines.isna() & cell.isna())
        base = same.sum(axis=1).idxmax()
        ours, theirs = by_seed.loc[place], by_seed.loc[base]
        differences = (ours - theirs).dropna().astype(float)
        if differences.empty:
            continue
        comparisons.append(
            Comparison(
                cell=cell,
                baseline=baselines.loc[base],
                columns=varying,
                metric=rows["metric"].iloc[0],
                differences=differences,
                baseline_mean=float(theirs.mean()),
                unpaired=int((ours.notna() ^ theirs.notna()).sum()),
                adaptations=max(shared[place], shared[base]),
                p=stats.sign_flip_p(differences) if len(differences) > 1 else math.nan,
            )
        )
    return comparisons


def _shared_adaptations(rows: pd.DataFrame) -> int:
    """How many adaptations stand behind the rows where one serves several seeds; 0 if each seed has its own, or none.

    In a chain of stages any stage may be the shared one: 'adaptation_seed' names a seed for each, as in '0+3'.
    """
    adapted = rows.loc[rows["adaptation"] != "none", ["seed", "adaptation", "adaptation_seed"]].itertuples(index=False)
    seeds_of: dict[int, dict[str, set[int]]] = {}  # length of the chain's head (0: the whole) -> its name -> seeds
    for seed, adaptation, stage_seeds in adapted:
        heads = list(itertools.accumulate(stage_seeds.split("+"), "{}+{}".format))
        for length, head in enumerate([adaptation, *heads]):
            seeds_of.setdefault(length, {}).setdefault(head, set()).add(seed)
    shared = [len(heads) for heads in seeds_of.values() if any(len(seeds) > 1 for seeds in heads.values())]
    return min(shared, default=0)
