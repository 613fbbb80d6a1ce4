"""HTML that cannot be left unescaped by mistake: a plain string is text, and is escaped when it becomes Html."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

LONG = 40  # a cell with more letters may wrap
_VOID = {"meta", "img", "input"}


class Html(str):
    """Markup, already escaped."""


@dataclass(frozen=True)
class Number:
    """A number in a table: its text, and the value to sort by (NaN: missing, sorts last)."""

    text: str
    value: float


Cell = str | Number


def element(tag: str, /, *children: str | None, **attributes: str | None) -> Html:
    """An element; text among its children and attributes is escaped, None is left out.

    Attribute names that Python does not allow are written with underscores: ``class_``, ``data_value``.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opened = f"<{tag}" + "".join(f' {key}="{html.escape(value)}"' for key, value in given.items()) + ">"
    if tag in _VOID:
        return Html(opened)
    return Html(opened + joined(children) + f"</{tag}>")


def joined(children: Iterable[str | None]) -> Html:
    """Several pieces, one after another."""
    pieces = [child for child in children if child is not None]
    return Html("".join(piece if isinstance(piece, Html) else html.escape(piece) for piece in pieces))


def section(name: str, title: str, *children: str | None) -> Html:
    """A part of the page that the table of contents links to."""
    return element("section", element("h2", title, id=f"{name}-title"), *children, id=name,
                   aria_labelledby=f"{name}-title")  # fmt: skip


def listed(items: Iterable[str]) -> Html:
    """A list."""
    return element("ul", *(element("li", item) for item in items))


def folded(summary: str, *children: str | None, opened: bool = False, name: str | None = None) -> Html:
    """A part that a click opens; printing opens all of them."""
    return element("details", element("summary", summary), *children, open="" if opened else None, id=name)


def number(value: float | None, form: str) -> Number:
    """A number as text by a format such as '.3f'; None and NaN are an empty cell."""
    known = value is not None and not math.isnan(value)
    return Number(format(value, form), float(value)) if known else Number("", math.nan)  # type: ignore[arg-type]


def table(rows: Sequence[Mapping[str, Cell]], caption: str, factors: Collection[str] = ()) -> Html:
    """A table that the page's script can sort and filter; the columns in ``factors`` are filtered by choosing values.

    rows: all with the same keys. Numbers are flush right; words that are the same in all of several rows are moved to
    the caption. Raises ValueError without rows: the columns would have no headings.
    """
    if not rows:
        raise ValueError(f"a table needs a row: {caption!r} has none")
    alike = [name for name, cell in rows[0].items() if len(rows) > 1 and isinstance(cell, str)
             and all(row[name] == cell for row in rows)]  # fmt: skip
    said = "; ".join(f"{name}: {rows[0][name]}" for name in alike if rows[0][name])
    rows = [{name: cell for name, cell in row.items() if name not in alike} for row in rows]
    numeric = {name for name in rows[0] if all(isinstance(row[name], Number) for row in rows)}
    heads = [
        element("th", name, scope="col", class_="number" if name in numeric else None,
                data_factor="" if name in factors else None)
        for name in rows[0]
    ]  # fmt: skip
    body = joined(joined([element("tr", *map(_cell, row.values())), Html("\n")]) for row in rows)
    drawn = element("table", element("caption", caption, element("span", f". In all rows: {said}.") if said else None),
                    element("thead", element("tr", *heads)), Html("\n"),
                    element("tbody", body), class_="sortable")  # fmt: skip
    return element("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(cell: Cell) -> Html:
    if isinstance(cell, Number):
        value = None if math.isnan(cell.value) else repr(cell.value)
        return element("td", cell.text, class_="number", data_value=value)
    return element("td", cell, class_="long" if len(cell) > LONG else None)
