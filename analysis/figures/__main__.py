"""Draw every figure of this folder for one study, as PNG and PDF, from its rows alone.

From experiments/<study>/results.csv into experiments/<study>/figures/; or, with --root, from the runs under a root
(the working tree may be dirty) into <root>/figures/<study>/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from adapt import results
from analysis import figures, frozen, style, tuning
from analysis.caveats import caveats
from analysis.cells import NotInTable
from analysis.record import EXPERIMENTS


def draw_all(table: pd.DataFrame, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Write every figure that a table with all trials carries. Returns the files, and the reasons of the others."""
    written: list[Path] = []
    not_drawn: dict[str, str] = {}
    for module, drawn in figures.every(table):
        if isinstance(drawn, NotInTable):
            not_drawn[figures.name_of(module)] = str(drawn)
        else:
            written += style.save(drawn, folder / figures.name_of(module))
    return written, not_drawn


def main(arguments: list[str] | None = None) -> int:
    """``make figures``."""
    parser = argparse.ArgumentParser(prog="python -m analysis.figures", description=__doc__)
    parser.add_argument("study", help="name of a study: experiments/<study>/results.csv")
    parser.add_argument("--root", type=Path, help="draw the runs under this root instead of the rows of record")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    given = parser.parse_args(arguments)
    if given.root is not None:
        known = results.studies(given.root)
        if given.study not in known:
            parser.error(f"no runs of study {given.study!r} under {given.root}; studies with runs: {known}")
        table, folder = results.load(given.root, given.study), given.root / "figures" / given.study
    else:
        csv = given.experiments / given.study / "results.csv"
        if not csv.exists():
            known = sorted(path.parent.name for path in given.experiments.glob("*/results.csv"))
            parser.error(f"no {csv}: `python -m analysis.tables {given.study}` makes it; studies with rows: {known}")
        table, folder = frozen.load(csv), csv.parent / "figures"
    written, not_drawn = draw_all(table, folder)
    for path in written:
        print(path)
    for name, reason in not_drawn.items():
        print(f"{name}: not drawn: {reason}")
    settled, choice = tuning.settled(table)
    for note in filter(None, [choice, *caveats(settled)]):
        print(note)
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
