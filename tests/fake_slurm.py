"""The part of SLURM that submitit uses, on this machine: sbatch of a job array, srun, sacct, and scontrol requeue.

``install(folder)`` writes the commands; each calls this file with its name. A job that asks to be queued again is run
again after it has ended.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ARRAY = "77"


def install(folder: Path) -> None:
    """Write the four commands into the folder, to be put in front of PATH."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        command.chmod(0o755)


def sbatch(script: str) -> None:
    array = re.search(r"^#SBATCH --array=0-(\d+)", Path(script).read_text(), re.MULTILINE)
    assert array is not None, "only arrays"
    for task in range(int(array[1]) + 1):
        command = [sys.executable, __file__, "job", script, str(task)]
        subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {ARRAY}")


def job(script: str, task: str) -> None:
    marker = Path(script).with_name(f"requeue_{ARRAY}_{task}")
    again = True
    while again:
        names = {"SLURM_JOB_ID": f"8{task}", "SLURM_ARRAY_JOB_ID": ARRAY, "SLURM_ARRAY_TASK_ID": task}
        numbers = dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
        counts = dict.fromkeys(("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"), "1")
        where = {"FAKE_REQUEUE": str(marker), "FAKE_LOG": str(marker.with_suffix(".log"))}
        subprocess.run(["bash", script], env={**os.environ, **names, **numbers, **counts, **where}, check=False)
        again = marker.exists()
        marker.unlink(missing_ok=True)


def srun(*arguments: str) -> None:
    program = next(i for i, word in enumerate(arguments) if os.access(word, os.X_OK) and Path(word).is_file())
    log = os.open(os.environ["FAKE_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execv(arguments[program], arguments[program:])


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")


def scontrol(what: str, job_id: str) -> None:
    assert (what, job_id.partition("_")[0]) == ("requeue", ARRAY)
    Path(os.environ["FAKE_REQUEUE"]).touch()


if __name__ == "__main__":
    {"sbatch": sbatch, "job": job, "srun": srun, "sacct": sacct, "scontrol": scontrol}[sys.argv[1]](*sys.argv[2:])
