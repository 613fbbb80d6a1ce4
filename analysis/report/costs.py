"""What a study cost: fine-tuning by cell, each stage of pretraining once, and the sum."""

from __future__ import annotations

import pandas as pd

from analysis import cells
from analysis.report import html
from analysis.report.html import Cell, Html, element
from analysis.report.scores import factors, headings, varying

FORMATS = {
    "train_seconds": ("train seconds", ",.1f"),
    "steps": ("steps", ",.0f"),
    "tokens": ("tokens", ",.0f"),
    "forward_passes": ("forward passes", ",.0f"),
    "backward_passes": ("backward passes", ",.0f"),
    "delta_backward_passes": ("passes to the perturbation", ",.0f"),
    "peak_memory_bytes": ("peak memory, MB", ",.0f"),
    "training_memory_bytes": ("of that for training, MB", ",.0f"),
    "checkpoint_bytes": ("to keep, MB", ",.3f"),
    "trainable_parameters": ("trainable parameters", ",.0f"),
    "documents": ("documents read", ",.0f"),
    "bytes": ("storage, MB", ",.1f"),
}
MEGABYTES = {"peak_memory_bytes", "training_memory_bytes", "checkpoint_bytes", "bytes"}


def costs(table: pd.DataFrame) -> Html:
    """Tables of what was counted and measured; a sentence if nothing was."""
    stages = _stages(table)
    parts = [_fine_tuning(table), _pretraining(stages)]
    if not any(parts):
        return element("p", "The rows of this study hold no cost.")
    note = "Seconds hold for the machine and its load; passes, steps and tokens do not depend on it."
    return html.joined([element("p", note), element("p", _sum(table, stages)), *(part or None for part in parts)])


def _sum(table: pd.DataFrame, stages: pd.DataFrame) -> str:
    seconds = {
        "fine-tuning": table.loc[(table["split"] == "train") & (table["metric"] == "train_seconds"), "value"].sum(),
        "pretraining (each stage once)": stages["train_seconds"].sum() if "train_seconds" in stages else 0.0,
        "attacks": table.loc[table["metric"] == "attack_seconds", "value"].sum(),
    }
    told = [f"{what} {spent / 3600:.2f} h" for what, spent in seconds.items() if spent]
    return f"Measured in all: {', '.join(told)}." if told else "No time was measured."


def _fine_tuning(table: pd.DataFrame) -> Html | None:
    rows = table[(table["split"] == "train") & table["metric"].isin(FORMATS)]
    if rows.empty:
        return None
    columns = cells.cell_columns(table)
    names = headings(varying(table.drop_duplicates("run_id"), table))
    means = rows.groupby([*columns, "metric"], dropna=False)["value"].mean().unstack().reset_index()
    lines = [factors(cell, names) | _numbers(cell, means) for _, cell in cells.ordered(means, columns).iterrows()]
    return html.table(lines, "Fine-tuning: means over the runs of a cell", names.values())


def _stages(table: pd.DataFrame) -> pd.DataFrame:
    """One row per trained stage of pretraining: model, task, stage and its counts.

    Runs that share a stage repeat its rows, so a stage is identified by its numbers: seconds never agree by chance.
    """
    rows = table[table["metric"].isin(FORMATS)]
    parts = rows["split"].str.extract(r"^(?P<stage>(?!text/)[^/]+)/(?P<part>train|text)$")
    rows = rows.assign(stage=parts["stage"], part=parts["part"])[parts["stage"].notna()]
    if rows.empty:
        return pd.DataFrame(columns=["model", "task", "stage"])
    rows = rows[~((rows["part"] == "text") & (rows["metric"] == "tokens"))]  # the tokens trained on are counted
    of_run = rows.pivot_table(index=["model", "task", "stage", "run_id"], columns="metric", values="value")
    return of_run.reset_index().drop(columns="run_id").drop_duplicates(ignore_index=True)


def _pretraining(stages: pd.DataFrame) -> Html | None:
    if stages.empty:
        return None
    groups = stages.groupby(["model", "task", "stage"])
    means = groups.mean().join(groups.size().rename("trained")).reset_index()
    lines: list[dict[str, Cell]] = [
        {name: cells.display(stage[name]) for name in ("model", "task", "stage")}
        | {"trained": html.number(stage["trained"], "d")}
        | _numbers(stage, means)
        for _, stage in cells.ordered(means, ["model", "task", "stage"]).iterrows()
    ]
    return html.table(lines, "Pretraining: means over the times that a stage was trained", ("model", "task", "stage"))


def _numbers(row: pd.Series, of: pd.DataFrame) -> dict[str, Cell]:
    return {
        heading: html.number(row[name] / (1e6 if name in MEGABYTES else 1.0), form)
        for name, (heading, form) in FORMATS.items()
        if name in of.columns
    }
