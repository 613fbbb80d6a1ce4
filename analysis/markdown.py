"""Markdown tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def table(rows: Sequence[Mapping[str, str]], words: Collection[str]) -> str:
    """Rows of equal keys as a table; the columns in ``words`` are flush left, the others flush right."""
    columns = list(rows[0])
    rule = ["---" if column in words else "---:" for column in columns]
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, rule, *([*row.values()] for row in rows)])
