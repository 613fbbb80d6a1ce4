"""The Markdown pages that ``adapt table`` writes, as parts of the report: only headings, paragraphs and tables."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable

import pandas as pd

from analysis import tables
from analysis.report import html
from analysis.report.html import Cell, Html, Number, element

_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?(e[+-]?\d+)?")


def sections(table: pd.DataFrame) -> list[tuple[str, str, Html]]:
    """Name, title and content of each page for which the table has data; table: with all trials."""
    parts = []
    for name, text in tables.pages(table):
        title, _, rest = text.removeprefix("# ").partition("\n")
        parts.append((name.removesuffix(".md"), title, of_markdown(rest)))
    return parts


def of_markdown(text: str) -> Html:
    """Markdown blocks between empty lines (headings, tables, paragraphs) as HTML; a table's heading is its caption."""
    parts: list[Html] = []
    heading = ""
    for blank, lines in itertools.groupby(text.split("\n"), key=lambda line: not line.strip()):
        block = list(lines)
        if blank:
            continue
        if block[0].startswith("#"):
            heading = block[0].lstrip("# ")
        elif block[0].startswith("|"):
            parts.append(html.table(_rows(block), heading or "Table"))
        else:
            parts += [element("h3", heading)] * bool(heading) + [element("p", " ".join(block))]
            heading = ""
    return html.joined(parts)


def _rows(lines: list[str]) -> list[dict[str, Cell]]:
    """The rows of a table; a column is numeric if it is flush right and all its cells are numbers."""
    heads, rule, *body = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    columns = [
        list(map(_number, column)) if mark.endswith(":") and _numeric(column) else list(column)
        for mark, *column in zip(rule, *body, strict=True)
    ]
    return [dict(zip(heads, row, strict=True)) for row in zip(*columns, strict=True)]


def _numeric(column: Iterable[str]) -> bool:
    return all(_NUMBER.fullmatch(cell) for cell in column)


def _number(text: str) -> Number:
    return Number(text, float(text.replace(",", "")) if text else math.nan)
