"""Markdown tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence


def table(rows: Sequence[Mapping[str, str]], words: Collection[str]) -> str:
    """A table of rows that all have the same keys; the columns in ``words`` are flush left, the others flush right."""
    headings = list(rows[0])
    return lines(headings, [heading in words for heading in headings], ([*row.values()] for row in rows))


def lines(headings: Sequence[str], left: Sequence[bool], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells by position, so that two columns may share a heading; left: which columns are flush left."""
    rule = ["---" if one else "---:" for one in left]
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, rule, *rows])
