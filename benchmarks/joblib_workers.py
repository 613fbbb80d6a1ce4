"""Runs per hour of two processes with one thread each (hydra/launcher=processes) against one process with two threads.

Small models at batch 16 do not keep two threads busy, so two runs side by side finish sooner than one after the other.
Each side has its own store, and is timed from the start of its command to its end, including imports.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

TARGET, RUNS, BUDGET = 1.2, 16, "quick"
SIDES = {
    "one process of two threads": ["runtime.threads=2"],
    "two workers of a thread": ["hydra/launcher=processes", "hydra.launcher.n_jobs=2", "runtime.threads=1"],
}


def run() -> list[str]:
    """Runs per hour of each side, and their ratio."""
    if find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        return ["hydra-joblib-launcher is not installed: pip install adapt[joblib]"]
    hourly = {name: RUNS / hours(overrides) for name, overrides in SIDES.items()}
    one, two = hourly.values()
    shown = ", ".join(f"{name}: {runs:,.0f} runs per hour" for name, runs in hourly.items())
    return [f"tiny, batch 16, {RUNS} runs, budget={BUDGET}", shown, f"{two / one:.2f} times (target: {TARGET})"]


def hours(overrides: list[str]) -> float:
    """Hours of the whole command, which fine-tunes once per run; the data stages are built before."""
    with tempfile.TemporaryDirectory() as root:
        same = [
            *(f"budget={BUDGET}", "pretrain=[]", "adversary=none", "evaluate=clean", "finetune.batch_size=16"),
            *("finetune.micro_batch_size=16", f"runtime.root={root}", "runtime.progress=false"),
        ]
        command([*same, "seed=1000"])
        started = time.perf_counter()
        command(["-m", *same, f"seed=range(0,{RUNS})", *overrides])
        assert len(list(Path(root).glob("runs/*.json"))) == RUNS + 1
        return (time.perf_counter() - started) / 3600


def command(arguments: list[str]) -> None:
    """Run ``adapt``."""
    subprocess.run([sys.executable, "-m", "adapt", *arguments], check=True, capture_output=True)
