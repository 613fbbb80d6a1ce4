"""Adaptation seeds above fine-tuning seeds: what can be said of an adaptation method, not of one adapted model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import paired
from analysis.stats.paired import Floats


@dataclass(frozen=True)
class ByAdaptation:
    """Differences to a baseline with the adaptation as the unit: each counts once, with the mean of its seeds."""

    means: Floats  # [adaptations], in the order of their labels
    p: float  # exact sign-flip test over the means; NaN for one adaptation
    interval: tuple[float, float]  # t over the means; (nan, nan) for one adaptation
    between: float  # variance between adaptations; 0 if its estimate is negative; NaN if it cannot be estimated
    within: float  # variance between fine-tuning seeds of one adaptation; NaN if no adaptation has two
    negative: bool  # whether the estimate of ``between`` was negative and was set to 0

    @property
    def n(self) -> int:
        """Number of adaptations."""
        return len(self.means)

    @property
    def mean(self) -> float:
        """Mean over the adaptations, each with the same weight, however many seeds it has."""
        return float(self.means.mean())

    def in_words(self) -> str:
        """The components of variance in a sentence, which also says if an estimate was negative."""
        if math.isnan(self.between):
            return "The variance between adaptations needs two of them, and two fine-tuning seeds of one."
        sd = f"sd between adaptations {math.sqrt(self.between):.3g}"
        sd += " (its variance was estimated below 0)" if self.negative else ""
        return f"{sd}, between fine-tuning seeds of one adaptation {math.sqrt(self.within):.3g}."


def by_adaptation(differences: ArrayLike, adaptations: ArrayLike) -> ByAdaptation:
    """Test differences [runs] to a baseline, paired by fine-tuning seed, with their adaptation [runs] as the unit.

    Fine-tuning seeds of one adaptation share its luck and are not independent evidence on the method: they are averaged
    first, and the test is over the averages. The averages are taken as independent, so each adaptation needs its own
    fine-tuning seeds and thus its own baseline runs, or a baseline with its own adaptations. If one set of baseline
    runs serves all adaptations, the finding is conditional on these baseline runs. Raises ValueError if there is not
    one label per difference.
    """
    d = paired.vector(differences)
    labels, of = np.unique(np.asarray(adaptations), return_inverse=True)
    if of.shape != d.shape:
        raise ValueError(f"one adaptation for each of {len(d)} differences is needed, not {of.shape}")
    sizes = np.bincount(of)
    means = np.bincount(of, d) / sizes
    between, within = variance_components(d, of)
    return ByAdaptation(
        means=means,
        p=paired.sign_flip_p(means) if len(labels) > 1 else math.nan,
        interval=paired.t_interval(means),
        between=max(between, 0.0) if not math.isnan(between) else between,
        within=within,
        negative=between < 0,
    )


def variance_components(values: ArrayLike, groups: ArrayLike) -> tuple[float, float]:
    """Variance between and within groups by the method of moments: (between, within), one-way random effects.

    within = MSW, between = (MSB - MSW) / n0, n0 = (N - sum n_i^2 / N) / (k - 1) (Searle, Casella and McCulloch, 1992,
    section 3.6); ``between`` may come out negative, which suggests a variance near 0. With one group ``between`` is
    NaN; with one value in each group both are NaN, since the two cannot be separated.
    """
    x = paired.vector(values)
    _, of = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(of)
    k, n = len(sizes), len(x)
    if n == k:
        return math.nan, math.nan
    means = np.bincount(of, x) / sizes
    within = float(((x - means[of]) ** 2).sum() / (n - k))
    if k == 1:
        return math.nan, within
    msb = float((sizes * (means - x.mean()) ** 2).sum() / (k - 1))
    n0 = (n - (sizes**2).sum() / n) / (k - 1)
    return float((msb - within) / n0), within
