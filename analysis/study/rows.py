"""The rows of a study for a command: the rows of record or, with ``--root``, those of runs that are not frozen."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from adapt import results
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS


def parser(command: str, description: str | None, verb: str) -> argparse.ArgumentParser:
    """The parser of ``adapt <command>``; verb: what the command does with a study (draw, report)."""
    arguments = argparse.ArgumentParser(prog=f"adapt {command}", description=description)
    arguments.add_argument("study", help="name of a study: experiments/<study>/results.csv")
    arguments.add_argument("--root", type=Path, help=f"{verb} the runs under this root instead of the rows of record")
    arguments.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    return arguments


def rows(of: argparse.ArgumentParser, given: argparse.Namespace) -> pd.DataFrame:
    """The study's table; if there is no such study, the command ends and lists the studies that exist."""
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
