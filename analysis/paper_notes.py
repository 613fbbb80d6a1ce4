"""What stands below a paper's table: what its numbers are, over what, by which test, and what limits them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis import cells, comparisons
from analysis.caveats import caveats
from analysis.comparison import LEVEL
from analysis.paper_formats import DAGGER, Row

if TYPE_CHECKING:
    from analysis.paper_tables import Outcome


def notes(
    table: pd.DataFrame, outcomes: Sequence[Outcome], rows: Sequence[Row], spread: str, published: int
) -> list[str]:
    """A sentence or two each on spread, examples, differences, bold, scope, published rows; then the caveats."""
    behind = "in brackets" if spread.endswith("interval") else "in parentheses"
    found = [f"Behind a mean, {behind}: {spread} over fine-tuning seeds. {_examples(table, outcomes)}"]
    compared = [one for outcome in outcomes for one in outcome.compared]
    if compared:
        found += [_differences(outcomes, spread), _bold(rows)]
        found.append(comparisons.scopes_in_words(compared))
    if published:
        found.append(
            "Below the rule: published scores, under their citation keys; another model and other text, seeds not "
            "paired, differences with Welch's interval."
        )
    return [note for note in [*found, *caveats(table)] if note]


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
            pairs = sorted({one.n for one in outcome.compared})
            family = outcome.compared[0].family
            where = "clean" if outcome.epsilon is None else f"epsilon {outcome.epsilon:g}"
            parts.append(
                f"{where}: to '{against}', {_span(pairs)} pairs, Holm over {family} comparison{'s' * (family > 1)}"
            )
    return (
        f"Difference: method minus baseline, paired by seed, with its {spread}; p: exact two-sided sign-flip test, in "
        f"parentheses after Holm's correction ({'; '.join(parts)})."
    )


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
