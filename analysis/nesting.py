"""Which runs share an adapted model, and so what can be tested: the method, or only these adapted models.

Fine-tuning seeds on one adapted model share its luck. A test over them says that this adapted model differs, which two
adaptations by one method do too. Read as evidence on the method, it calls a method different from itself far too often.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator

import pandas as pd

RUNS = ["seed", "adaptation", "adaptation_seed"]


def units(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.Series:
    """The unit [seeds] of each seed that two cells share: seeds of one unit share an adaptation, seeds of two do not.

    ours, theirs: the runs of each cell (RUNS). A seed stands for itself if its runs are not adapted, or have an
    adaptation of their own. Two seeds belong to one unit if they share an adaptation or a stage of one, on either
    side, also by way of a third seed: so the means of units are independent. What a seed has on both sides is no luck
    of one method, and joins nothing. The units are numbered in the order of the seeds.
    """
    seeds = sorted(set(ours["seed"]) & set(theirs["seed"]))
    sides = [_adapted(runs) for runs in (ours, theirs)]
    joined: dict[Hashable, int] = {seed: unit for unit, seed in enumerate(seeds)}
    first: dict[tuple[int, Hashable], Hashable] = {}  # (side, part of an adaptation) -> the first seed that has it
    for side, seed in itertools.product((0, 1), seeds):
        if sides[0].get(seed) == sides[1].get(seed):
            continue
        for adaptation, stage_seeds in sides[side].get(seed, ()):
            for part in parts(adaptation, stage_seeds):
                other = first.setdefault((side, part), seed)
                old, new = joined[seed], joined[other]
                joined = {of: new if unit == old else unit for of, unit in joined.items()}
    return pd.Series(pd.factorize(pd.Series(joined, dtype="Int64"))[0], index=pd.Index(seeds, name="seed"), dtype=int)


def shared_adaptations(runs: pd.DataFrame) -> int:
    """How many adaptations the runs (RUNS) come from if seeds share some; 0 if each seed has its own, or none."""
    seeds_of: dict[int, dict[Hashable, set[Hashable]]] = {}  # place among the parts -> the part -> seeds
    for seed, adaptations in _adapted(runs).items():
        for adaptation, stage_seeds in adaptations:
            for place, part in enumerate(parts(adaptation, stage_seeds)):
                seeds_of.setdefault(place, {}).setdefault(part, set()).add(seed)
    shared = [len(of) for of in seeds_of.values() if any(len(seeds) > 1 for seeds in of.values())]
    return min(shared, default=0)


def parts(adaptation: str, stage_seeds: str) -> Iterator[Hashable]:
    """What runs can share of an adaptation: the whole, and each head of its chain of stages, by the stages' seeds.

    In a chain any stage may be the shared one: 'adaptation_seed' gives a seed for each, as in '0+3'.
    """
    yield adaptation
    yield from enumerate(itertools.accumulate(stage_seeds.split("+"), "{}+{}".format))


def _adapted(runs: pd.DataFrame) -> dict[Hashable, frozenset[tuple[str, str]]]:
    """The adaptations of each seed whose runs are adapted, with the seeds of their stages."""
    adapted = runs.loc[runs["adaptation"] != "none", RUNS]
    return {
        seed: frozenset(zip(of["adaptation"], of["adaptation_seed"], strict=True))
        for seed, of in adapted.groupby("seed")
    }
