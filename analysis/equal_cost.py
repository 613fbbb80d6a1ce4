"""Each method against plain training of the same cost: what more compute gives by itself, and what a method adds.

The cost of fine-tuning is counted in passes over the batches, relative to plain training with the same seed
(F + Bp = 3 per step). A forward pass counts 1, a backward pass with parameter gradients 2, and a backward pass only to
the perturbation 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import cells, comparisons
from analysis.cells import NotInTable
from analysis.comparisons import Comparison
from analysis.stats import paired

WEIGHTS = {"forward_passes": 1.0, "backward_passes": 2.0, "delta_backward_passes": 1.0}
CONVENTION = "a forward pass counts 1, a backward pass 2, a backward pass to the perturbation alone 1"
SLACK = 0.05  # a cost up to this share beyond the curve's end is compared with the end: epochs do not divide evenly


@dataclass(frozen=True)
class Method:
    """One cell beside plain training of the same chain and settings; costs are relative to plain training, by seed."""

    context: str  # the chain, and whatever else varies except the adversary
    gain: Comparison  # against plain training of length 1
    passes: pd.Series
    seconds: float  # median over the seeds of the measured ratio; NaN if it was not measured
    at_equal_cost: Comparison | None  # against the plain curve at this cost; None if the curve does not reach it

    @property
    def length(self) -> int | None:
        """The length in multiples of plain training's steps; None if it is not plain training."""
        return cells.plain_length(self.gain.cell["adversary"])

    @property
    def cost(self) -> float:
        """Mean over the seeds of the relative cost in passes."""
        return float(self.passes.mean())


def methods(table: pd.DataFrame, epsilon: float | None = None, metric: str | None = None) -> list[Method]:
    """Every cell with an adversary, and plain training at longer lengths, clean or under attack; without Holm.

    Raises NotInTable if no chain has both counted passes and plain training of two lengths or more.
    """
    table = table[~cells.is_baseline_model(table)]
    other_attacks = ~table["attack"].isin(["none", cells.study_attack(table)])
    table = table[~other_attacks]  # so that all chains are scored by the same attack
    columns = [c for c in cells.cell_columns(table) if not c.startswith("adversary")]
    varying = cells.varying(table, columns) or ["pretrain"]
    runs = cells.ordered(table.drop_duplicates("run_id"), columns)
    costs = _costs(table)
    measured = []
    for _, group in runs.groupby(columns, sort=False, dropna=False):
        context = cells.cell_label(group.iloc[0], varying)
        measured += _of_context(table[table["run_id"].isin(group["run_id"])], costs, context, epsilon, metric)
    if not measured:
        raise NotInTable("no plain training of several lengths (none, none_x2, ...) whose passes are counted")
    return measured


def plain_curve(among: Iterable[Method]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cost and gain of plain training in one context, [length, seed]; at length 1 they are 1 and 0.

    Only seeds that have every length are included.
    """
    longer = {m.length: m for m in among if m.length is not None}
    costs = pd.DataFrame({length: m.passes for length, m in longer.items()}).T
    gains = pd.DataFrame({length: m.gain.differences for length, m in longer.items()}).T
    seeds = costs.dropna(axis=1).columns.intersection(gains.dropna(axis=1).columns)
    costs, gains = costs[seeds], gains[seeds]
    costs.loc[1], gains.loc[1] = 1.0, 0.0
    return costs.sort_index(), gains.sort_index()


def interpolated(costs: pd.DataFrame, gains: pd.DataFrame, at: pd.Series) -> pd.Series:
    """Each seed's own plain curve at its own cost, linear between lengths; NaN more than SLACK beyond the ends."""
    read = {}
    for seed in at.index.intersection(costs.columns):
        xs = costs[seed].to_numpy(dtype=float)
        inside = xs[0] * (1 - SLACK) <= at[seed] <= xs[-1] * (1 + SLACK)
        read[seed] = float(np.interp(at[seed], xs, gains[seed].to_numpy(dtype=float))) if inside else math.nan
    return pd.Series(read, dtype=float)


def adjusted(families: list[list[Method]]) -> list[list[Method]]:
    """The methods with Holm's correction of the comparisons at equal cost; all lists together are one family."""
    p = [m.at_equal_cost.p if m.at_equal_cost else math.nan for methods in families for m in methods]
    size = sum(not math.isnan(value) for value in p)
    corrected = iter(paired.holm(p).tolist())

    def with_holm(method: Method) -> Method:
        p_holm, compared = next(corrected), method.at_equal_cost
        if compared is None:
            return method
        return dataclasses.replace(method, at_equal_cost=dataclasses.replace(compared, p_holm=p_holm, family=size))

    return [[with_holm(method) for method in methods] for methods in families]


def _costs(table: pd.DataFrame) -> pd.DataFrame:
    """The cost of fine-tuning of each run: passes, in units of one forward pass, and seconds."""
    rows = table[(table["split"] == "train") & table["metric"].isin([*WEIGHTS, "train_seconds"])]
    counted = rows.pivot(index="run_id", columns="metric", values="value")
    counted = counted.reindex(columns=[*WEIGHTS, "train_seconds"]).astype(float)
    counted["delta_backward_passes"] = counted["delta_backward_passes"].fillna(0.0)
    return pd.DataFrame({"passes": counted[list(WEIGHTS)] @ pd.Series(WEIGHTS), "seconds": counted["train_seconds"]})


def _of_context(
    table: pd.DataFrame, costs: pd.DataFrame, context: str, epsilon: float | None, metric: str | None
) -> list[Method]:
    try:
        gains = comparisons.compare(table, epsilon, metric)
    except NotInTable:
        return []
    rows = cells.scores(table, epsilon, metric)
    rows = rows.assign(key=cells.keys(rows)).join(costs, on="run_id")
    by_seed = rows.groupby(["key", "seed"])[["passes", "seconds"]].mean()
    measured = []
    for gain in gains:
        baseline = "|".join(map(str, gain.baseline))
        if cells.plain_length(gain.baseline["adversary"]) != 1:
            continue
        ratio = (by_seed.loc[gain.key] / by_seed.loc[baseline]).loc[gain.differences.index]
        if ratio["passes"].notna().all():
            measured.append(Method(context, gain, ratio["passes"], float(ratio["seconds"].median()), None))
    if not any(method.length for method in measured):
        return []
    curve = plain_curve(measured)
    return [method if method.length else _against_curve(method, *curve) for method in measured]


def _against_curve(method: Method, costs: pd.DataFrame, gains: pd.DataFrame) -> Method:
    plain = interpolated(costs, gains, method.passes)
    if plain.empty or plain.isna().any():
        return method
    seeds = plain.index
    differences = method.gain.differences[seeds] - plain
    compared = dataclasses.replace(
        method.gain,
        differences=differences,
        units=method.gain.units[seeds],
        baseline_mean=method.gain.baseline_mean + float(plain.mean()),
        unpaired=method.gain.unpaired + method.gain.n - len(seeds),
        p=comparisons.p_of_method(differences, method.gain.units[seeds]),
    )
    return dataclasses.replace(method, at_equal_cost=compared)
