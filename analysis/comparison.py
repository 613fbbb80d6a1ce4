"""Two cells of a study, paired by seed: their differences, the test, and the sentence that it carries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis import cells, stats

CONTEXT = ["source", "model", "task"]  # a comparison never crosses these
LEVEL = 0.05  # a difference is supported where p, uncorrected, is at most this; Holm's is always given beside it
SAME = "the same in every pair"  # the two sides are the same model: another statement than a difference not shown


def supported(differences: pd.Series) -> bool:
    """Whether the exact sign-flip test supports a mean difference, taken alone; missing ones are left out."""
    known = differences.dropna()
    return len(known) > 1 and stats.sign_flip_p(known) <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """A cell's paired differences to its baseline (method minus baseline, indexed by seed) and their tests."""

    cell: pd.Series
    baseline: pd.Series
    columns: list[str]  # of the cell that vary in the study: what a label must say
    metric: str
    differences: pd.Series
    baseline_mean: float  # over all the baseline's seeds
    unpaired: int  # seeds that only one of the two has
    adaptations: int  # distinct adaptations where several seeds share one, else 0
    p: float  # exact sign-flip test, two-sided; NaN for one pair
    family: int = 1
    p_holm: float = math.nan

    @property
    def n(self) -> int:
        """Pairs of seeds."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference, in the metric's units."""
        return float(self.differences.mean())

    @property
    def t_interval(self) -> tuple[float, float]:
        """95% t interval over the paired seeds."""
        return stats.t_interval(self.differences)

    @property
    def sign_flip_interval(self) -> tuple[float, float]:
        """95% interval by inverting the sign-flip test; unbounded with fewer than 6 pairs."""
        return stats.sign_flip_interval(self.differences)

    @property
    def supported(self) -> bool:
        """Whether the test supports that there is a difference (p <= LEVEL, uncorrected)."""
        return self.p <= LEVEL

    @property
    def label(self) -> str:
        """The cell in words."""
        return cells.cell_label(self.cell, self.columns)

    @property
    def context(self) -> tuple[str, ...]:
        """Which of CONTEXT it is within."""
        return tuple(str(self.cell[name]) for name in CONTEXT if name in self.cell)

    @property
    def context_label(self) -> str:
        """What tells the context from the study's others, in words; nothing where it is the only one."""
        return cells.cell_label(self.cell, [c for c in self.columns if c in CONTEXT])

    @property
    def method(self) -> str:
        """The cell in words, without the context."""
        return cells.cell_label(self.cell, self._within)

    @property
    def against(self) -> str:
        """The baseline in words, without the context, which is the cell's."""
        return cells.cell_label(self.baseline, self._within)

    @property
    def key(self) -> str:
        """The cell's key, as cells.keys gives it."""
        return cells.key(self.cell)

    @property
    def baseline_label(self) -> str:
        """The baseline in words."""
        return cells.cell_label(self.baseline, self.columns)

    @property
    def scope(self) -> str:
        """What a finding is conditional on: 'given this adaptation' where all seeds share one."""
        return {0: "", 1: "given this adaptation"}.get(self.adaptations, f"given these {self.adaptations} adaptations")

    @property
    def reading(self) -> str:
        """What may be said, in two or three words."""
        if math.isnan(self.p):
            return "no test"
        if (self.differences == 0).all():
            return SAME
        if not self.supported:
            return "not shown"
        return ("better" if self.mean > 0 else "worse") + (" (taken alone)" if self.p_holm > LEVEL else "")

    def verdict(self) -> str:
        """The comparison in one sentence, which claims no more than the test carries."""
        who = f"{self.label} against {self.against}"
        difference = f"{self.mean:+.3f} {cells.display(self.metric)}"
        scope = f", {self.scope}" if self.scope else ""
        if self.n < 2:
            return f"{who}: {difference} from one pair of seeds: no test{scope}."
        low, high = self.t_interval
        least = stats.smallest_p(self.n)
        test = f"sign-flip p = {self.p:.2g}"
        if not self.supported and least > LEVEL and self.reading != SAME:
            test += f"; {self.n} pairs cannot give less than {least:.2g}"
        if self.supported and self.family > 1:
            cannot = f", which {self.n} pairs cannot pass" if least * self.family > LEVEL else ""
            test += f"; {self.p_holm:.2g} by Holm over {self.family} comparisons{cannot}"
        numbers = f"{difference} (95% t interval {low:+.3f} to {high:+.3f}, {self.n} pairs)"
        finding = "difference not shown" if self.reading == "not shown" else self.reading
        return f"{who}: {numbers}: {finding}{scope} ({test})."

    @property
    def _within(self) -> list[str]:
        return [c for c in self.columns if c not in CONTEXT]
