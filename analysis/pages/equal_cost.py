"""The comparison at equal cost as a Markdown page, for a study with plain training at several lengths."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, comparisons, equal_cost, markdown
from analysis.equal_cost import Method

COLUMNS = ["method", "cost in passes", "measured time", "gain over plain", "at equal cost", "95% t interval"]
COLUMNS += ["pairs", "p", "Holm", "reading"]


def report(table: pd.DataFrame) -> str:
    """A table for each score and chain: cost, gain, and the difference to the plain curve. Raises NotInTable."""
    radii = cells.radii(table)
    families = equal_cost.adjusted([equal_cost.methods(table, epsilon) for epsilon in radii])
    parts = ["# Methods against plain training of the same cost", _how_to_read(families)]
    for epsilon, methods in zip(radii, families, strict=True):
        under = "clean" if epsilon is None else f"under attack, epsilon {epsilon:g}"
        for context in dict.fromkeys(method.context for method in methods):
            among = [method for method in methods if method.context == context]
            parts.append(f"## {context}: {cells.display(among[0].gain.metric)}, {under}")
            rows = [dict(zip(COLUMNS, _row(method), strict=True)) for method in sorted(among, key=_by_cost)]
            parts.append(markdown.table(rows, words=("method", "reading")))
    return "\n\n".join(parts) + "\n"


def _by_cost(method: Method) -> tuple[bool, float]:
    return method.length is None, round(method.cost, 6)  # plain training first; else as they come: by name


def _row(method: Method) -> list[str]:
    gain, compared = method.gain, method.at_equal_cost
    time = "" if math.isnan(method.seconds) else f"{method.seconds:.2f}"
    row = [gain.label, f"{method.cost:.2f}", time, f"{gain.mean:+.3f}"]
    if compared is None:
        return [*row, "", "", "", "", "", "the curve" if method.length else "beyond the curve"]
    reading = compared.reading_in_full if compared.conditional else compared.reading
    row += [f"{compared.mean:+.3f}", "", compared.pairs, "", "", reading]
    if compared.n > 1:
        row[5] = "{:+.3f} to {:+.3f}".format(*compared.t_interval)
    if not math.isnan(compared.p):
        row[7:9] = [f"{compared.p:.2g}", f"{compared.p_holm:.2g}"]
    return row


def _how_to_read(families: list[list[Method]]) -> str:
    every = [m.at_equal_cost for methods in families for m in methods if m.at_equal_cost is not None]
    lengths = sorted({m.length for methods in families for m in methods if m.length is not None})
    text = (
        f"Cost of fine-tuning in full passes over the batches, relative to plain training of the same seed: "
        f"{equal_cost.CONVENTION}; plain training is 3 a step. Measured time: the ratio of train_seconds, median over "
        "the seeds; it holds for the machine and its load. Gain: the paired difference to plain training of one "
        f"length. At equal cost: the paired difference to plain training of 1 to {max(lengths)} times the steps, each "
        "seed's own curve read at the method's own cost, linear between its lengths. A method whose cost lies beyond "
        f"the curve (by more than {equal_cost.SLACK:.0%}) is not compared."
    )
    if every:
        family = max(c.family for c in every)
        text += f" p: exact sign-flip test over the pairs; Holm: over all {family} comparisons of this page"
        cannot = comparisons.cannot_pass(every)
        text += f", which {cannot} cannot pass." if cannot else "."
        text += f" {comparisons.scopes_in_words(every)}"
    return text.strip()
