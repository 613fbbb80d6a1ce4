"""A table of words and numbers in three formats with the same numbers: LaTeX (with booktabs only), Markdown, CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from dataclasses import dataclass

from analysis import markdown as pipes

ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
}
DAGGER = "†"


@dataclass(frozen=True)
class Column:
    """A column of numbers: its group's heading, its own heading, its name in the CSV, and the format of its numbers."""

    group: str
    heading: str
    name: str
    number: str = ".3f"
    further: tuple[str, ...] = ()  # names in the CSV of the numbers after it: its interval, sd, or Holm's p


@dataclass(frozen=True)
class Entry:
    """A number and what follows it in brackets: two ends of an interval, or one number; NaN for an empty cell."""

    value: float = math.nan
    further: tuple[float, ...] = ()
    bold: bool = False
    dagger: bool = False


@dataclass(frozen=True)
class Row:
    """A row: one word for each of the table's ``words``, and one entry for each of its ``columns``."""

    words: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class PaperTable:
    """What the formats show; words: headings of the columns of words. A rule is drawn before row ``rule_before``."""

    caption: str
    words: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: list[Row]
    notes: list[str]
    rule_before: int | None = None


def formats(table: PaperTable, label: str) -> dict[str, str]:
    """The texts of table.tex, table.md and table.csv; label: the LaTeX table's label, after 'tab:'."""
    return {"table.tex": latex(table, label), "table.md": markdown(table), "table.csv": as_csv(table)}


def latex(table: PaperTable, label: str) -> str:
    """A table* with the notes below it; needs only the package booktabs."""
    headings = [*table.words, *(column.heading for column in table.columns)]
    lines = [*_latex_groups(table), _latex_line([escaped(heading) for heading in headings])]
    for number, row in enumerate(table.rows):
        rule = ["\\midrule"] if number in (0, table.rule_before) else []
        numbers = [_latex_entry(column, entry) for column, entry in zip(table.columns, row.entries, strict=True)]
        lines += [*rule, _latex_line([*map(escaped, row.words), *numbers])]
    notes = "\\par\n".join(f"{escaped(note)}" for note in table.notes)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *("\\begin{table*}", "\\centering", f"\\caption{{{escaped(table.caption)}}}"),
            f"\\label{{tab:{re.sub(r'[^A-Za-z0-9:.-]+', '-', label)}}}",
            *("\\scriptsize", "\\setlength{\\tabcolsep}{3pt}"),
            f"\\begin{{tabular}}{{{'l' * len(table.words)}{'r' * len(table.columns)}}}",
            *("\\toprule", *lines, "\\bottomrule", "\\end{tabular}", "", "\\smallskip"),
            *("\\begin{minipage}{\\linewidth}", "\\footnotesize\\raggedright", notes, "\\end{minipage}"),
            "\\end{table*}\n",
        ]
    )


def markdown(table: PaperTable) -> str:
    """The caption, a pipe table, and the notes, one paragraph each."""
    rows = [[*map(_plain_markdown, row.words), *map(_markdown_entry, table.columns, row.entries)] for row in table.rows]
    headings = [*map(_plain_markdown, table.words), *map(_heading, table.columns)]
    left = [True] * len(table.words) + [False] * len(table.columns)
    body = pipes.lines(headings, left, rows)
    return "\n\n".join([f"**{table.caption}**", body, *map(_plain_markdown, table.notes)]) + "\n"


def as_csv(table: PaperTable) -> str:
    """One column per number; the column 'mark' after a score says what bold and dagger say in the other formats."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    header = [name for column in table.columns for name in (column.name, *column.further, *_mark_name(table, column))]
    writer.writerow([*table.words, *header])
    for row in table.rows:
        line = list(row.words)
        for column, entry in zip(table.columns, row.entries, strict=True):
            numbers = numbers_of(column, entry)
            line += [*numbers, *[""] * (1 + len(column.further) - len(numbers))]
            line += [_mark(entry) for _ in _mark_name(table, column)]
        writer.writerow(line)
    return content.getvalue()


def numbers_of(column: Column, entry: Entry) -> list[str]:
    """The numbers of an entry as every format writes them; none if the cell is empty."""
    if math.isnan(entry.value):
        return []
    return [format(value, column.number) for value in (entry.value, *entry.further) if not math.isnan(value)]


def escaped(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(ESCAPED.get(letter, letter) for letter in text).replace(DAGGER, r"$^{\dagger}$")


def _latex_groups(table: PaperTable) -> list[str]:
    """The line of the groups' headings, each over its columns, and the rules below them."""
    groups = [(name, len(list(columns))) for name, columns in itertools.groupby(c.group for c in table.columns)]
    parts, rules, place = [""] * len(table.words), [], len(table.words) + 1
    for name, width in groups:
        parts.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}")
        rules += [rf"\cmidrule(lr){{{place}-{place + width - 1}}}"] if name else []
        place += width
    return [_latex_line(parts), *rules]


def _heading(column: Column) -> str:
    return _plain_markdown(f"{column.group}: {column.heading}" if column.group else column.heading)


def _latex_line(parts: list[str]) -> str:
    return " & ".join(parts) + r" \\"


def _latex_entry(column: Column, entry: Entry) -> str:
    numbers = [f"${n}$" if n[0] in "+-" else n for n in numbers_of(column, entry)]
    if numbers and entry.bold:
        numbers[0] = rf"\textbf{{{numbers[0]}}}"
    return _joined(numbers, r"$^{\dagger}$" if entry.dagger else "")


def _markdown_entry(column: Column, entry: Entry) -> str:
    numbers = numbers_of(column, entry)
    if numbers and entry.bold:
        numbers[0] = f"**{numbers[0]}**"
    return _joined(numbers, DAGGER if entry.dagger else "")


def _joined(numbers: list[str], mark: str) -> str:
    """'0.44', '0.44 (0.01)', '0.44 [0.43, 0.45]'."""
    if not numbers:
        return ""
    behind = {1: "", 2: " ({})", 3: " [{}, {}]"}[len(numbers)].format(*numbers[1:])
    return f"{numbers[0]}{mark}{behind}"


def _plain_markdown(text: str) -> str:
    return re.sub(r"([|*_`\\<>])", r"\\\1", text)


def _mark_name(table: PaperTable, column: Column) -> list[str]:
    """The name of the column of marks after a score; none after other numbers."""
    return [f"{column.name}_mark"] if column.name.startswith("score") else []


def _mark(entry: Entry) -> str:
    return "best, supported after Holm" if entry.dagger else "best, supported" if entry.bold else ""
