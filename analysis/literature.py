"""Published results, and a study's results beside those that were published for the same task and chain.

They come from other models on other text: a published difference does not predict ours, but shows what is known.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pandas as pd

from adapt import results
from analysis import cells, comparisons, literature_domains, markdown
from analysis.cells import NotInTable
from analysis.comparisons import Comparison
from analysis.stats import paired
from analysis.study import frozen

PUBLISHED = Path(__file__).parent / "published"
WHAT = ["source", "model", "task"]
SCORES = (
    "Differences on test to the same model not adapted, with their 95% intervals: published ones by Welch's t over the "
    "published means and standard deviations (their seeds were not paired), ours by the paired t. Another model, other "
    "corpora and, under a small budget, a part of the training examples."
)


def published() -> pd.DataFrame:
    """Published results in the results schema, a citation key in ``source``; value is the mean over n_seeds seeds.

    Further columns: sd, n_seeds, where (the table in the paper). See analysis/published/README.md.
    """
    tables = [frozen.load(path) for path in sorted(PUBLISHED.glob("*.csv"))]
    return results.typed(pd.concat(tables, ignore_index=True))


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per published chain: WHAT, pretrain, metric, n_seeds, where, difference to no adaptation, low, high.

    low, high: the 95% interval by Welch's t (1947) from means, sds and numbers of seeds, which were not paired. rows:
    as ``published`` gives them.
    """
    rows = rows[(rows["split"] == "test") & rows["sd"].notna() & (rows["adversary"] == "none")]
    base = rows[rows["pretrain"] == "none"].set_index([*WHAT, "metric"])
    compared = []
    for _, chain in rows[rows["pretrain"] != "none"].iterrows():
        key = tuple(chain[[*WHAT, "metric"]])
        if key not in base.index:
            continue
        plain = base.loc[key]
        one, other = ((each["value"], each["sd"], each["n_seeds"]) for each in (chain, plain))
        low, high = paired.welch_interval(one, other)
        named = chain[[*WHAT, "pretrain", "metric", "n_seeds", "where"]].to_dict()
        compared.append(named | {"difference": chain["value"] - plain["value"], "low": low, "high": high})
    return pd.DataFrame(compared)


def beside(scores: pd.DataFrame) -> pd.DataFrame:
    """The published scores for the tasks and metrics of ``scores`` (as cells.scores gives them), one row per chain.

    Columns: those of ``published``, mean_low and mean_high (95% t interval from sd and n_seeds, NaN without), and
    difference, low, high as ``differences`` has them, NaN where the model without adaptation was not published.
    """
    rows = published()
    ours = {(task.rpartition(":")[2], metric) for task, metric in zip(scores["task"], scores["metric"], strict=True)}
    wanted = pd.Series([pair in ours for pair in zip(rows["task"], rows["metric"], strict=True)], rows.index)
    rows = rows[wanted & (rows["split"] == "test") & (rows["adversary"] == "none")]
    half = paired.t_half_width(rows["sd"], rows["n_seeds"])
    rows = rows.assign(mean_low=rows["value"] - half, mean_high=rows["value"] + half)
    brought = differences(published()).drop(columns="n_seeds")
    return rows.merge(brought, on=[*WHAT, "pretrain", "metric", "where"], how="left")


def of_whole_models(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are comparable with published chains: all weights trained, and no adversary."""
    whole = table["peft"].astype("str") == "none"
    return table[(table["adversary"] == "none") & (whole if whole.any() else True)]


def report(table: pd.DataFrame) -> str:
    """A table for each task with published results, one line per chain; then losses and words of domains, if measured.

    Raises NotInTable if there is nothing of the kind.
    """
    parts = [*_tasks(table), *literature_domains.sections(table, published())]
    if not parts:
        raise NotInTable("none of the study's tasks and chains was published, and no domain was measured")
    return "\n\n".join(["# Beside what was published", *parts]) + "\n"


def _tasks(table: pd.DataFrame) -> list[str]:
    """What the differences are, and a section for each task; empty if no task of the study was published."""
    known, ours = differences(published()), []
    with contextlib.suppress(NotInTable):  # only one method
        ours = [one for one in comparisons.compare(of_whole_models(table)) if one.cell["pretrain"] != "none"]
    parts = []
    for task in dict.fromkeys(str(one.cell["task"]) for one in ours):
        theirs = known[known["task"] == task.rpartition(":")[2]]
        mine = [one for one in ours if one.cell["task"] == task]
        lines = [line for chain in theirs["pretrain"].unique() for line in _lines(str(chain), theirs, mine)]
        if lines:
            metric = cells.display(mine[0].metric)
            parts.append(f"## {cells.display(task)}: {metric}")
            parts.append(markdown.table(lines, words=("chain", "published for")))
    return [SCORES, *parts] if parts else []


def _lines(chain: str, theirs: pd.DataFrame, mine: list[Comparison]) -> list[dict[str, str]]:
    """One line for each pair of one of our cells of that chain and a published one."""
    return [
        {
            "chain": one.method,
            "published for": f"{row['model']} ({row['source']}, {row['where']})",
            "difference": f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})",
            "ours": f"{one.mean:+.3f}" + ("" if one.n < 2 else " ({:+.3f} to {:+.3f})".format(*one.t_interval)),
            "pairs": one.pairs,
        }
        for one in mine
        if one.cell["pretrain"] == chain
        for _, row in theirs[theirs["pretrain"] == chain].iterrows()
    ]
