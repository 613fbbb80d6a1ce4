"""Chains against the chain that isolates what they add: each selection against its random control, and the like."""

from __future__ import annotations

import pandas as pd

from analysis import cells, comparisons, markdown

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
    """A Markdown page. Raises NotInTable where the table holds none of the pairs."""
    found = comparisons.contrast(table, CONTRASTS)
    rows = []
    for one in found:
        chain, reference = str(one.cell["pretrain"]), str(one.baseline["pretrain"])
        row = {
            "chain": one.label,
            "against": one.baseline_label,
            "isolates": CONTRASTS[chain, reference],
            "difference": f"{one.mean:+.3f}",
            "95% t interval": "" if one.n < 2 else "{:+.3f} to {:+.3f}".format(*one.t_interval),
            "pairs": str(one.n),
            "p": "" if one.n < 2 else f"{one.p:.2g}",
            "Holm": "" if one.n < 2 else f"{one.p_holm:.2g}",
            "reading": one.reading + (f", {one.scope}" if one.scope and one.n > 1 else ""),
        }
        rows.append(row)
    family = found[0].family
    text = (
        f"{cells.display(found[0].metric)} on test, paired by seed. p: exact sign-flip test over the pairs; Holm: over "
        f"the {family} comparisons of this page."
    )
    return (
        "\n\n".join(
            [
                "# What each step of a chain adds",
                text,
                markdown.table(rows, words=("chain", "against", "isolates", "reading")),
            ]
        )
        + "\n"
    )
