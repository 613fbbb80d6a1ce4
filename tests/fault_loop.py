"""kill -9 at random moments in a small sweep that two processes run at once: ``make faults``.

Both processes do the same runs over one store, from opposite ends. At random moments one of them is killed and started
again until the sweep is complete. Its rows and weights are then compared with those of an undisturbed sweep. This is
repeated until there were enough kills. Prints what was lost, doubled or different, and exits with 1 if anything was.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import chain_runs
from world import make_world, overrides

from adapt import results

ROW = ["run_id", *results.MEASUREMENT_KEY]
POLL = 0.005  # seconds
RUNS = 12  # of a sweep


def words(world: Path, root: Path, seeds: str) -> list[str]:
    """The sweep's command: three chains, two adversaries, two seeds."""
    chains = "pretrain=[],[dapt],[dapt,tapt]"
    saving = ["runtime.checkpoint_seconds=0", "budget.tapt_steps=5"]
    return ["-m", *overrides(world, root), *saving, chains, "adversary=none,fgm", f"seed={seeds}"]


def whole_sweep(world: Path, root: Path) -> float:
    """Run the sweep undisturbed; returns its seconds."""
    started = time.monotonic()
    status = chain_runs.child(words(world, root, "0,1"))
    assert status == 0, f"the undisturbed sweep ended with {status}"
    return time.monotonic() - started


def disturbed_sweep(world: Path, root: Path, between: float, draw: random.Random) -> int:
    """Run the sweep in two processes, one of which is killed after up to ``between`` seconds; returns the kills."""
    commands = {order: words(world, root, order) for order in ("0,1", "1,0")}
    running = {chain_runs.start(command): order for order, command in commands.items()}
    kills, due = 0, time.monotonic() + draw.uniform(0, between)
    while running:
        time.sleep(POLL)
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0, f"a process ended with {status} of itself"
            del running[ended]
        elif time.monotonic() > due and len(list(root.glob("runs/*.json"))) < RUNS:  # what is left only looks it up
            victim = draw.choice(sorted(running))
            os.kill(victim, signal.SIGKILL)
            _, status = os.waitpid(victim, 0)
            order = running.pop(victim)
            if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:  # it may just have finished
                kills += 1
                running[chain_runs.start(commands[order])] = order
            due = time.monotonic() + draw.uniform(0, between)
    return kills


def differences(undisturbed: Path, root: Path) -> Counter[str]:
    """What the disturbed sweep lacks, has twice, or has different."""
    expected, disturbed = (results.load(each, "adhoc") for each in (undisturbed, root))
    wanted, there = ({tuple(row) for row in table[ROW].itertuples(index=False)} for table in (expected, disturbed))
    weights, others = chain_runs.weights_of(undisturbed), chain_runs.weights_of(root)
    return Counter(
        {
            "rows lost": len(wanted - there),
            "rows doubled": int(disturbed.duplicated(ROW).sum()) + len(there - wanted),
            "tables differing": int(not results.same_rows(expected, disturbed)),
            "weights differing": sum(weights.get(name) != others.get(name) for name in weights.keys() | others.keys()),
            "stages left unfinished": len(list(root.glob("store/*/.*.unfinished"))),
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Repeat until there were enough kills; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="at least so many (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, which depend on the machine as well")
    args = parser.parse_args(arguments)
    draw, kills, sweeps, total = random.Random(args.seed), 0, 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        world, undisturbed = Path(folder, "world"), Path(folder, "undisturbed")
        make_world(world)
        seconds = whole_sweep(world, undisturbed)
        print(f"an undisturbed sweep of {RUNS} runs takes {seconds:.0f} s", flush=True)
        while kills < args.kills:
            root = Path(folder, f"sweep-{sweeps}")
            kills += disturbed_sweep(world, root, seconds / 4, draw)
            sweeps += 1
            total.update(differences(undisturbed, root))
            print(f"{kills} kills, {sweeps} sweeps, differences: {sum(total.values())}", flush=True)
    print(f"kills survived: {kills}, in {sweeps} sweeps of {RUNS} runs by two processes each")
    print(", ".join(f"{name}: {number}" for name, number in total.items()))
    return int(any(total.values()))


if __name__ == "__main__":
    sys.exit(main())
