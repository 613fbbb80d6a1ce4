"""The calibration as a Markdown page: rates of wrong verdicts, power against theory, and seeds that an effect needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis import markdown
from analysis.comparisons import LEVEL
from analysis.power import attainable_level, power, seeds_needed, sign_flip_power
from analysis.stats.paired import smallest_p

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # effects of the table of seeds
POWERS = (0.5, 0.8, 0.9)


def page(rates: pd.DataFrame, real: pd.Series) -> str:
    """The page; rates: as calibration.measure.measured gives them; real: the scores of the runs that were divided."""
    aa = rates[rates["kind"] == "A/A"]
    above = aa[aa["low"] > LEVEL]
    count = f"{len(aa) - len(above)} of {len(aa)}"
    parts = [
        "# Are the verdicts calibrated?",
        f"{rates['studies'].iloc[0]:,} studies a number; in brackets its 95% Clopper-Pearson interval. Of each number "
        f"{rates['checked'].iloc[0]} studies were also written as a table and read by `analysis.comparisons.compare`, "
        "with the same verdicts.",
        "## The same method under two names (A/A)",
        f"How often a difference is called (p <= {LEVEL:g}). In {count} rows the interval covers {LEVEL:.0%} or lies "
        "below it. Exact: the rate where no two sums are equal, the largest multiple of 2 / 2^n up to the level.",
        markdown.table(_wrong_verdicts(aa), words=("scores",)),
        "## Equal means, unlike shapes",
        "No A/A. The test asks whether two methods can be exchanged; these cannot, though their means are equal. A "
        f"rate above {LEVEL:.0%} is no error of that test, but it says that 'better' need not mean a better mean.",
        markdown.table(_unlike(rates), words=("baseline, method",)),
        "## A planted effect",
        "How often it is found; effect in standard deviations of the paired differences, which are sqrt(2) times as "
        "large as those of the scores. t test: noncentral t. Exact test: the sign-flip test's own power under normal "
        "differences, by another simulation.",
        markdown.table(_found(rates), words=()),
        "## How many seeds",
        f"Seeds with which the exact test finds an effect (two-sided, level {LEVEL:g}), and what the effect is in "
        f"{_in_words(real)}.",
        markdown.table(_seeds(real), words=()),
    ]
    return "\n\n".join(parts) + "\n"


def _wrong_verdicts(aa: pd.DataFrame) -> list[dict[str, str]]:
    lines: dict[str, dict[str, str]] = {}
    columns = {(n, m): _heading(n, m) for n, m in zip(aa["pairs"], aa["family"], strict=True)}
    for row in aa.to_dict("records"):
        line = lines.setdefault(row["noise"], {"scores": row["noise"]} | dict.fromkeys(columns.values(), ""))
        line[columns[row["pairs"], row["family"]]] = _rate(row)
    exact = {
        name: _share(attainable_level(n)) if m == 1 else f"at most {_share(LEVEL)}" for (n, m), name in columns.items()
    }
    return [*lines.values(), {"scores": "exact"} | exact]


def _heading(pairs: int, family: int) -> str:
    if family == 1:
        return f"{pairs} seeds, taken alone"
    cannot = ", which none can pass" if smallest_p(pairs) * family > LEVEL else ""
    return f"{pairs} seeds, any of {family} after Holm{cannot}"


def _unlike(rates: pd.DataFrame) -> list[dict[str, str]]:
    lines: dict[str, dict[str, str]] = {}
    for row in rates[rates["kind"] == "equal means"].to_dict("records"):
        lines.setdefault(row["noise"], {"baseline, method": row["noise"]})[f"{row['pairs']} seeds"] = _rate(row)
    return list(lines.values())


def _found(rates: pd.DataFrame) -> list[dict[str, str]]:
    lines: dict[tuple[int, float], dict[str, str]] = {}
    for row in rates[rates["kind"] == "planted"].to_dict("records"):
        effect, pairs = row["effect"], row["pairs"]
        theory = {"t test": _share(power(effect, pairs)), "exact test": _share(sign_flip_power(effect, pairs))}
        start = {"seeds": str(pairs), "effect": f"{effect:g}"} | theory
        lines.setdefault((pairs, effect), start)[f"found: {row['noise']}"] = _rate(row)
    return list(lines.values())


def _seeds(real: pd.Series) -> list[dict[str, str]]:
    unit = math.sqrt(2) * float(real.std())
    return [
        {"effect": f"{effect:g}", "here": f"{effect * unit:.3f}"}
        | {f"power {wanted:g}": str(seeds_needed(effect, wanted)) for wanted in POWERS}
        for effect in SIZES
    ]


def _in_words(real: pd.Series) -> str:
    return f"the score of these {len(real)} runs (mean {real.mean():.3f}, sd {real.std():.4f})"


def _rate(row: Mapping[Any, Any]) -> str:
    return "{} ({} to {})".format(*(_share(row[name]) for name in ("rate", "low", "high")))


def _share(value: float) -> str:
    """Four decimals without the zero before the point: .0488, and 1.0000."""
    return f"{value:.4f}".removeprefix("0")
