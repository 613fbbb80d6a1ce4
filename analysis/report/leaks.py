"""What of the dev and test text stands in training text, and what was taken out of the text for pretraining."""

from __future__ import annotations

import pandas as pd

from analysis import cells
from analysis.report import html
from analysis.report.html import Cell, Html, element

LEVELS = {  # as adapt/data/overlap.py names them, from strict to loose
    "exact": "the same string",
    "normalised": "the same letters and digits",
    "contained": "one text holds 70% of the other's 8-grams",
}
_WHERE = ["task", "split"]


def leaks(table: pd.DataFrame) -> Html:
    """Leaked examples by task, split and level, and the texts that the filter dropped; a sentence where none is known."""
    parts = [_leaked(table), _dropped(table)]
    if not any(parts):
        return element("p", "The rows of this study hold no count of leaks: nothing was measured. That is no proof that "
                            "there are none.")  # fmt: skip
    return html.joined(part or None for part in parts)


def _leaked(table: pd.DataFrame) -> Html | None:
    rows = table[table["split"].str.startswith("leaks/") & table["metric"].str.startswith("leaked_")]
    if rows.empty:
        return None
    rows = rows.assign(split=rows["split"].str.removeprefix("leaks/"), level=rows["metric"].str.removeprefix("leaked_"))
    lines: list[dict[str, Cell]] = []
    for (task, split, level), found in rows.groupby([*_WHERE, "level"], sort=True):
        for (leaked, n), runs in found.groupby(["value", "n"]):
            lines.append({
                "task": cells.display(task), "split": str(split), "level": str(level),
                "means": LEVELS.get(str(level), ""), "leaked": html.number(leaked, "g"),
                "examples": html.number(n, "d"), "share": html.number(leaked / n, ".1%"),
                "runs": html.number(runs["run_id"].nunique(), "d"),
            })  # fmt: skip
    return html.joined([
        element("p", "Examples of dev and test that are held by the training split or by text that pretraining kept. "
                     "A level holds those of the stricter ones too. Where it is not the whole of test, the scores "
                     "on the part without leaks stand beside the others as “unleaked”."),
        html.table(lines, "Leaked examples", ("task", "split", "level")),
    ])  # fmt: skip


def _dropped(table: pd.DataFrame) -> Html | None:
    """What the filter of the text for pretraining kept and dropped."""
    rows = table[table["split"].str.match(r"text/.+/train$")]
    rows = rows[rows["metric"].eq("documents") | rows["metric"].str.startswith("dropped_")]
    if rows.empty:
        return None
    rows = rows.assign(text=rows["split"].str.split("/").str[1])
    per_run = rows.pivot_table(index=["task", "corpus", "text", "run_id"], columns="metric", values="value")
    reasons = sorted(c for c in per_run.columns if c.startswith("dropped_"))
    settings = per_run.fillna(-1.0).reset_index().groupby(["task", "corpus", "text", "documents", *reasons])["run_id"]
    lines = [
        {"task": cells.display(task), "corpus": cells.display(corpus), "text": str(text),
         "kept": html.number(kept, ",.0f")}
        | {name.replace("_", ": ", 1): html.number(count if count >= 0 else None, ",.0f")
           for name, count in zip(reasons, counts, strict=True)}
        | {"runs": html.number(runs, "d")}
        for (task, corpus, text, kept, *counts), runs in settings.nunique().items()
    ]  # fmt: skip
    return html.joined([
        element("p", "Texts for pretraining that were kept, and dropped by reason; “leaks” are those that hold dev or "
                     "test text of the task."),
        html.table(lines, "The filter of the text for pretraining", ("task", "corpus", "text")),
    ])  # fmt: skip
