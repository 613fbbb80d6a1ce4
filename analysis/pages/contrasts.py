"""Chains against the chain that isolates what they add, such as each selection against its random control."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, comparisons, markdown
from analysis.comparisons import Comparison

CONTRASTS = {  # (chain, reference): what the difference isolates
    ("dapt", "irrelevant_dapt"): "the domain of the text, at the same number of steps",
    ("tapt", "transfer_tapt"): "the task whose text it is",
    ("dapt+tapt", "dapt"): "task text after domain text",
    ("dapt+tapt", "tapt"): "domain text before task text",
    ("curated_tapt", "tapt"): "more unlabelled text of the task",
    ("dapt+curated_tapt", "dapt+tapt"): "more unlabelled text of the task, after domain text",
    ("knn_tapt_50", "rand_tapt"): "which documents, at the same number of them",
    ("knn_tapt_150", "rand_tapt_150"): "which documents, at the same number of them",
    ("knn_tapt_500", "rand_tapt_500"): "which documents, at the same number of them",
    ("knn_tapt_50", "tapt"): "chosen documents beside the task's text",
    ("rand_tapt", "tapt"): "random documents beside the task's text",
    ("dsir", "rand_dsir"): "which documents, at the same number of them",
}


def report(table: pd.DataFrame) -> str:
    """A Markdown page with a table for each model and task. Raises NotInTable if the table has none of the pairs."""
    family = comparisons.contrast(table, CONTRASTS)
    parts = [
        "# What each step of a chain adds",
        "Differences on test, paired by seed. p: exact sign-flip test over the pairs; Holm: over the "
        f"{family[0].family} comparisons of this page.",
    ]
    for among in comparisons.by_context(family):
        task, model = (cells.display(among[0].cell[name]) for name in ("task", "model"))
        parts.append(f"## {task}, {model}: {cells.display(among[0].metric)}")
        parts.append(markdown.table([_row(one) for one in among], words=("chain", "against", "isolates", "reading")))
    return "\n\n".join(parts) + "\n"


def _row(one: Comparison) -> dict[str, str]:
    return {
        "chain": one.method,
        "against": one.against,
        "isolates": CONTRASTS[str(one.cell["pretrain"]), str(one.baseline["pretrain"])],
        "difference": f"{one.mean:+.3f}",
        "95% t interval": "" if one.n < 2 else "{:+.3f} to {:+.3f}".format(*one.t_interval),
        "pairs": one.pairs,
        "p": "" if math.isnan(one.p) else f"{one.p:.2g}",
        "Holm": "" if math.isnan(one.p) else f"{one.p_holm:.2g}",
        "reading": one.reading_in_full,
    }
