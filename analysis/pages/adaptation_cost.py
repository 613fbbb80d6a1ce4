"""What each chain's pretraining costs and what it gains, as a Markdown page (Gururangan et al., 2020, table 9)."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, markdown
from analysis.adaptation import CONTEXT, context_label, contexts, of
from analysis.cells import NotInTable

TRAINED = {"steps": "steps", "tokens": "tokens trained on", "train_seconds": "seconds"}  # split <stage>/train
READ = {"documents": "documents", "bytes": "storage (MB)"}  # split <stage>/text
COLUMNS = [*TRAINED.values(), *READ.values()]


def report(table: pd.DataFrame) -> str:
    """A table for each model and task: one line per chain, cheapest first. Raises NotInTable if none is adapted."""
    of_runs = costs(table)
    chains = of_runs.groupby([*CONTEXT, "pretrain"], sort=False)[[*COLUMNS, "score"]].mean().reset_index()
    parts = [
        "# What adaptation costs",
        "Means over the runs, the stages of a chain added up (one that several chains begin with is trained once "
        "all the same); fine-tuning is the same for all and not counted. Seconds hold for the machine and "
        "its load. Documents and storage are of the text that is read, as token ids on disk.",
    ]
    for context in contexts(chains):
        rows = of(chains, context)
        score = f"{cells.display(of_runs.loc[of_runs['task'] == context[1], 'metric'].iloc[0])} on test"
        lines = [_line(chain, score) for _, chain in rows.sort_values(["tokens trained on", "pretrain"]).iterrows()]
        parts += [f"## {context_label(context)}", markdown.table(lines, words=("chain",))]
    return "\n\n".join(parts) + "\n"


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """One row per run: run_id, CONTEXT, pretrain, COLUMNS summed over its pretraining stages, metric, score on test.

    A run without adaptation costs 0. A cost that was not measured is NaN.
    """
    table = table[~cells.is_baseline_model(table) & (table["adversary"] == "none")]
    if table.empty or (table["pretrain"] == "none").all():
        raise NotInTable("no chain with pretraining under plain fine-tuning")
    stage, _, part = (table["split"].str.partition("/")[column] for column in (0, 1, 2))
    of_chain = [
        name in chain.split("+") for name, chain in zip(stage, table["pretrain"].str.partition("/")[0], strict=True)
    ]
    rows = table[of_chain]
    part = part[of_chain]
    measured = rows[((part == "train") & rows["metric"].isin(TRAINED)) | ((part == "text") & rows["metric"].isin(READ))]
    sums = measured.groupby(["run_id", "metric"])["value"].sum().unstack().rename(columns=TRAINED | READ)
    runs = cells.scores(table)[["run_id", *CONTEXT, "pretrain", "metric", "value"]].rename(columns={"value": "score"})
    joined = runs.join(sums.reindex(columns=COLUMNS), on="run_id")
    joined["storage (MB)"] /= 1e6
    unadapted = joined["pretrain"] == "none"
    joined.loc[unadapted, COLUMNS] = 0.0
    return joined


def _line(chain: pd.Series, score: str) -> dict[str, str]:
    numbers = {column: _number(chain[column], 1 if column.startswith("storage") else 0) for column in COLUMNS}
    return {"chain": cells.series_label(chain["pretrain"]), **numbers, score: f"{chain['score']:.3f}"}


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:,.{digits}f}"
