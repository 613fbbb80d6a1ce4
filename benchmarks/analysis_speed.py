"""The analysis of a study of 100,000 rows, and BCa intervals of 50 cells of 1,000 test examples: seconds and memory.

The rows are those of a grid of chains, adversaries and seeds with random scores, in results.csv and runs.csv like a
frozen study. Studies of many runs are the slow ones: most of the analysis works run by run or row by row.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adapt import results
from adapt.training.costs import forget_peak, peak_resident_bytes
from analysis import comparisons
from analysis.pages import summary
from analysis.stats import examples
from analysis.study import frozen

ROWS, STUDY_TARGET = 100_000, 10.0
CELLS, EXAMPLES, CLASSES, RESAMPLES, BCA_TARGET = 50, 1_000, 16, 10_000, 20.0
CHAINS = ("none", "dapt", "tapt", "dapt+tapt")
ADVERSARIES = ("none", "none_x2", "random", "fgm", "pgd", "vat", "freelb", "smart", "r3f", "rdrop")
RADII = (0.0, 0.01, 0.02, 0.05, 0.1)
CONFIG = 60  # further settings of a run, which are in runs.csv


def run() -> list[str]:
    """Seconds of each part, sums beside their targets, and the growth of the peak resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.csv")
        frozen.save(study(), path)
        table, loading = timed(lambda: frozen.load(path))
        compared, comparing = timed(lambda: comparisons.compare(table))
        _, printing = timed(lambda: summary.format_summary(table))
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((2, EXAMPLES, CELLS)) < 0.8
    gold = rng.integers(0, CLASSES, EXAMPLES)
    answers = np.where(rng.random((EXAMPLES, CELLS)) < 0.8, gold[:, None], rng.integers(0, CLASSES, (EXAMPLES, CELLS)))
    forget_peak()
    before = peak_resident_bytes()
    _, of_difference = timed(lambda: examples.difference_interval(ours, theirs, resamples=RESAMPLES))
    grown = peak_resident_bytes() - before
    _, of_f1 = timed(lambda: examples.macro_f1_interval(gold, answers, CLASSES, resamples=RESAMPLES))
    whole = loading + comparing + printing
    return [
        f"{len(table):,} rows of {table['run_id'].nunique():,} runs, {table.shape[1]} columns; {len(compared)} methods",
        f"frozen.load {loading:.2f} s, compare {comparing:.2f} s, format_summary {printing:.2f} s: {whole:.2f} s "
        f"(target: {STUDY_TARGET:g})",
        f"BCa, {RESAMPLES:,} resamples, {CELLS} cells of {EXAMPLES:,} examples: paired differences "
        f"{of_difference:.2f} s, peak memory {grown / 2**20:,.0f} MiB more",
        f"  macro-F1 of {CLASSES} classes {of_f1:.2f} s, {(peak_resident_bytes() - before) / 2**20:,.0f} MiB more "
        f"(target: {BCA_TARGET:g} s each)",
    ]


def study() -> pd.DataFrame:
    """A table of ROWS rows, or a few more to make whole runs."""
    rng = np.random.default_rng(0)
    a_run = measurements()
    seeds = -(-ROWS // (len(CHAINS) * len(ADVERSARIES) * len(a_run)))
    runs = []
    for chain, adversary, seed in itertools.product(CHAINS, ADVERSARIES, range(seeds)):
        stages = [] if chain == "none" else chain.split("+")
        runs.append(
            {"run_id": f"{chain}-{adversary}-{seed}", "source": "ours", "model": "tiny", "task": "pydoc_topic"}
            | {
                "pretrain": chain,
                "adversary": adversary,
                "seed": seed,
                "adaptation": f"{chain}-of-{seed % 3}" if stages else "none",
            }
            | {"adaptation_seed": "+".join(str(seed % 3) for _ in stages) or "none", "commit": "c0ffee", "dirty": False}
            | {"budget": "quick", "task.metric": "macro_f1", "finetune.method": "full"}
            | {f"finetune.setting_{number:02d}": number / 7 for number in range(CONFIG)}
        )
    table = pd.DataFrame(runs).merge(pd.DataFrame(a_run), how="cross")
    return results.typed(table.assign(value=rng.random(len(table)), experiment="benchmark"))


def measurements() -> list[dict[str, Any]]:
    """The measurements of one run: scores on three splits, an attack at each radius, and costs."""
    clean = {"attack": "none", "attack_epsilon": 0.0, "attack_steps": 0, "n": 500}
    rows = [
        clean | {"split": split, "metric": metric}
        for split in ("dev", "test", "test_clean")
        for metric in ("macro_f1", "accuracy", "loss")
    ]
    rows += [clean | {"split": "train", "metric": metric} for metric in (*summary.COSTS, "steps")]
    attacked = {"split": "test", "attack": "pgd", "attack_steps": 20, "n": 200}
    for epsilon, metric in itertools.product(RADII, ("accuracy", "macro_f1")):
        rows.append(attacked | {"attack_epsilon": epsilon, "metric": metric})
    return rows


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The call's result, and its seconds."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started
