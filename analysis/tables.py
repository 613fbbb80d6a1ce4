"""Tables: ``adapt table <study>`` freezes a study's rows, prints a summary, and writes its pages.

Rows of runs whose sources a commit holds are merged into experiments/<study>/results.csv, and their predictions into
predictions.parquet beside it. Then it writes the paper's table (table.tex, table.md and table.csv) and those pages for
which there are rows: equal_cost.md, adaptation_cost.md, contrasts.md, beside_published.md, metrics.md, tuning.md.
Everything but the merge works without the runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from adapt import results
from analysis import cells, literature, tuning
from analysis.caveats import caveats as caveats
from analysis.caveats import missing
from analysis.pages import (
    adaptation_cost,
    all_metrics,
    contrasts,
    equal_cost,
    paper_formats,
    paper_tables,
)
from analysis.pages import (
    tuning as tuning_report,
)
from analysis.pages.summary import format_summary
from analysis.pages.summary import summary as summary
from analysis.study import samples
from analysis.study.predictions import LIMIT, freeze
from analysis.study.record import EXPERIMENTS, Merge, merge

PAGES = {  # file name: the module whose ``report`` writes it, and what it says
    "equal_cost.md": (equal_cost, "methods against plain training of the same cost"),
    "adaptation_cost.md": (adaptation_cost, "what pretraining costs and brings"),
    "beside_published.md": (literature, "differences beside those that were published"),
    "contrasts.md": (contrasts, "what each step of a chain adds"),
    "metrics.md": (all_metrics, "every metric on test, calibration and the classes among them"),
    "tuning.md": (tuning_report, "the learning rate that each arm keeps"),
}


def main(arguments: list[str] | None = None) -> int:
    """``adapt table``: merge, say what was merged, refused and missing, print the summary, write tables and pages."""
    parser = argparse.ArgumentParser(prog="adapt table", description=__doc__)
    parser.add_argument("study", help="name of a study: experiments/<study>/results.csv")
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    parser.add_argument("--replace", action="store_true", help="replace recorded runs whose numbers have changed")
    parser.add_argument(
        "--predictions-megabytes",
        type=float,
        default=LIMIT,
        help=f"the largest predictions.parquet (default: {LIMIT:g})",
    )
    given = parser.parse_args(arguments)
    study, root = given.study, given.root
    csv = given.experiments / study / "results.csv"
    if study not in results.studies(root) and not csv.exists():
        known = sorted({*results.studies(root), *(p.parent.name for p in given.experiments.glob("*/results.csv"))})
        parser.error(f"no runs of study {study!r} under {root} and no {csv}; studies with rows: {known}")
    outcome = merge(study, root, given.experiments, given.replace)
    print(f"{csv}: {outcome.table['run_id'].nunique()} runs, {len(outcome.table)} rows")
    _say(outcome, given.replace)
    _say_open(*results.grid(root, study))
    if not outcome.table.empty:
        limit = given.predictions_megabytes
        print(f"  predictions: {freeze(study, root, outcome, given.experiments, given.replace, limit)}")
        if asked := samples.freeze(study, root, outcome, given.experiments, given.replace):
            print(f"  samples: of {asked} runs")
    failures = results.failed(root)
    for failure in failures[failures["experiment"] == study].itertuples():
        print(f"  failed: {failure.overrides}: {failure.error} ({failure.path})")
    if outcome.table.empty:
        return 1
    left_out = _left_out(outcome)
    # before the long texts, whose reader may close the pipe
    written = _write_pages(outcome.table, study, csv.parent, left_out)
    print("\n" + format_summary(outcome.table))
    print("\n".join(written))
    return 1 if left_out else 0


def _say(outcome: Merge, replaced: bool) -> None:
    """Print what happened to the runs."""
    print(f"  merged: {len(outcome.merged)} new runs; {len(outcome.same)} were recorded with the same numbers")
    if outcome.superseded:
        print(f"  superseded: {len(outcome.superseded)} runs of older code made room for runs with their settings")
    if outcome.outdated:
        print(f"  outdated: {len(outcome.outdated)} runs have the settings of a run that was made later, which counts")
    if outcome.differ:
        done = "replaced" if replaced else "the recorded ones stay (--replace takes the new ones)"
        print(f"  differ: {len(outcome.differ)} runs are recorded with other numbers: {done}")
    for said in _left_out(outcome):
        print(f"  left out: {said}")
    print(f"  missing: {'; '.join(missing(outcome.table)) or 'no seed of any cell'}")


def _say_open(undone: list[str], planned: int) -> None:
    """Print which runs of the study's grid are not done, if the root knows the grid."""
    if planned:
        named = [f"; {run}" for run in undone[:5]] + ([f"; and {len(undone) - 5} more"] if len(undone) > 5 else [])
        print(f"  not done: {len(undone)} of the {_runs(planned)} of the study's grid{''.join(named)}")


def _left_out(outcome: Merge) -> list[str]:
    """Which runs under the root are not in the table, and what to do about it; a sentence for each reason."""
    said = []
    if outcome.refused:
        some, more = outcome.uncommitted[:5], len(outcome.uncommitted) - 5
        names = ", ".join(some) + (f" and {more} more" if more > 0 else "")
        what = f"these sources of theirs: {names}" if names else "the sources that made them"
        one = f"{_runs(len(outcome.refused))}, because no commit holds {what}"
        said.append(f"{one}. Commit them as they were, and freeze again; nothing is trained again.")
    if outcome.waiting:
        old = _runs(len(outcome.waiting))
        said.append(
            f"all new runs, because {old} on record have keys of another generation and have not been run again; "
            "the study is replaced whole (--replace takes what there is, and drops the others)."
        )
    return said


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"


def pages(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The name and text of each page for which there are rows; table: with all trials.

    A page gets the settled table (analysis.tuning), or all trials if its module says ``ALL_TRIALS = True``.
    """
    settled, _ = tuning.settled(table)
    for name, (module, _) in PAGES.items():
        try:
            text = module.report(table if getattr(module, "ALL_TRIALS", False) else settled)
        except cells.NotInTable:  # the study has nothing of the kind
            continue
        yield name, text


def _write_pages(table: pd.DataFrame, study: str, folder: Path, left_out: list[str]) -> list[str]:
    """Write the pages for which there are rows, and the paper's table in three formats. Returns what to print.

    left_out: what the paper's table says in its notes of runs that are not in it.
    """
    said = []
    for name, text in pages(table):
        (folder / name).write_text(text, encoding="utf-8")
        said.append(f"\n{folder / name}: {PAGES[name][1]}\n\n{text}")
    paper = paper_tables.paper_table(table)
    paper = replace(paper, notes=[*paper.notes, *(f"Left out: {note}" for note in left_out)])
    for name, text in paper_formats.formats(paper, label=study).items():
        (folder / name).write_text(text, encoding="utf-8")
        said.append(f"{folder / name}: for a paper")
    return said


if __name__ == "__main__":
    sys.exit(main())
