"""A study as one HTML file that opens from disk: verdicts first, then the evidence. ``adapt report`` writes it.

It loads nothing from elsewhere, and its content security policy forbids it. Same table, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

import pandas as pd

from analysis import cells, tables, tuning
from analysis.caveats import caveats
from analysis.report import configs, costs, drawings, html, leaks, pages, provenance, samples, scores, verdicts
from analysis.report.html import Html, element

NO_CAVEAT = (
    "None of those that are looked for: a dirty tree, several commits or machines, a failed check of an attack, "
    "missing seeds."
)


def page(table: pd.DataFrame, study: str, written: pd.DataFrame | None = None) -> str:
    """The report of a study's rows. Raises NotInTable for a table without scores on test.

    written: the samples of its language models (analysis.study.samples), if there are any.
    """
    whole = table
    table, choice = tuning.settled(whole)
    summary = tables.summary(table)
    compared = scores.compared(table)
    notes = [note for note in (choice, *caveats(table)) if note]
    score_tables = html.joined([scores.by_cell(table, summary), scores.differences(compared) if compared else None])
    parts = [
        ("verdicts", "What may be said", verdicts.verdicts(compared)),
        ("caveats", "Caveats", html.listed(notes) if notes else element("p", NO_CAVEAT)),
        ("tables", "Scores and differences", score_tables),
        ("figures", "Figures", drawings.drawn(whole)),
        *pages.sections(whole),
        *([("samples", "Samples", samples.samples(whole, written))] if written is not None and len(written) else []),
        ("leaks", "Leaks", leaks.leaks(whole)),
        ("cost", "Cost", costs.costs(whole)),
        ("provenance", "Provenance", provenance.provenance(whole)),
        ("configs", "Settings", configs.configs(whole)),
    ]
    return _document(study, _in_short(table, len(summary), whole["run_id"].nunique()), parts)


def _in_short(table: pd.DataFrame, n_cells: int, n_runs: int) -> str:
    """What was run, in a sentence; n_runs: all runs of the study, of which a tuned study reports only some."""
    runs = table.drop_duplicates("run_id")
    seeds = runs["seed"].nunique()
    models, tasks = (", ".join(map(cells.display, sorted(runs[name].unique()))) for name in ("model", "task"))
    written = provenance.dates(runs)
    of_all = "" if len(runs) == n_runs else f" (chosen on dev among {n_runs})"
    text = f"{len(runs)} runs{of_all} in {n_cells} cells over {seeds} seed{'' if seeds == 1 else 's'}"
    return f"{text}; task: {tasks}; model: {models}" + (f"; written {written}." if written else ".")


def _document(study: str, lead: str, parts: list[tuple[str, str, Html]]) -> str:
    style, script = (
        resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("style.css", "script.js")
    )
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{study}: report"),
        element("style", Html(style)),
    )
    links = [element("a", title, href=f"#{name}") for name, title, _ in parts]
    body = element(
        "body",
        element("a", "Skip to the verdicts", href="#verdicts", class_="skip"),
        element("header", element("h1", study), element("p", lead)),
        element("nav", html.listed(links), aria_label="Contents"),
        element("main", *(html.section(name, title, content) for name, title, content in parts)),
        element("script", Html(script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _hash(text: str) -> str:
    """The hash by which the page's policy allows exactly this text as style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
