"""A study as the table of a paper: one row per cell, its scores, its paired differences, and what a reader must know.

Bold: the best score of its task, if the paired test supports a difference to the cell's baseline (p <= LEVEL); with a
dagger if it also does after Holm's correction. A best score without such support is not bold.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis import cells, comparisons, literature, tuning
from analysis.caveats import caveats
from analysis.comparisons import LEVEL, Comparison
from analysis.pages.paper_formats import DAGGER, Column, Entry, PaperTable, Row
from analysis.stats import paired

SPREADS = {"interval": "95% t interval", "sd": "standard deviation"}


@dataclass(frozen=True)
class Outcome:
    """A score by which cells are compared: clean (epsilon None), or under attack."""

    epsilon: float | None
    scores: pd.DataFrame  # as cells.scores gives them
    columns: list[str]  # the columns that tell the cells apart
    compared: list[Comparison]

    @property
    def metric(self) -> str:
        """The metric's name in words; all names, if the tasks have different ones."""
        return " and ".join(cells.display(name) for name in self.scores["metric"].unique())

    @cached_property
    def by_seed(self) -> pd.Series:
        """The scores by the columns and 'seed': a seed with several adaptations counts once, with its mean."""
        return self.scores.groupby([*self.columns, "seed"], dropna=False)["value"].mean()

    @cached_property
    def means(self) -> pd.DataFrame:
        """The mean over seeds in 'value', one row per cell."""
        return self.by_seed.groupby(self.columns, dropna=False).mean().reset_index()

    def seeds(self, cell: pd.Series) -> pd.Series:
        """The scores of a cell's seeds; empty if it was not measured."""
        rows = self.by_seed.reset_index()
        return rows.loc[_same(rows, cell), "value"]

    def mean(self, cell: pd.Series) -> float:
        """The mean over a cell's seeds; NaN if it was not measured."""
        values = self.means.loc[_same(self.means, cell), "value"]
        return float(values.iloc[0]) if len(values) else math.nan

    def best(self, cell: pd.Series) -> float:
        """The highest mean of the cell's task, baseline models included."""
        return float(self.means.loc[self.means["task"] == cell["task"], "value"].max())


def paper_table(table: pd.DataFrame, epsilons: Sequence[float] | None = None, spread: str = "interval") -> PaperTable:
    """The table of a study: clean scores, and scores under attack at each of ``epsilons`` (default: the reference).

    spread: 'interval' for 95% t intervals over seeds of scores and of paired differences, or 'sd' for their standard
    deviations. Published scores of the same tasks follow, under their own source keys. Raises NotInTable for a table
    without scores or without that radius, and ValueError for another spread.
    """
    if spread not in SPREADS:
        raise ValueError(f"spread={spread!r}: possible are {', '.join(SPREADS)}")
    if table.empty:
        raise cells.NotInTable("the table has no rows")
    table, choice = tuning.settled(table)
    radii = cells.radii(table) if epsilons is None else [None, *epsilons]
    columns = cells.cell_columns(table)
    outcomes = [outcome(table, epsilon, columns) for epsilon in radii]
    cell_rows = outcomes[0].scores[columns].drop_duplicates()
    known = literature.beside(outcomes[0].scores)
    varying = cells.varying(cell_rows, columns) or ["pretrain", "adversary"]
    shown = list(dict.fromkeys([*(["source", "model"] if len(known) else []), *varying]))
    references = {
        cells.key(cell) for cell in _each(table.loc[cells.is_baseline_model(table), columns].drop_duplicates())
    }
    rows = [_row(cell, cells.key(cell) in references, shown, outcomes, spread) for cell in _each(cell_rows)]
    rows += [_published_row(row, shown, len(outcomes), spread) for row in _each(known)]
    context = ", ".join(cells.display(cell_rows[c].iloc[0]) for c in ("task", "model") if c not in shown)
    return PaperTable(
        caption=f"{context}{': ' if context else ''}{outcomes[0].metric} on test, mean over seeds.",
        words=tuple(cells.display(cells.heading(c)) for c in shown),
        columns=tuple(column for outcome in outcomes for column in _columns(outcome, spread)),
        rows=rows,
        notes=[*notes(table, outcomes, rows, SPREADS[spread], len(known)), *([choice] if choice else [])],
        rule_before=len(cell_rows) if len(known) else None,
    )


def outcome(table: pd.DataFrame, epsilon: float | None, columns: list[str]) -> Outcome:
    """The scores at a radius, with the comparisons that are possible."""
    compared: list[Comparison] = []
    with contextlib.suppress(cells.NotInTable):  # only one method
        compared = comparisons.compare(table, epsilon)
    return Outcome(epsilon, cells.scores(table, epsilon), columns, compared)


def _columns(of: Outcome, spread: str) -> list[Column]:
    ends = ("low", "high") if spread == "interval" else ("sd",)
    tag = "" if of.epsilon is None else f"@{of.epsilon:g}"
    group = of.metric if of.epsilon is None else f"{of.metric}, epsilon {of.epsilon:g}"

    def further(name: str) -> tuple[str, ...]:
        return tuple(f"{name}_{end}" for end in ends)

    seeds = [Column("", "seeds", "seeds", ".0f")] if of.epsilon is None else []
    return [
        *seeds,
        Column(group, "score", f"score{tag}", ".3f", further(f"score{tag}")),
        Column(group, "difference", f"difference{tag}", "+.3f", further(f"difference{tag}")),
        Column(group, "p (Holm)", f"p{tag}", ".2g", (f"p_holm{tag}",)),
    ]


def _row(cell: pd.Series, reference: bool, shown: list[str], outcomes: list[Outcome], spread: str) -> Row:
    entries = []
    for one in outcomes:
        against = None if reference else _comparison(cell, one.compared)
        seeds = one.seeds(cell)
        if one.epsilon is None:
            entries.append(Entry(len(seeds)))
        mean, best = one.mean(cell), one.best(cell)
        bold = against is not None and against.supported and mean >= best - 1e-12
        dagger = bold and against is not None and against.p_holm <= LEVEL
        entries.append(Entry(mean, _spread(seeds, spread), bold, dagger))
        if against is None:
            entries += [Entry(), Entry()]
        else:
            entries.append(Entry(against.mean, _spread(against.differences, spread)))
            entries.append(Entry(against.p, (against.p_holm,)))
    return Row(tuple(_word(cell, column) for column in shown), tuple(entries))


def _published_row(row: pd.Series, shown: list[str], outcomes: int, spread: str) -> Row:
    """The row of a published score; its difference, if known, has no sd."""
    around = (row["mean_low"], row["mean_high"]) if spread == "interval" else (row["sd"],)
    welch = (row["low"], row["high"]) if spread == "interval" else ()
    entries = [Entry(float(row["n_seeds"])), Entry(row["value"], around), Entry(row["difference"], welch), Entry()]
    return Row(tuple(_word(row, column) for column in shown), (*entries, *[Entry()] * 3 * (outcomes - 1)))


def _spread(values: pd.Series, spread: str) -> tuple[float, ...]:
    """The spread that is written after a mean over seeds; nothing for a single seed."""
    if len(values) < 2:
        return ()
    return paired.t_interval(values) if spread == "interval" else (float(values.std()),)


def _comparison(cell: pd.Series, compared: list[Comparison]) -> Comparison | None:
    return next((one for one in compared if cells.key(cell[one.cell.index]) == one.key), None)


def _same(rows: pd.DataFrame, cell: pd.Series) -> pd.Series:
    of = rows[cell.index]
    return ((of == cell) | (of.isna() & cell.isna())).all(axis=1)


def _word(cell: pd.Series, column: str) -> str:
    """A value in words, without its column's name, which is in the heading."""
    if column not in cell.index or pd.isna(cell[column]):
        return ""
    return cells.cell_label(cell, [column]).removeprefix(f"{cells.display(column.rsplit('.', 1)[-1])} ")


def _each(rows: pd.DataFrame) -> list[pd.Series]:
    return [row for _, row in rows.iterrows()]


def notes(
    table: pd.DataFrame, outcomes: Sequence[Outcome], rows: Sequence[Row], spread: str, published: int
) -> list[str]:
    """One or two sentences each on spread, examples, differences, bold, scope, published rows; then the caveats."""
    behind = "in brackets" if spread.endswith("interval") else "in parentheses"
    sentences = [f"Behind a mean, {behind}: {spread} over fine-tuning seeds. {_examples(table, outcomes)}"]
    compared = [one for outcome in outcomes for one in outcome.compared]
    if compared:
        sentences += [_differences(outcomes, spread), _bold(rows)]
        sentences.append(comparisons.scopes_in_words(compared))
    if published:
        sentences.append(
            "Below the rule: published scores, under their citation keys; another model and other text, seeds not "
            "paired, differences with Welch's interval."
        )
    return [note for note in [*sentences, *caveats(table)] if note]


def _examples(table: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    said = []
    for outcome in outcomes:
        n = " or ".join(str(n) for n in sorted(outcome.scores["n"].dropna().unique()))
        what = ""
        if outcome.epsilon is not None:
            steps = "/".join(map(str, sorted(cells.attack_steps(table, outcome.epsilon))))
            attack = cells.display(cells.study_attack(table))
            what = f" under attack ({attack}, {steps} steps, epsilon {outcome.epsilon:g})"
        said.append(f"{n} test examples{what}" if n else f"test examples of unknown number{what}")
    return f"Measured on {', '.join(said)}."


def _differences(outcomes: Sequence[Outcome], spread: str) -> str:
    parts = []
    for outcome in outcomes:
        if outcome.compared:
            against = " / ".join(dict.fromkeys(one.against for one in outcome.compared))
            over = _over(outcome.compared)
            family = outcome.compared[0].family
            where = "clean" if outcome.epsilon is None else f"epsilon {outcome.epsilon:g}"
            parts.append(f"{where}: to '{against}', {over}, Holm over {family} comparison{'s' * (family > 1)}")
    return (
        f"Difference: method minus baseline, paired by seed, with its {spread}; p: exact two-sided sign-flip test, in "
        f"parentheses after Holm's correction ({'; '.join(parts)})."
    )


def _over(compared: Sequence[Comparison]) -> str:
    """How many of what the differences are over: '4 to 6 pairs'."""
    counts: dict[str, set[int]] = {}
    for one in compared:
        counts.setdefault(one.unit, set()).add(len(one.tested))
    return " or ".join(f"{_span(sorted(found))} {unit}" for unit, found in counts.items())


def _bold(rows: Sequence[Row]) -> str:
    entries = [entry for row in rows for entry in row.entries]
    rule = f"the best score of its task, where the test supports a difference to its baseline (p at most {LEVEL:g})"
    if not any(entry.bold for entry in entries):
        return f"No score is bold: bold would be {rule}."
    dagger = f"; {DAGGER}: after Holm's correction too" if any(entry.dagger for entry in entries) else ""
    none = "" if dagger else "; none of these is supported after Holm's correction"
    return f"Bold: {rule}{dagger}{none}."


def _span(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
