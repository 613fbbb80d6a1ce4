"""How likely the paired test finds a difference of a given size, and how many seeds that takes.

An effect is the mean of the paired differences in units of their standard deviation (Cohen's d_z). If the scores of two
methods are uncorrelated over seeds and have the same sd, that of their differences is sqrt(2) times as large.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.special import stdtrit
from scipy.stats import ncf

from analysis.stats import simulation
from analysis.stats.paired import ENUMERATED

SIMULATED = 40_000  # studies: the standard error of a simulated power is at most .0025
CLOSE = 12  # pairs from which the exact test has the t test's power to within .01
MOST = 10**7  # pairs: an effect of .001 at a power of .8 needs 7.8 million


def power(effect: float, n: int, level: float = 0.05) -> float:
    """Power of the two-sided paired t test of n pairs, normal differences: P(|T| > t_{n-1}(1 - level / 2)).

    T is noncentral t with n - 1 degrees of freedom and noncentrality effect * sqrt(n) (Cohen, 1988, section 2.3).
    Raises ValueError for fewer than 2 pairs, and for a level that is not between 0 and 1.
    """
    _check(effect, n, level)
    return _t_power(effect, n, level)


def attainable_level(n: int, level: float = 0.05) -> float:
    """The actual level of the exact sign-flip test of n pairs: the largest multiple of 2 / 2^n up to ``level``.

    It is how often the test rejects if there is no difference and no two sums are equal: .031 with 6 pairs.
    """
    return 2 * math.floor(2**n * level / 2 + 1e-9) / 2**n


@cache
def sign_flip_power(effect: float, n: int, level: float = 0.05, studies: int = SIMULATED, seed: int = 0) -> float:
    """Power of the exact sign-flip test of n pairs, normal differences: the share of simulated studies with p <= level.

    With 6 pairs it is Phi(d)^6 + Phi(-d)^6 at 5%: all six differences must have the same sign. Raises ValueError for
    more than ENUMERATED pairs; use ``power`` for those.
    """
    _check(effect, n, level)
    if n > ENUMERATED:
        raise ValueError(f"{n} pairs: simulated only for up to {ENUMERATED} pairs; for more, use the t test's power")
    differences = np.random.default_rng([seed, n]).normal(effect, 1, size=(studies, n))
    return float(np.mean(simulation.p_values(differences) <= level))


def seeds_needed(effect: float, power: float = 0.8, level: float = 0.05) -> int:
    """The smallest number of seeds with which the sign-flip test detects an effect with the given power.

    Uses the t test's power, which a small exact test does not reach: with fewer than CLOSE pairs, the exact test's own
    power, by simulation, must also be high enough. Never fewer pairs than can reject at all (6 at 5%). Raises
    ValueError if no number is enough: for an effect of 0, and for one that would need more than MOST.
    """
    _check(effect, 2, level)
    if not 0 < power < 1:
        raise ValueError(f"power {power:g}: must lie between 0 and 1")
    least = next((n for n in range(2, ENUMERATED + 1) if attainable_level(n, level) > 0), None)
    if least is None:
        raise ValueError(f"level {level:g}: too small for an exact test of {ENUMERATED} pairs, the most that it takes")
    if effect == 0 or _t_power(effect, MOST, level) < power:
        raise ValueError(f"effect {effect:g}: {MOST:,} seeds do not detect it with a power of {power:g}")
    below, enough = least - 1, least
    while _t_power(effect, enough, level) < power:
        below, enough = enough, min(2 * enough, MOST)
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if _t_power(effect, middle, level) >= power else (middle, enough)
    while enough < CLOSE and sign_flip_power(effect, enough, level) < power:
        enough += 1
    return enough


def _t_power(effect: float, n: int, level: float) -> float:
    noncentrality = effect**2 * n  # of T^2, which is noncentral F; scipy's nct is NaN in some lower tails
    if noncentrality == 0:
        return level  # where scipy's ncf is wrong
    critical = stdtrit(n - 1, 1 - level / 2) ** 2
    return float(ncf.sf(critical, 1, n - 1, noncentrality))


def _check(effect: float, n: int, level: float) -> None:
    if not math.isfinite(effect):
        raise ValueError(f"effect {effect}: must be a finite number of standard deviations")
    if n < 2:
        raise ValueError(f"{n} pairs: 2 or more are needed")
    if not 0 < level < 1:
        raise ValueError(f"level {level:g}: must lie between 0 and 1")
