"""Each method of a study against its baseline, paired by seed, and what may be said about the difference."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells, stats
from analysis.cells import NotInTable
from analysis.comparison import CONTEXT as CONTEXT
from analysis.comparison import Comparison

METHOD = ["pretrain", "adversary", "peft"]  # the baseline is the cell with the most 'none' among these


def compare(table: pd.DataFrame, epsilon: float | None = None, metric: str | None = None) -> list[Comparison]:
    """Every method cell against the baseline of its context, clean or under attack, as one Holm family.

    Of several baselines a cell's is the one that shares most of its other settings. Where a seed was fine-tuned on
    several adaptations, its score is their mean: seeds stay the unit, and the scope says how many adaptations.
    Raises NotInTable where there is nothing to compare.
    """
    table = table[~cells.is_baseline_model(table)]
    found = [comparison for group in _groups(table, epsilon, metric) for comparison in group.against_baseline()]
    if not found:
        raise NotInTable("one method alone, or no seed that a method shares with its baseline: nothing to compare")
    return _one_family(found)


def compare_each(table: pd.DataFrame) -> dict[float | None, list[Comparison]]:
    """``compare`` at each of cells.radii, those left out at which there is nothing to compare."""
    found = {}
    for epsilon in cells.radii(table):
        with contextlib.suppress(NotInTable):
            found[epsilon] = compare(table, epsilon)
    return found


def contrast(
    table: pd.DataFrame, pairs: Iterable[tuple[str, str]], epsilon: float | None = None, metric: str | None = None
) -> list[Comparison]:
    """Chains against chains, as one Holm family: of each pair (chain, reference) the cells that are else the same.

    Pairs that the table lacks are left out. Raises NotInTable where none is left.
    """
    table = table[~cells.is_baseline_model(table)]
    wanted = list(pairs)
    found = [
        comparison
        for group in _groups(table, epsilon, metric)
        for pair in wanted
        for comparison in group.between(*pair)
    ]
    if not found:
        raise NotInTable("no two chains of these pairs that share a seed")
    return _one_family(found)


def by_context(found: Iterable[Comparison]) -> list[list[Comparison]]:
    """The comparisons of each context, as they first occur."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for one in found:
        groups.setdefault(one.context, []).append(one)
    return list(groups.values())


def scopes_in_words(comparisons: Iterable[Comparison]) -> str:
    """A sentence on what the comparisons are conditional on, or nothing."""
    scopes = sorted({c.scope for c in comparisons if c.scope})
    return f"Findings on adapted models hold {' or '.join(scopes)}." if scopes else ""


def _groups(table: pd.DataFrame, epsilon: float | None, metric: str | None) -> list[_Group]:
    """The cells of each context, with the metric of its task."""
    columns = cells.cell_columns(table)
    rows = cells.scores(table, epsilon, metric)
    context = [c for c in CONTEXT if c in columns]
    varying = cells.varying(rows, columns)
    return [_Group(group, columns, varying) for _, group in rows.groupby(context, sort=False)]


def _one_family(found: list[Comparison]) -> list[Comparison]:
    """With Holm's p over all of them."""
    adjusted = stats.holm([c.p for c in found])
    family = sum(not math.isnan(c.p) for c in found)
    return [dataclasses.replace(c, p_holm=p, family=family) for c, p in zip(found, adjusted, strict=True)]


class _Group:
    """Cells that may be compared, by their place; rows as cells.scores gives them, varying: what a label says."""

    def __init__(self, rows: pd.DataFrame, columns: list[str], varying: list[str]) -> None:
        self.columns = columns
        self.varying = varying
        self.metric = rows["metric"].iloc[0]
        self.cells = cells.ordered(rows[columns].drop_duplicates(), columns[::-1])
        settings = [pd.factorize(self.cells[c], use_na_sentinel=False)[0] for c in columns]
        self.settings = np.stack(settings, axis=1)  # [cells, columns] of numbers; equal where both are missing
        places = self.cells.assign(cell=self.cells.index).merge(rows, on=columns)  # each row with its cell's place
        self.by_seed = places.groupby(["cell", "seed"])["value"].mean().unstack()
        self.shared = {cell: _shared_adaptations(group) for cell, group in places.groupby("cell")}

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
            yield Comparison(
                cell=self.cells.loc[place],
                baseline=self.cells.loc[base],
                columns=self.varying,
                metric=self.metric,
                differences=differences,
                baseline_mean=float(theirs.mean()),
                unpaired=int((ours.notna() ^ theirs.notna()).sum()),
                adaptations=max(self.shared[place], self.shared[base]),
                p=stats.sign_flip_p(differences) if len(differences) > 1 else math.nan,
            )


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
