"""How much dev and test text occurs in training text, and what was removed from the text for pretraining."""

from __future__ import annotations

import pandas as pd

from analysis import cells
from analysis.report import html
from analysis.report.html import Cell, Html, element

LEVELS = {  # as adapt/data/leaks/overlap.py names them, from strict to loose
    "exact": "the same string",
    "normalised": "the same letters and digits",
    "contained": "one text holds 70% of the other's 8-grams",
}
NONE = "The rows of this study hold no count of leaks: nothing was measured, which is no proof that there are none."
LEAKED = (
    "Examples of dev and test that are held by the training split or by text that pretraining kept. A level holds "
    "those of the stricter ones too. Where there are some, the scores on the rest of test stand beside the others as "
    "“unleaked”."
)
DROPPED = "Texts for pretraining, kept and dropped by reason; “leaks” are those that hold dev or test text of the task."


def leaks(table: pd.DataFrame) -> Html:
    """Leaked examples by task, split and level, and the texts that the filter dropped; a sentence if nothing counts."""
    parts = [_leaked(table), _dropped(table)]
    return html.joined(part or None for part in parts) if any(parts) else element("p", NONE)


def _leaked(table: pd.DataFrame) -> Html | None:
    rows = table[table["split"].str.startswith("leaks/") & table["metric"].isin([f"leaked_{name}" for name in LEVELS])]
    if rows.empty:
        return None
    level = pd.Categorical(rows["metric"].str.removeprefix("leaked_"), [*LEVELS], ordered=True)
    rows = rows.assign(split=rows["split"].str.removeprefix("leaks/"), level=level)
    counted = rows.groupby(["task", "split", "level", "value", "n"], observed=True)["run_id"].nunique()
    lines: list[dict[str, Cell]] = [
        {
            "task": cells.display(row["task"]),
            "split": row["split"],
            "level": row["level"],
            "means": LEVELS[row["level"]],
        }
        | {"leaked": html.number(row["value"], ",.0f"), "examples": html.number(row["n"], ",.0f")}
        | {"share": html.number(row["value"] / row["n"], ".1%"), "runs": html.number(row["run_id"], "d")}
        for _, row in counted.reset_index().iterrows()
    ]
    return html.joined([element("p", LEAKED), html.table(lines, "Leaked examples", ("task", "split", "level"))])


def _dropped(table: pd.DataFrame) -> Html | None:
    """How many texts for pretraining the filter kept and dropped."""
    rows = table[table["split"].str.fullmatch(r"text/[^/]+/train")]
    rows = rows[rows["metric"].eq("documents") | rows["metric"].str.startswith("dropped_")]
    if rows.empty:
        return None
    where = ["task", "corpus", "text"]
    rows = rows.assign(text=rows["split"].str.split("/").str[1])
    of_run = rows.pivot_table(index=[*where, "run_id"], columns="metric", values="value").reset_index()
    counts = [name for name in of_run.columns if name == "documents" or name.startswith("dropped_")]
    alike = of_run.groupby([*where, *counts], dropna=False)["run_id"].nunique().reset_index()
    lines: list[dict[str, Cell]] = [
        {name: cells.display(row[name]) for name in where}
        | {_heading(name): html.number(row[name], ",.0f") for name in counts}
        | {"runs": html.number(row["run_id"], "d")}
        for _, row in alike.iterrows()
    ]
    return html.joined([element("p", DROPPED), html.table(lines, "The filter of the text for pretraining", where)])


def _heading(count: str) -> str:
    return "kept" if count == "documents" else count.replace("_", ": ", 1)
