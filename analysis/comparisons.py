"""Each method of a study against its baseline, paired by seed, and what can be said about the difference."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, nesting
from analysis.cells import NotInTable
from analysis.stats import paired
from analysis.stats.adaptation_seeds import by_adaptation

METHOD = ["pretrain", "adversary", "peft"]  # the baseline is the cell with the most 'none' among these
CONTEXT = ["source", "model", "task"]  # a comparison never crosses these
NO_TEST = (
    "Where seeds share adapted models that are too few for a test of the method, there is no p, and "
    "nothing is marked as shown: the difference is one between these models and holds"
)
LEVEL = 0.05  # a difference is supported where p, uncorrected, is at most this; Holm's is always given beside it
NO_CLAIM = "no claim about the method"  # its adaptations are too few to test it, whatever the seeds on them say
SAME = "the same in every pair"  # both sides are the same model, which is not the same as 'no difference shown'


def compare(table: pd.DataFrame, epsilon: float | None = None, metric: str | None = None) -> list[Comparison]:
    """Every method cell against the baseline of its context, clean or under attack, as one Holm family.

    If there are several baselines, a cell's is the one that shares most of its other settings. If a seed was fine-tuned
    on several adaptations, its score is their mean. Seeds that share an adaptation are one unit of the test (nesting).
    Raises NotInTable if there is nothing to compare.
    """
    table = table[~cells.is_baseline_model(table)]
    family = [comparison for group in _groups(table, epsilon, metric) for comparison in group.against_baseline()]
    if not family:
        raise NotInTable("only one method, or no seed that a method shares with its baseline: nothing to compare")
    return _one_family(family)


def compare_each(table: pd.DataFrame) -> dict[float | None, list[Comparison]]:
    """``compare`` at each of cells.radii, except those at which there is nothing to compare."""
    families = {}
    for epsilon in cells.radii(table):
        with contextlib.suppress(NotInTable):
            families[epsilon] = compare(table, epsilon)
    return families


def contrast(
    table: pd.DataFrame, pairs: Iterable[tuple[str, str]], epsilon: float | None = None, metric: str | None = None
) -> list[Comparison]:
    """Chains against chains, as one Holm family: for each pair (chain, reference), the cells that otherwise agree.

    Pairs that the table lacks are left out. Raises NotInTable if none is left.
    """
    table = table[~cells.is_baseline_model(table)]
    wanted = list(pairs)
    family = [
        comparison
        for group in _groups(table, epsilon, metric)
        for pair in wanted
        for comparison in group.between(*pair)
    ]
    if not family:
        raise NotInTable("no two chains of these pairs that share a seed")
    return _one_family(family)


def by_context(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    """The comparisons of each context, contexts in the order in which they first occur."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault(one.context, []).append(one)
    return list(groups.values())


def scopes_in_words(comparisons: Iterable[Comparison]) -> str:
    """A sentence or two on what the comparisons are conditional on, and why some have no test; empty if on nothing."""
    every = list(comparisons)
    said = []
    for conditional, start in ((False, "Findings on adapted models hold"), (True, NO_TEST)):
        scopes = sorted({c.scope for c in every if c.scope and c.conditional == conditional})
        said += [f"{start} {' or '.join(scopes)}."] if scopes else []
    return " ".join(said)


def cannot_pass(comparisons: Sequence[Comparison]) -> str:
    """What is tested in a family whose tests cannot pass Holm's correction, as in '6 pairs'; empty if one can."""
    tested = [c for c in comparisons if not math.isnan(c.p)]
    largest = max(tested, key=lambda c: len(c.tested), default=None)
    if largest is None or paired.smallest_p(len(largest.tested)) * max(c.family for c in comparisons) <= LEVEL:
        return ""
    return largest.over


def _groups(table: pd.DataFrame, epsilon: float | None, metric: str | None) -> list[_Group]:
    """The cells of each context, scored by the metric of its task."""
    columns = cells.cell_columns(table)
    rows = cells.scores(table, epsilon, metric)
    context = [c for c in CONTEXT if c in columns]
    varying = cells.varying(rows, columns)
    return [_Group(group, columns, varying) for _, group in rows.groupby(context, sort=False)]


def _one_family(comparisons: list[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p over all of them."""
    adjusted = paired.holm([c.p for c in comparisons])
    family = sum(not math.isnan(c.p) for c in comparisons)
    return [dataclasses.replace(c, p_holm=p, family=family) for c, p in zip(comparisons, adjusted, strict=True)]


class _Group:
    """Cells of one context, addressed by index. rows: as cells.scores gives them; varying: the columns for labels."""

    def __init__(self, rows: pd.DataFrame, columns: list[str], varying: list[str]) -> None:
        self.columns = columns
        self.varying = varying
        self.metric = rows["metric"].iloc[0]
        self.cells = cells.ordered(rows[columns].drop_duplicates(), columns[::-1])
        settings = [pd.factorize(self.cells[c], use_na_sentinel=False)[0] for c in columns]
        self.settings = np.stack(settings, axis=1)  # [cells, columns] of numbers; equal where both are missing
        places = self.cells.assign(cell=self.cells.index).merge(rows, on=columns)  # each row with its cell's index
        self.by_seed = places.groupby(["cell", "seed"])["value"].mean().unstack()
        self.runs = {cell: group[nesting.RUNS] for cell, group in places.groupby("cell")}
        self.shared = {cell: nesting.shared_adaptations(runs) for cell, runs in self.runs.items()}

    def against_baseline(self) -> Iterator[Comparison]:
        """Each method against the baseline that shares most of its other settings."""
        nones = (self.cells[[c for c in METHOD if c in self.columns]] == "none").sum(axis=1)
        baselines = np.flatnonzero(nones == nones.max())
        for place in np.flatnonzero(nones < nones.max()):
            same = (self.settings[baselines] == self.settings[place]).sum(axis=1)
            yield from self._compared(place, baselines[same.argmax()])

    def between(self, chain: str, reference: str) -> Iterator[Comparison]:
        """The cells of a chain against those of another that differ from them in nothing else."""
        chains = self.cells["pretrain"]
        others = self.settings[:, [c != "pretrain" for c in self.columns]]
        for place in np.flatnonzero(chains == chain):
            same = (others == others[place]).all(axis=1)
            for base in np.flatnonzero(same & (chains == reference)):
                yield from self._compared(place, base)

    def _compared(self, place: Any, base: Any) -> Iterator[Comparison]:
        """The comparison of two cells, if they share a seed."""
        ours, theirs = self.by_seed.loc[place], self.by_seed.loc[base]
        differences = (ours - theirs).dropna().astype(float)
        if not differences.empty:
            units = nesting.units(self.runs[place], self.runs[base]).loc[differences.index]
            yield Comparison(
                cell=self.cells.loc[place],
                baseline=self.cells.loc[base],
                columns=self.varying,
                metric=self.metric,
                differences=differences,
                units=units,
                baseline_mean=float(theirs.mean()),
                unpaired=int((ours.notna() ^ theirs.notna()).sum()),
                adaptations=max(self.shared[place], self.shared[base]),
                p=p_of_method(differences, units),
            )


def p_of_method(differences: pd.Series, units: pd.Series) -> float:
    """The exact sign-flip test over units, which alone says something of a method; NaN for one pair of seeds.

    NaN too if seeds share adaptations that are too few for the test to reach LEVEL.
    """
    if len(differences) < 2 or not _claims(units):
        return math.nan
    return by_adaptation(differences, units).p


def supported(differences: pd.Series, units: pd.Series | None = None) -> bool:
    """Whether the exact sign-flip test supports a mean difference, uncorrected; missing values are left out.

    units: of each difference, if several may belong to one adaptation.
    """
    known = differences.dropna()
    if len(known) < 2:
        return False
    return p_of_method(known, known.index.to_series() if units is None else units[known.index]) <= LEVEL


def _claims(units: pd.Series) -> bool:
    """Whether the test can say something of the method: each seed is a unit, or there are enough units."""
    return units.is_unique or paired.smallest_p(units.nunique()) <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """A cell's paired differences to its baseline (method minus baseline, indexed by seed) and their tests."""

    cell: pd.Series
    baseline: pd.Series
    columns: list[str]  # those of the cell's columns that vary in the study: what a label must say
    metric: str
    differences: pd.Series
    units: pd.Series  # by seed: seeds that share an adaptation are one unit (nesting.units)
    baseline_mean: float  # over all the baseline's seeds
    unpaired: int  # seeds that only one of the two has
    adaptations: int  # distinct adaptations where several seeds share one, else 0
    p: float  # exact sign-flip test of the method, two-sided, over the units (p_of_method)
    family: int = 1
    p_holm: float = math.nan

    @property
    def n(self) -> int:
        """Pairs of seeds."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference, in the metric's units; each adaptation counts once where the test is over adaptations."""
        return float(self.tested.mean())

    @property
    def conditional(self) -> bool:
        """Whether nothing can be said of the method, only of these adapted models."""
        return not _claims(self.units)

    @property
    def tested(self) -> pd.Series:
        """What mean, interval and test are over: means of units, or seeds if nothing is said of a method."""
        if self.unit == "pairs":
            return self.differences
        means = by_adaptation(self.differences, self.units).means
        return pd.Series(means)

    @property
    def unit(self) -> str:
        """What mean, interval and test are over, in one word."""
        return "pairs" if self.units.is_unique or self.conditional else "adaptations"

    @property
    def over(self) -> str:
        """How many of what mean, interval and test are over: '6 pairs' of seeds, or '6 adaptations'."""
        return f"{len(self.tested)} {self.unit}"

    @property
    def pairs(self) -> str:
        """The same for a column of pairs: the bare number, unless it is of adaptations."""
        return self.over.removesuffix(" pairs")

    @property
    def t_interval(self) -> tuple[float, float]:
        """95% t interval over what is tested: the paired seeds, or the adaptations."""
        return paired.t_interval(self.tested)

    @property
    def sign_flip_interval(self) -> tuple[float, float]:
        """95% interval by inverting the sign-flip test; unbounded with fewer than 6 pairs."""
        return paired.sign_flip_interval(self.tested)

    @property
    def supported(self) -> bool:
        """Whether the test supports that there is a difference (p <= LEVEL, uncorrected)."""
        return self.p <= LEVEL

    @property
    def label(self) -> str:
        """The cell in words."""
        return cells.cell_label(self.cell, self.columns)

    @property
    def context(self) -> tuple[str, ...]:
        """The values of CONTEXT: source, model and task."""
        return tuple(str(self.cell[name]) for name in CONTEXT if name in self.cell)

    @property
    def context_label(self) -> str:
        """What tells the context from the study's others, in words; empty if it is the only one."""
        return cells.cell_label(self.cell, [c for c in self.columns if c in CONTEXT])

    @property
    def method(self) -> str:
        """The cell in words, without the context."""
        return cells.cell_label(self.cell, self._within)

    @property
    def against(self) -> str:
        """The baseline in words, without the context, which both share."""
        return cells.cell_label(self.baseline, self._within)

    @property
    def key(self) -> str:
        """The cell's key, as cells.keys gives it."""
        return cells.key(self.cell)

    @property
    def baseline_label(self) -> str:
        """The baseline in words."""
        return cells.cell_label(self.baseline, self.columns)

    @property
    def scope(self) -> str:
        """What a finding is conditional on: 'given this adaptation' if all seeds share one."""
        if self.unit == "adaptations":
            return ""
        return {0: "", 1: "given this adaptation"}.get(self.adaptations, f"given these {self.adaptations} adaptations")

    @property
    def reading(self) -> str:
        """What can be said of the method, in a few words."""
        if self.n < 2:
            return "no test"
        if (self.differences == 0).all():
            return SAME
        if self.conditional:
            return NO_CLAIM
        if not self.supported:
            return "not shown"
        return self._direction + (" (taken alone)" if self.p_holm > LEVEL else "")

    @property
    def reading_in_full(self) -> str:
        """The reading, and what it is conditional on."""
        if self.reading == NO_CLAIM:
            return f"{NO_CLAIM}; {self._given}, {self.scope}"
        return self.reading + (f", {self.scope}" if self.scope and self.n > 1 else "")

    def verdict(self) -> str:
        """The comparison in one sentence that claims no more than the test supports."""
        who = f"{self.label} against {self.against}"
        difference = f"{self.mean:+.3f} {cells.display(self.metric)}"
        scope = f", {self.scope}" if self.scope else ""
        if self.n < 2:
            return f"{who}: {difference} from one pair of seeds: no test{scope}."
        low, high = self.t_interval
        numbers = f"{difference} (95% t interval {low:+.3f} to {high:+.3f}, {self.over})"
        if self.reading == NO_CLAIM:
            given = f"sign-flip p = {paired.sign_flip_p(self.differences):.2g} over their seeds"
            return f"{who}: {numbers}: {self._given}{scope} ({given}): a claim about these adapted models only."
        if self.conditional:
            return f"{who}: {numbers}: {self.reading}{scope}."
        finding = "difference not shown" if self.reading == "not shown" else self.reading
        return f"{who}: {numbers}: {finding}{scope} ({self._test()})."

    def _test(self) -> str:
        """The test of the method in words."""
        least = paired.smallest_p(len(self.tested))
        test = f"sign-flip p = {self.p:.2g}"
        if not self.supported and least > LEVEL and self.reading != SAME:
            test += f"; {self.over} cannot give less than {least:.2g}"
        if self.supported and self.family > 1:
            cannot = f", which {self.over} cannot pass" if least * self.family > LEVEL else ""
            test += f"; {self.p_holm:.2g} by Holm over {self.family} comparisons{cannot}"
        return test

    @property
    def _direction(self) -> str:
        return "better" if self.mean > 0 else "worse"

    @property
    def _given(self) -> str:
        """What the seeds show of these adapted models."""
        return self._direction if paired.sign_flip_p(self.differences) <= LEVEL else "difference not shown"

    @property
    def _within(self) -> list[str]:
        return [c for c in self.columns if c not in CONTEXT]
