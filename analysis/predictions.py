"""What runs predicted, example by example: scores, agreement, confusion, and the examples that tell arms apart.

A run's predictions are always rows as ``load`` gives them: one per test example, or one per word in a tagging task.
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

    Raises NotInTable if the folder has none: it was frozen before predictions were stored, or they were too large.
    """
    predictions = frozen.load_predictions(study)
    if predictions.empty:
        raise NotInTable(f"{study}: no {frozen.PREDICTIONS}; `adapt table` writes it where the runs still lie")
    return predictions


def of_run(predictions: pd.DataFrame, run_id: str) -> pd.DataFrame:
    """The rows of one run, in the order of its examples. Raises NotInTable."""
    rows = predictions[predictions["run_id"] == run_id]
    if rows.empty:
        raise NotInTable(f"no predictions of run {run_id}; there are those of {predictions['run_id'].nunique()} runs")
    return rows.sort_values(PLACE, ignore_index=True)


def score(rows: pd.DataFrame, metric: str, negative: str | None = None) -> float:
    """A metric of classification over a run's rows, as in its rows of results; in a tagging task, over words.

    macro_f1 is the mean over the labels that the rows have, as gold or as answers. negative: the class that
    micro_f1_positive leaves out. Raises ValueError for another metric, for rows of several runs, and for a metric that
    needs a negative class without one.
    """
    if rows["run_id"].nunique() != 1:
        raise ValueError(f"a score is of one run, not of {rows['run_id'].nunique()}")
    possible = sorted(metrics.of_kind("classification"))
    if metric not in possible:
        raise ValueError(f"metric={metric!r}: possible are {', '.join(possible)}")
    if metrics.METRICS[metric].needs_negative and negative is None:
        raise ValueError(f"metric={metric!r} leaves out a class: say which as negative=...")
    codes, names = pd.factorize(pd.concat([rows["gold"].astype("str"), rows["predicted"].astype("str")]))
    places = {name: place for place, name in enumerate(names)}
    gold, predicted = codes[: len(rows)].tolist(), codes[len(rows) :].tolist()
    return metrics.score(metric, gold, predicted, rows["classes"].iloc[0], places.get(negative))


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts of (gold, predicted) over the rows of one or more runs; both axes are all labels that occur, in order."""
    occur = set(rows["gold"]) | set(rows["predicted"])
    order = [name for name in rows["gold"].astype("category").cat.categories if name in occur]
    order += sorted(occur - set(order))
    counts = pd.crosstab(rows["gold"].astype("str"), rows["predicted"].astype("str"))
    return counts.reindex(index=order, columns=order, fill_value=0).rename_axis(index="gold", columns="predicted")


@dataclass(frozen=True)
class Agreement:
    """How two runs agree on the same n examples: the share predicted alike, Cohen's kappa, and which one is right."""

    n: int
    share: float
    kappa: float  # Cohen (1960); NaN if both predict one and the same label everywhere
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> Agreement:
    """The agreement of two runs. Raises ValueError if their test examples differ."""
    one, other = _aligned(first, second)
    predicted = [rows["predicted"].astype("str").to_numpy() for rows in (one, other)]
    ours, theirs = paired_correct(first, second)
    one_label = len({*predicted[0], *predicted[1]}) == 1
    return Agreement(
        n=len(one),
        share=float(np.mean(predicted[0] == predicted[1])),
        kappa=float("nan") if one_label else float(cohen_kappa_score(*predicted)),
        both_right=int((ours & theirs).sum()),
        only_first=int((ours & ~theirs).sum()),
        only_second=int((~ours & theirs).sum()),
        both_wrong=int((~ours & ~theirs).sum()),
    )


def paired_correct(first: pd.DataFrame, second: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each run is right on each example [n], in the same order; input of McNemar's test and of a bootstrap."""
    one, other = _aligned(first, second)
    return one["correct"].to_numpy(dtype=bool), other["correct"].to_numpy(dtype=bool)


def cell_runs(table: pd.DataFrame, **settings: object) -> dict[int, str]:
    """The run of each seed of one cell: ``cell_runs(table, pretrain="dapt", adversary="none")``.

    Raises NotInTable if there is none, or if a seed has several runs; the message says how they differ.
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
    """``agreement`` of two cells (as cell_runs gives them), one row per shared seed. Raises NotInTable without one."""
    seeds = sorted(set(ones) & set(others))
    if not seeds:
        raise NotInTable("the two cells share no seed")
    pairs = [agreement(of_run(predictions, ones[seed]), of_run(predictions, others[seed])) for seed in seeds]
    return pd.DataFrame([{"seed": seed} | vars(one) for seed, one in zip(seeds, pairs, strict=True)])


def told_apart(predictions: pd.DataFrame, wrong: Collection[str], right: Collection[str]) -> pd.DataFrame:
    """The examples that every run of ``wrong`` (run ids) gets wrong and every run of ``right`` gets right.

    One row per example: example, word, text_hash, gold, clean (not in any run's training text), and 'answer', what most
    of ``wrong`` predicted, with the 'share' of them. Raises NotInTable for a run without predictions, and ValueError if
    the test examples of two runs differ.
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
    examples = first.loc[picked, [*PLACE, "text_hash", "gold"]].assign(
        clean=np.all([rows["clean"] for rows in everywhere], axis=0)[picked],
        answer=[counts.idxmax() for counts in answers],
        share=[counts.max() / len(ours) for counts in answers],
    )
    return examples.reset_index(drop=True)


def _aligned(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both runs' rows in the same order of examples; raises ValueError if place, text or gold label differ."""
    one, other = (rows.sort_values(PLACE, ignore_index=True) for rows in (first, second))
    same = len(one) == len(other) and all(
        one[name].astype("str").equals(other[name].astype("str")) for name in [*PLACE, "text_hash", "gold"]
    )
    if not same:
        raise ValueError(
            f"the runs did not predict the same examples: {len(one)} and {len(other)} rows; both must have the same "
            "task and the same budget of test examples"
        )
    return one, other
