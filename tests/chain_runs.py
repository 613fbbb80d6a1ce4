"""Runs chains in child processes, some of which are killed. The parent imports once, because imports take seconds.

Called by runs/test_kill.py as a script: python chain_runs.py <world> <folder>. Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from world import overrides

from adapt import __main__, results
from adapt.runs import journal
from adapt.stages import evaluate, finetune, pretrain  # noqa: F401 - finetune: imported here once for all children
from adapt.store import entries
from adapt.training import loop

torch.set_num_threads(1)
CHAIN = [
    "pretrain=[dapt,tapt]",
    "adversary=fgm",
    "runtime.checkpoint_seconds=0",
    "budget.epochs=2",
    "budget.tapt_steps=5",
]


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def at_step(name: str, number: int, act: Callable[[], None] = die) -> Callable[[], None]:
    """Die in mid-training, at step ``number``, after the checkpoint of the step before; or do something else then."""

    def arm() -> None:
        original = loop.advance

        def advance(progress, step, loss, seconds):
            original(progress, step, loss, seconds)
            if progress.step == number and current[-1] == name:
                act()

        current: list[str] = []
        train = loop.train

        def named(*args, **kwargs):
            current.append(kwargs["name"])
            return train(*args, **kwargs)

        loop.advance, loop.train = advance, named

    return arm


def between_stages() -> None:
    """Die when the first pretraining stage is complete and the second has not begun."""
    original = pretrain.pretrain
    calls: list[int] = []

    def second_dies(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            die()
        return original(*args, **kwargs)

    pretrain.pretrain = second_dies


def in_evaluation() -> None:
    evaluate.attacked = lambda *args, **kwargs: die()


def before_the_rename() -> None:
    """Die when a stage's files are complete but its folder is not yet in place."""
    original = os.replace

    def replace(source, target):
        if Path(target).parent.name == "finetune":
            die()
        original(source, target)

    entries.os.replace = replace


def while_rows_are_written() -> None:
    original = os.replace

    def replace(source, target):
        if Path(target).parent.name == "runs":
            die()
        original(source, target)

    results.os.replace = replace


MOMENTS: dict[str, Callable[[], None]] = {
    "in pretraining": at_step("dapt", 2),
    "in the second pretraining": at_step("tapt", 3),
    "between stages": between_stages,
    "in fine-tuning": at_step("finetune", 3),
    "before a stage's rename": before_the_rename,
    "in evaluation": in_evaluation,
    "while rows are written": while_rows_are_written,
}
STOPS = {"dapt": (signal.SIGUSR1, 2), "finetune": (signal.SIGTERM, 3)}  # a training -> told so to stop, in which step


def taken(file: Path) -> Callable[[], None]:
    """Write the number of each training step into the file."""

    def arm() -> None:
        original = loop.advance

        def advance(progress, *rest):
            original(progress, *rest)
            with file.open("a") as stream:
                stream.write(f"{progress.step} ")

        loop.advance = advance

    return arm


def stopped(world: Path, root: Path, name: str) -> dict:
    """A chain that is told to stop in the training called ``name``, before it would write a checkpoint by itself."""
    number, step = STOPS[name]
    arguments = [*overrides(world, root), *CHAIN, "runtime.checkpoint_seconds=1000000"]
    killed = child(arguments, at_step(name, step, lambda: die(number)))
    (file,) = root.glob(f"store/*/.*.unfinished/checkpoint/{name}.latest.pt")
    saved = torch.load(file, weights_only=True)["progress"]["step"]
    states = [job["state"] for job in journal.of_study(root, "adhoc").values()]
    status = child(arguments, taken(root / "taken"))
    return {
        "killed": killed,
        "saved": saved,
        "states": states,
        "status": status,
        "resumed_at": int((root / "taken").read_text().split()[0]) - 1,
    }


def child(arguments: list[str], arm: Callable[[], None] | None = None) -> int:
    """Run the command in a forked process; returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(start(arguments, arm), 0)[1])


def start(arguments: list[str], arm: Callable[[], None] | None = None) -> int:
    """Start the command in a forked process; returns the process id."""
    gc.freeze()  # what was imported is no garbage: each training of a child would search it
    pid = os.fork()
    if pid == 0:
        sys.argv = ["adapt", *arguments]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
        try:
            if arm is not None:
                arm()
            __main__.main()
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    return pid


def weights_of(root: Path) -> dict[str, str]:
    """The hash of every weight file, by its stage's key."""
    return {
        str(path.relative_to(root)): entries.file_hash(path) for path in sorted(root.glob("store/*/*/*.safetensors"))
    }


def main(world: Path, folder: Path) -> None:
    whole = folder / "whole"
    moments: dict[str, dict] = {"whole": {"status": child([*overrides(world, whole), *CHAIN])}}
    table, weights = results.load(whole), weights_of(whole)
    for moment, arm in MOMENTS.items():
        root = folder / moment.replace(" ", "_").replace("'", "")
        killed = child([*overrides(world, root), *CHAIN], arm)
        rows_left = len(list(root.glob("runs/*.json")))
        status = child([*overrides(world, root), *CHAIN])
        moments[moment] = {
            "killed": killed,
            "rows_left": rows_left,
            "status": status,
            "same_rows": bool(results.same_rows(table, results.load(root))),
            "same_weights": weights_of(root) == weights,
            "left_behind": [str(path) for path in root.glob("store/*/.*.unfinished")],
        }
    stops = {}
    for name in STOPS:
        root = folder / f"stopped_{name}"
        stops[name] = stopped(world, root, name) | {
            "same_rows": bool(results.same_rows(table, results.load(root))),
            "same_weights": weights_of(root) == weights,
        }
    print(json.dumps({"moments": moments, "stops": stops, "weights": len(weights), "rows": len(table)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
