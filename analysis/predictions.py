"""What runs answered, example by example: scores again, agreement, confusion, and the examples that tell arms apart.

Everywhere a run's predictions are rows as ``load`` gives them: one a test example, of a task of tags one a word.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from adapt.results import metrics
from analysis import cells
from analysis.cells import NotInTable
from analysis.study import frozen

PLACE = ["example", "word"]


def load(study: Path | str) -> pd.DataFrame:
    """The frozen predictions of a study's folder: run_id, example, word, text_hash, gold, predicted, clean, classes,
    correct.

    Raises NotInTable where the folder has none: it was frozen before predictions were kept, or they were too large.
    """
    found = frozen.load_predictions(study)
    if found.empty:
        raise NotInTable(f"{study}: no {frozen.PREDICTIONS}; `adapt table` writes it where the runs still lie")
    return found


def of_run(predictions: pd.DataFrame, run_id: str) -> pd.DataFrame:
    """The rows of one run, in the order of its examples. Raises NotInTable."""
    rows = predictions[predictions["run_id"] == run_id]
    if rows.empty:
        raise NotInTable(f"no predictions of run {run_id}; there are those of {predictions['run_id'].nunique()} runs")
    return rows.sort_values(PLACE, ignore_index=True)


def score(rows: pd.DataFrame, metric: str) -> float:
    """A metric of classification over a run's rows, as the rows of results have it; of a task of tags, over words.

    The labels are the task's, of which one that the rows lack counts 0 in macro_f1. Raises ValueError for another
    metric, or rows of several runs.
    """
    if rows["run_id"].nunique() != 1:
        raise ValueError(f"a score is of one run, not of {rows['run_id'].nunique()}")
    possible = sorted(metrics.of_kind("classification"))
    if metric not in possible:
        raise ValueError(f"metric={metric!r}: possible are {', '.join(possible)}")
    codes, _ = pd.factorize(pd.concat([rows["gold"].astype("str"), rows["predicted"].astype("str")]))
    return metrics.score(metric, codes[: len(rows)].tolist(), codes[len(rows) :].tolist(), rows["classes"].iloc[0])


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts of (gold, predicted) over the rows of one or more runs; both axes: all labels that occur, in order."""
    occur = set(rows["gold"]) | set(rows["predicted"])
    order = [name for name in rows["gold"].astype("category").cat.categories if name in occur]
    order += sorted(occur - set(order))
    counts = pd.crosstab(rows["gold"].astype("str"), rows["predicted"].astype("str"))
    return counts.reindex(index=order, columns=order, fill_value=0).rename_axis(index="gold", columns="predicted")


@dataclass(frozen=True)
class Agreement:
    """How two runs answer the same n examples: the share answered alike, Cohen's kappa, and who alone is right."""

    n: int
    share: float
    kappa: float  # Cohen (1960); NaN where both give one and the same answer to everything
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> Agreement:
    """Two runs beside each other. Raises ValueError where they did not answer the same examples."""
    one, other = _aligned(first, second)
    answers = [rows["predicted"].astype("str").to_numpy() for rows in (one, other)]
    right, too = paired_correct(first, second)
    alone = len({*answers[0], *answers[1]}) == 1
    return Agreement(
        n=len(one),
        share=float(np.mean(answers[0] == answers[1])),
        kappa=float("nan") if alone else float(cohen_kappa_score(*answers)),
        both_right=int((right & too).sum()),
        only_first=int((right & ~too).sum()),
        only_second=int((~right & too).sum()),
        both_wrong=int((~right & ~too).sum()),
    )


def paired_correct(first: pd.DataFrame, second: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each run is right on each example [n], in the same order: what McNemar's test and a bootstrap take."""
    one, other = _aligned(first, second)
    return one["correct"].to_numpy(dtype=bool), other["correct"].to_numpy(dtype=bool)


def cell_runs(table: pd.DataFrame, **settings: object) -> dict[int, str]:
    """The run of each seed of one cell: ``cell_runs(table, pretrain="dapt", adversary="none")``.

    Raises NotInTable where none is left, or where a seed has several runs, which says how they differ.
    """
    runs = table.drop_duplicates("run_id")
    for column, value in settings.items():
        if column not in runs.columns:
            raise NotInTable(f"no column {column}")
        runs = runs[runs[column] == value]
    if runs.empty:
        raise NotInTable(f"no run with {settings}")
    if runs["seed"].duplicated().any():
        differing = cells.varying(runs, [*cells.cell_columns(table), "adaptation_seed"])
        raise NotInTable(f"{settings}: several runs of a seed, which differ in {', '.join(differing) or 'nothing'}")
    return dict(zip(runs["seed"].astype(int), runs["run_id"], strict=True))


def agreements(predictions: pd.DataFrame, ones: dict[int, str], others: dict[int, str]) -> pd.DataFrame:
    """``agreement`` of two cells (as cell_runs gives them), a row a shared seed. Raises NotInTable without one."""
    seeds = sorted(set(ones) & set(others))
    if not seeds:
        raise NotInTable("the two cells share no seed")
    found = [agreement(of_run(predictions, ones[seed]), of_run(predictions, others[seed])) for seed in seeds]
    return pd.DataFrame([{"seed": seed} | vars(one) for seed, one in zip(seeds, found, strict=True)])


def told_apart(predictions: pd.DataFrame, wrong: Collection[str], right: Collection[str]) -> pd.DataFrame:
    """The examples that every run of ``wrong`` (run ids) gets wrong and every run of ``right`` gets right.

    One row an example: example, word, text_hash, gold, clean (of no run's training text), and 'answer', what most of
    ``wrong`` said instead, with 'share' of them. Raises NotInTable for a run without predictions, ValueError where two
    of the runs did not answer the same examples.
    """
    if not wrong or not right:
        raise ValueError("at least one run on each side is needed")
    ours, theirs = ([of_run(predictions, run_id) for run_id in ids] for ids in (wrong, right))
    first = ours[0]
    everywhere = [_aligned(first, other)[1] for other in (*ours, *theirs)]
    mistaken = ~np.any([rows["correct"] for rows in everywhere[: len(ours)]], axis=0)
    picked = mistaken & np.all([rows["correct"] for rows in everywhere[len(ours) :]], axis=0)
    said = pd.DataFrame([rows["predicted"].astype("str") for rows in everywhere[: len(ours)]]).T[picked]
    answers = [values.value_counts(sort=False).sort_index() for _, values in said.iterrows()]
    found = first.loc[picked, [*PLACE, "text_hash", "gold"]].assign(
        clean=np.all([rows["clean"] for rows in everywhere], axis=0)[picked],
        answer=[counts.idxmax() for counts in answers],
        share=[counts.max() / len(ours) for counts in answers],
    )
    return found.reset_index(drop=True)


def _aligned(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both in the same order of examples, known by place and text."""
    one, other = (rows.sort_values(PLACE, ignore_index=True) for rows in (first, second))
    same = len(one) == len(other) and all(
        one[name].astype("str").equals(other[name].astype("str")) for name in [*PLACE, "text_hash", "gold"]
    )
    if not same:
        raise ValueError(
            f"the runs did not answer the same examples: {len(one)} and {len(other)} rows; both must be of one task "
            "and one budget of test examples"
        )
    return one, other
