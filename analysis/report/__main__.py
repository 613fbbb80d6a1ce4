"""Write a study's report as one HTML file, from its rows alone.

From experiments/<study>/results.csv into experiments/<study>/report.html; or, with --root, from the runs under a root
(the working tree may be dirty) into <root>/reports/<study>.html.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adapt import results
from analysis import frozen
from analysis.cells import NotInTable
from analysis.record import EXPERIMENTS
from analysis.report import page


def main(arguments: list[str] | None = None) -> int:
    """``make report``."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__)
    parser.add_argument("study", help="name of a study: experiments/<study>/results.csv")
    parser.add_argument("--root", type=Path, help="report the runs under this root instead of the rows of record")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    given = parser.parse_args(arguments)
    if given.root is not None:
        known = results.studies(given.root)
        if given.study not in known:
            parser.error(f"no runs of study {given.study!r} under {given.root}; studies with runs: {known}")
        table, path = results.load(given.root, given.study), given.root / "reports" / f"{given.study}.html"
    else:
        csv = given.experiments / given.study / "results.csv"
        if not csv.exists():
            known = sorted(found.parent.name for found in given.experiments.glob("*/results.csv"))
            parser.error(f"no {csv}: `python -m analysis.tables {given.study}` makes it; studies with rows: {known}")
        table, path = frozen.load(csv), csv.with_name("report.html")
    try:
        text = page(table, given.study)
    except NotInTable as reason:
        parser.error(f"nothing to report of {given.study!r}: {reason}")
    path.parent.mkdir(parents=True, exist_ok=True)
    results.replace(path, text)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
