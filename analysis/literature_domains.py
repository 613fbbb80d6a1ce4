"""What was published of domains, beside a study's: losses before and after DAPT, and the words that domains share."""

from __future__ import annotations

import pandas as pd

from analysis import adaptation, cells, markdown
from analysis.cells import NotInTable


def sections(table: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    """Markdown sections, each with ours and the published ones in one table; none of what the table was not measured
    for. published: as literature.published gives it.
    """
    found = []
    for heading, said, ours, theirs in (
        ("Masked-LM loss, before and after DAPT", _LOSSES, losses, published_losses),
        ("Words that domains share", _OVERLAPS, overlaps, published_overlaps),
    ):
        try:
            lines = [*ours(table), *theirs(published)]
        except NotInTable:
            continue
        found += [f"## {heading}", said, markdown.table(lines, words=("source", "model", "adapted to", "text", "pair"))]
    return found


_LOSSES = (
    "Nats a predicted token; n: adaptations, over which ours are means. Tokens of another tokenizer are other tokens: "
    "compare the changes, and those by their sign and order of magnitude."
)
_OVERLAPS = "The share of the most frequent words, stop words left out, that two domains have in common."


def losses(table: pd.DataFrame) -> list[dict[str, str]]:
    """A line for each model and text that DAPT alone was measured on. Raises NotInTable without any."""
    found = adaptation.changes(adaptation.losses(table, ("mlm_loss",)))
    found = found[found["pretrain"] == "dapt"]
    if found.empty:
        raise NotInTable("no loss of a model after DAPT alone")
    lines = []
    for (model, _, domain), rows in found.groupby([*adaptation.CONTEXT, "domain"], sort=False):
        before, after = rows["base"].mean(), rows["value"].mean()
        domain = adaptation.DOMAINS.get(str(domain), str(domain))
        lines.append(_loss_line(("ours", cells.display(model), "domain", domain), before, after, len(rows)))
    return lines


def published_losses(published: pd.DataFrame) -> list[dict[str, str]]:
    """The same of what was published: on the domain that was adapted to, and on every other text."""
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
    """A line for each pair of domains. Raises NotInTable without any."""
    found = adaptation.overlaps(table).drop_duplicates(["a", "b", "value"])
    names = adaptation.DOMAINS
    return [
        _overlap_line("ours", names.get(row["a"], row["a"]), names.get(row["b"], row["b"]), row["n"], row["value"])
        for _, row in found.iterrows()
    ]


def published_overlaps(published: pd.DataFrame) -> list[dict[str, str]]:
    """The same of what was published."""
    rows = published[published["metric"] == "vocabulary_overlap"]
    return [
        _overlap_line(row["source"], row["corpus"], row["split"].removeprefix("corpus:"), row["n"], row["value"])
        for _, row in rows.iterrows()
    ]


def _loss_line(names: tuple[str, str, str, str], before: float, after: float, n: int | None = None) -> dict[str, str]:
    source, model, adapted_to, text = names
    numbers = {"before": f"{before:.2f}", "after": f"{after:.2f}", "change": f"{after - before:+.2f}"}
    adaptations = "" if n is None else str(n)
    return {"source": source, "model": model, "adapted to": adapted_to, "text": text} | numbers | {"n": adaptations}


def _overlap_line(source: str, a: str, b: str, n: int, share: float) -> dict[str, str]:
    return {"source": source, "pair": f"{a}, {b}", "words": f"{n:,}", "in common": f"{100 * share:.1f}%"}
