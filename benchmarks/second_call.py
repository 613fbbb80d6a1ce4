"""The quickstart's grid at the smoke budget, run twice: what is trained, and how long a finished run takes.

72 runs over 4 chains; the second call must train nothing and give the same rows.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from adapt import results

TARGET = 0.1  # seconds per finished run, without Hydra's own time for a job


def run() -> list[str]:
    """Counts of trained stages, and seconds per finished run, as the runs log them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first, first_seconds = call(root)
        trained = {kind: len(list(root.glob(f"store/{kind}/*/stage.json"))) for kind in ("pretrain", "finetune")}
        table = results.load(root)
        built = sorted(root.glob("store/*/*/stage.json"), key=str)
        times = [path.stat().st_mtime_ns for path in built]
        second, second_seconds = call(root)
        again = sorted(root.glob("store/*/*/stage.json"), key=str)
        unchanged = built == again and times == [path.stat().st_mtime_ns for path in again]
        own = seconds_of_runs(second).values()
        same = results.same_rows(table, results.load(root))
        return [
            f"{len(own)} runs trained {trained['pretrain']} adaptations and {trained['finetune']} fine-tunings",
            f"first call {first_seconds:.0f} s, second {second_seconds:.0f} s",
            f"a finished run costs {sum(own) / len(own):.3f} s, at most {max(own):.2f} (target: {TARGET})",
            f"second call trained nothing: {unchanged}; same rows: {same}",
        ]


def call(root: Path, overrides: Sequence[str] = (), budget: str = "smoke") -> tuple[str, float]:
    """Output and seconds of the quickstart's sweep; overrides: for another grid."""
    where = [f"runtime.root={root}", "runtime.progress=false"]
    command = [sys.executable, "-m", "adapt", "experiment=quickstart", f"budget={budget}", *overrides, *where]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr, time.perf_counter() - started


def seconds_of_runs(output: str) -> dict[str, float]:
    """The seconds that each run logged at its end, by run id, in order; without composing and validating the config."""
    return {run_id: float(seconds) for run_id, seconds in re.findall(r"(\w+) finished in ([\d.]+) s", output)}
