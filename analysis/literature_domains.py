"""Published results on domains beside a study's: losses before and after DAPT, and the words that domains share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import adaptation, cells, markdown
from analysis.cells import NotInTable


def sections(table: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    """Markdown sections, each a table with our rows and the published ones; only for what the study measured.

    published: as literature.published gives it.
    """
    parts = []
    for heading, said, ours, theirs in (
        ("Masked-LM loss, before and after DAPT", _LOSSES, losses, published_losses),
        ("Words that domains share", _OVERLAPS, overlaps, published_overlaps),
    ):
        try:
            lines = _in_one_table(ours(table), theirs(published))
        except NotInTable:
            continue
        parts += [f"## {heading}", said, markdown.table(lines, words=_WORDS)]
    return parts


_WORDS = ("source", "task", "model", "adapted to", "text", "pair")


_LOSSES = (
    "Nats a predicted token; n: adaptations, over which ours are means. Tokens of another tokenizer are other tokens: "
    "compare the changes, and those by their sign and order of magnitude."
)
_OVERLAPS = "The share of the most frequent words, stop words left out, that two domains have in common."


def losses(table: pd.DataFrame) -> list[dict[str, str]]:
    """One line for each task, model and text on which a model after only DAPT was measured. Raises NotInTable."""
    changes = adaptation.changes(adaptation.losses(table, ("mlm_loss",)))
    changes = changes[changes["pretrain"] == "dapt"]
    if changes.empty:
        raise NotInTable("no loss of a model after only DAPT")
    names = _names(table, adaptation.contexts(changes))
    lines = []
    for (model, task, domain), rows in changes.groupby([*adaptation.CONTEXT, "domain"], sort=False):
        before, after = rows["base"].mean(), rows["value"].mean()
        adapted_to, text = (names.get((str(task), name), name) for name in ("corpus", str(domain)))
        line = _loss_line(("ours", cells.display(model), adapted_to, text), before, after, len(rows))
        lines.append({"task": cells.display(task)} | line)
    return lines


def published_losses(published: pd.DataFrame) -> list[dict[str, str]]:
    """The published lines, as ``losses`` has them: on the domain that was adapted to, and on every other text."""
    rows = published[published["metric"] == "mlm_loss"]
    before = rows[rows["pretrain"] == "none"].set_index(["source", "model", "split"])["value"]
    return [
        _loss_line(
            (row["source"], row["model"], row["corpus"], row["split"].removeprefix("heldout:")),
            float(before[row["source"], row["model"], row["split"]]),
            row["value"],
        )
        for _, row in rows[rows["pretrain"] == "dapt"].iterrows()
    ]


def overlaps(table: pd.DataFrame) -> list[dict[str, str]]:
    """One line for each task and pair of domains. Raises NotInTable if there is none."""
    shared = adaptation.overlaps(table)
    names = _names(table, adaptation.contexts(shared))
    lines = []
    for _, row in shared.drop_duplicates(["task", "a", "b", "value"]).iterrows():
        a, b = (names.get((row["task"], row[end]), row[end]) for end in ("a", "b"))
        lines.append({"task": cells.display(row["task"])} | _overlap_line("ours", a, b, row["n"], row["value"]))
    return lines


def published_overlaps(published: pd.DataFrame) -> list[dict[str, str]]:
    """The published lines, as ``overlaps`` has them."""
    rows = published[published["metric"] == "vocabulary_overlap"]
    return [
        _overlap_line(row["source"], row["corpus"], row["split"].removeprefix("corpus:"), row["n"], row["value"])
        for _, row in rows.iterrows()
    ]


def _in_one_table(ours: Sequence[dict[str, str]], theirs: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Our lines, then the published ones. The task, which only ours have, is shown if there are several."""
    several = len({line["task"] for line in ours}) > 1
    lines = [*ours, *({"task": ""} | line for line in theirs)]
    columns = ["source", *(["task"] if several else []), *(c for c in lines[0] if c not in ("source", "task"))]
    return [{column: line[column] for column in columns} for line in lines]


def _names(table: pd.DataFrame, contexts: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The name of each task's domains: 'domain', or 'domain (ml_abstracts)' if tasks have different corpora."""
    tasks = list(dict.fromkeys(task for _, task in contexts))
    names = {}
    for task in tasks:
        runs = table[table["task"] == task]
        for domain, word in adaptation.DOMAINS.items():
            corpus = _corpus(runs, {"corpus": "corpus", "general": "general"}.get(domain)) if len(tasks) > 1 else ""
            names[task, domain] = f"{word} ({corpus})" if corpus else word
    return names


def _corpus(runs: pd.DataFrame, option: str | None) -> str:
    """The name of the option's corpus, or of the file that it is read from; empty if the runs differ in it."""
    settings = [c for c in (f"{option}.path", f"{option}.name") if c in runs.columns]
    values = runs[settings].drop_duplicates().dropna(how="all")
    if len(values) != 1:
        return ""
    given = [str(value) for value in values.iloc[0].dropna()]
    return Path(given[0]).stem


def _loss_line(names: tuple[str, str, str, str], before: float, after: float, n: int | None = None) -> dict[str, str]:
    source, model, adapted_to, text = names
    numbers = {"before": f"{before:.2f}", "after": f"{after:.2f}", "change": f"{after - before:+.2f}"}
    adaptations = "" if n is None else str(n)
    return {"source": source, "model": model, "adapted to": adapted_to, "text": text} | numbers | {"n": adaptations}


def _overlap_line(source: str, a: str, b: str, n: int, share: float) -> dict[str, str]:
    return {"source": source, "pair": f"{a}, {b}", "words": f"{n:,}", "in common": f"{100 * share:.1f}%"}
