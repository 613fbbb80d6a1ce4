"""The rows of a study that a command asks for: those of record or, with ``--root``, those of runs not frozen."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from adapt import results
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS


def parser(command: str, description: str | None, verb: str) -> argparse.ArgumentParser:
    """The command line of ``adapt <command>``, which ``verb``s (draws, reports) a study."""
    found = argparse.ArgumentParser(prog=f"adapt {command}", description=description)
    found.add_argument("study", help="name of a study: experiments/<study>/results.csv")
    found.add_argument("--root", type=Path, help=f"{verb} the runs under this root instead of the rows of record")
    found.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    return found


def rows(of: argparse.ArgumentParser, given: argparse.Namespace) -> pd.DataFrame:
    """The study's table; a study that is not there ends the command with those that are."""
    if given.root is not None:
        known = results.studies(given.root)
        if given.study not in known:
            of.error(f"no runs of study {given.study!r} under {given.root}; studies with runs: {known}")
        return results.load(given.root, given.study)
    csv = given.experiments / given.study / "results.csv"
    if not csv.exists():
        known = sorted(path.parent.name for path in given.experiments.glob("*/results.csv"))
        of.error(f"no {csv}: `adapt table {given.study}` makes it; studies with rows: {known}")
    return frozen.load(csv)
