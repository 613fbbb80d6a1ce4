"""Seconds to load the table of 10,000 finished runs, and to print the status of a study of that size.

The files are those that runs of the quickstart's grid would write, but with more seeds and 30 random scores each.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore

from adapt import results
from adapt.checks.run import check_values
from adapt.config import CONF, Config
from adapt.runs import journal
from adapt.runs.labels import science
from adapt.store.keys import digest

RUNS, STUDY, TARGET = 10_000, "quickstart", 3.0
CHAINS = ("[]", "[dapt]", "[tapt]", "[dapt,tapt]")
ADVERSARIES = ("none", "fgm", "pgd")
ATTACKED = (0.0, 0.01, 0.02, 0.05, 0.1)
WORDS = [f"experiment={STUDY}", "pretrain=" + ",".join(CHAINS), "adversary=" + ",".join(ADVERSARIES)]


def run() -> list[str]:
    """Seconds of loading, the first time and later, and of ``adapt status`` as a process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seeds = RUNS // (len(CHAINS) * len(ADVERSARIES)) + 1
        write(root, seeds)
        table, cold = timed(lambda: results.load(root))
        again = [timed(lambda: results.load(root))[1] for _ in range(3)]
        of_study, cold_study = timed(lambda: results.load(root, STUDY))
        again_study = [timed(lambda: results.load(root, STUDY))[1] for _ in range(3)]
        command = [sys.executable, "-m", "adapt.status", *WORDS, f"seed=range(0,{seeds})", f"runtime.root={root}"]
        said, status = timed(lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        runs = table["run_id"].nunique()
        assert runs == of_study["run_id"].nunique() and f"done     {runs}\n" in said, said
    return [
        f"{runs:,} runs, {len(table):,} rows of {table.shape[1]} columns",
        f"load(root): {statistics.median(again):.2f} s; {cold:.2f} s the first time, when nothing is cached",
        f"load(root, study): {statistics.median(again_study):.2f} s; {cold_study:.2f} s before its labels are cached",
        f"adapt status: {status:.2f} s",
        f"target: each under {TARGET:g} s, except for the first load",
    ]


def write(root: Path, seeds: int) -> None:
    """Write runs, labels and jobs. The library writes one run of each arm; the other seeds are copies of its text."""
    ConfigStore.instance().store(name="schema", node=Config)
    draw = random.Random(0)
    for chain, adversary in itertools.product(CHAINS, ADVERSARIES):
        words = [f"experiment={STUDY}", f"pretrain={chain}", f"adversary={adversary}"]
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = check_values(hydra.compose("config", words))
        first = digest([*words, 0])[:32]
        factors = dict.fromkeys(results.FACTORS, "none") | {"seed": 0, "pretrain": chain, "adversary": adversary}
        at = results.write(
            root, first, evaluation=first, measurements=measurements(draw), factors=factors, config=science(cfg),
            provenance=dict.fromkeys(results.PROVENANCE, "1") | {"dirty": False, "threads": 1}, experiment=STUDY,
        )  # fmt: skip
        with journal.running(root, STUDY, job(words, 0)) as note:
            note["run_id"] = first
        run, label = json.loads(at.read_text()), json.loads((root / "studies" / STUDY / at.name).read_text())
        record = journal.of_study(root, STUDY)[job(words, 0)]
        for seed in range(1, seeds):
            name = digest([*words, seed])[:32]
            labels = label | {"run_id": name, "seed": seed}
            more = {"factors": labels, "config": run["config"] | {"seed": seed}, "measurements": measurements(draw)}
            at.with_name(f"{name}.json").write_text(json.dumps(run | {"run_id": name, "evaluation": name} | more))
            (root / "studies" / STUDY / f"{name}.json").write_text(json.dumps(labels))
            path = journal.record_of(root, STUDY, job(words, seed))
            path.write_text(json.dumps(record | {"run_id": name, "overrides": job(words, seed)}))


def job(words: list[str], seed: int) -> tuple[str, ...]:
    """The overrides that Hydra would give the run."""
    return tuple(sorted([*words, f"seed={seed}"]))


def measurements(draw: random.Random) -> list[dict[str, object]]:
    """30 rows: clean and attacked scores on two splits in three metrics."""
    return [
        {"split": split, "attack": "pgd" if epsilon else "none", "attack_epsilon": epsilon,
         "attack_steps": 10 if epsilon else 0, "metric": metric, "value": draw.random(), "n": 500}
        for split in ("dev", "test") for epsilon in ATTACKED for metric in ("accuracy", "macro_f1", "micro_f1")
    ]  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of the call, and its seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
