"""Run every benchmark of this folder, or those that are named, and print each ratio beside its target."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

THREADS = 2


def main() -> None:
    """Call ``run() -> list[str]`` of each module and print the lines."""
    torch.set_num_threads(THREADS)
    names = sys.argv[1:] or sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    for name in names:
        print(f"== {name} ({THREADS} threads)", flush=True)
        for line in importlib.import_module(f"benchmarks.{name}").run():
            print(f"   {line}", flush=True)


if __name__ == "__main__":
    main()
