"""A factorial sweep in one process: 4 chains x 3 adversaries x 4 seeds, against 48 chains trained one by one.

The one-by-one side is counted, not run: each run's rows hold the training seconds of every stage of its chain.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapt import results
from benchmarks import second_call

GRID = ["pretrain=[],[dapt],[tapt],[dapt,tapt]", "adversary=none,fgm,pgd", "seed=0,1,2,3"]
BUDGET = "smoke"
OVERHEAD, SKIPPED = 1.0, 0.1  # targets in seconds per run: on top of its stages; to skip a finished run


def run() -> list[str]:
    """What was trained, how much training was saved, and what a run costs beyond its stages."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        said, whole = second_call.call(root, GRID, BUDGET)
        logged = second_call.seconds_of_runs(said)
        built = {stage["key"]: stage for stage in map(read, root.glob("store/*/*/stage.json"))}
        beyond = [seconds - own for seconds, own in zip(logged.values(), built_by(root, logged, built), strict=True)]
        trained = sum(row["value"] for one in built.values() for row in one["rows"] if row["metric"] == "train_seconds")
        adapted = sum(stage["kind"] == "pretrain" for stage in built.values())
        rows = results.load(root)
        separate = rows.loc[rows["metric"] == "train_seconds", "value"].sum()
        again = second_call.seconds_of_runs(second_call.call(root, GRID, BUDGET)[0]).values()
    runs = len(logged)
    return [
        f"{runs} runs trained {adapted} pretraining stages (target: 3) in {whole:.0f} s",
        f"training: {separate:.1f} s in {runs} separate chains, {trained:.1f} s in the sweep: "
        f"{separate / trained:.2f} times as much",
        f"a run costs {statistics.median(beyond):.3f} s beyond its stages (target: {OVERHEAD}); "
        f"the first, with imports, {beyond[0]:.1f}",
        f"a finished run is skipped in {sum(again) / runs:.3f} s, at most {max(again):.2f} (target: {SKIPPED})",
    ]


def built_by(root: Path, run_ids: Iterable[str], built: dict[str, dict[str, Any]]) -> list[float]:
    """For each run, in order, the seconds of its stages that no earlier run had built."""
    seen: set[str] = set()
    stages = []
    for run_id in run_ids:
        last = read(results.evaluation(root, run_id) / "stage.json")
        keys = {last["key"], *(stage["key"] for stage in last["ancestors"])} - seen
        seen |= keys
        stages.append(sum(built[key]["seconds"] for key in keys))
    return stages


def read(path: Path) -> dict[str, Any]:
    """A JSON file's content."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content
