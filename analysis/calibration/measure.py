"""Calibration: how often the verdicts of this analysis are wrong, measured on studies whose truth is known.

``python -m analysis.calibration`` makes studies by simulation and by dividing the real runs of experiments/calibration.
Their methods are the same (A/A), have equal means but different shapes, or differ by a planted effect. It prints the
verdicts and writes calibration.csv, calibration.md and figures/calibration beside the study's rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from adapt import results
from analysis import cells, comparisons
from analysis.calibration import figure, page
from analysis.comparisons import LEVEL, Comparison
from analysis.drawing import style
from analysis.stats.paired import Floats
from analysis.stats.simulation import NOISE, UNLIKE, Draw, divided, normal, p_values, planted
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS

STUDY = "calibration"
STUDIES = 10_000
PAIRS = (6, 10)
FAMILY = 10  # methods beside one baseline: one Holm family
EFFECTS = (0.5, 1.0, 2.0)  # in standard deviations of the paired differences
CHECKED = 3  # studies per row that are also written as a table and read by comparisons.compare
COLUMNS = ["kind", "noise", "pairs", "effect", "family", "studies", "found", "rate", "low", "high", "checked"]


def measured(real: Floats, studies: int = STUDIES, seed: int = 0) -> pd.DataFrame:
    """Verdicts on studies of known truth, one row (COLUMNS) per kind of study; real: scores [runs] of one cell.

    kind: 'A/A', 'equal means', 'planted'. found: the number of studies in which a difference was called: p <= LEVEL, or
    in a family of several, any Holm p <= LEVEL. rate: their share, low to high its 95% Clopper-Pearson interval.
    checked: the number of studies that comparisons.compare read too, with the same verdict.
    """
    rows: list[tuple[Any, ...]] = []
    for kind, noise, pairs, effect, family, draw in _kinds(real):
        scores = draw(np.random.default_rng([seed, len(rows)]), (studies, family + 1, pairs))
        called = verdicts(scores)
        checked = [through_the_tables(one) for one in scores[:CHECKED]]
        readings = [{c.reading for c in compared} for compared in checked]
        assert [bool(said & {"better", "worse"}) for said in readings] == called[:CHECKED].tolist()
        detected = int(called.sum())
        interval = binomtest(detected, studies).proportion_ci(method="exact")
        numbers = (detected / studies, float(interval.low), float(interval.high), len(checked))
        rows.append((kind, noise, pairs, effect, family, studies, detected, *numbers))
    return pd.DataFrame(rows, columns=COLUMNS)


def verdicts(scores: Floats) -> np.ndarray:
    """Whether a difference is called in each study, [studies]; scores: [studies, cells, pairs], cell 0 is the baseline.

    Holm calls some difference if and only if the smallest of m p-values is at most LEVEL / m.
    """
    differences = scores[:, 1:] - scores[:, :1]
    studies, family, pairs = differences.shape
    smallest = p_values(differences.reshape(-1, pairs)).reshape(studies, family).min(axis=1)
    return np.asarray(family * smallest <= LEVEL)


def through_the_tables(scores: Floats) -> list[Comparison]:
    """The comparisons of one study, scores [cells, pairs], written as rows of results and read by the analysis.

    Scores are rescaled to between 0 and 1, because a score above 1 is read as percent; the sign-flip test does not
    depend on the scale.
    """
    scores = (scores - scores.min()) / max(float(np.ptp(scores)), 1.0)
    fixed = dict(model="tiny", task="task", pretrain="none", adaptation="none", adaptation_seed="none", split="test")
    fixed |= dict(attack="none", metric="macro_f1")
    rows = [
        fixed | dict(run_id=f"{cell}-{seed}", adversary=f"method {cell}" if cell else "none", seed=seed, value=value)
        for cell, of_cell in enumerate(scores)
        for seed, value in enumerate(of_cell.tolist())
    ]
    return comparisons.compare(results.typed(pd.DataFrame(rows).assign(attack_epsilon=0.0, attack_steps=0, n=100)))


def scores_of_one_cell(runs: pd.DataFrame) -> pd.Series:
    """The clean scores of a study of one cell, one run per seed. Raises NotInTable for other studies."""
    scores = cells.scores(runs)
    least, several = 2 * max(PAIRS), cells.keys(scores).nunique()
    if several > 1 or scores["seed"].duplicated().any() or len(scores) < least:
        given = f"{several} cells and {len(scores)} runs of {scores['seed'].nunique()} seeds"
        raise cells.NotInTable(f"one cell with {least} seeds or more is needed, one run per seed, not {given}")
    return scores["value"]


def _kinds(real: Floats) -> Iterator[tuple[str, str, int, float, int, Draw]]:
    """Every kind of study to measure: kind, noise, pairs, effect, number of methods, and how its scores are drawn."""
    of_runs, sd = f"{len(real)} real runs", float(real.std(ddof=1))
    for pairs in PAIRS:
        for noise, draw in NOISE.items():
            yield "A/A", noise, pairs, 0.0, 1, draw
            yield "A/A", noise, pairs, 0.0, FAMILY, draw
        yield "A/A", of_runs, pairs, 0.0, 1, divided(real)
        for noise, draw in UNLIKE.items():
            yield "equal means", noise, pairs, 0.0, 1, draw
        for effect in EFFECTS:
            yield "planted", "normal", pairs, effect, 1, planted(normal, effect, 1.0)
            yield "planted", of_runs, pairs, effect, 1, planted(divided(real), effect, sd)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the page, its numbers and its figure."""
    parser = argparse.ArgumentParser(prog="python -m analysis.calibration", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="studies per row (default: %(default)s)")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    given = parser.parse_args(arguments)
    csv = given.experiments / STUDY / "results.csv"
    if not csv.exists():
        parser.error(f"no {csv}: `adapt experiment={STUDY}` and `adapt table {STUDY}` make it")
    if given.studies < 1:
        parser.error(f"--studies {given.studies}: must be 1 or more")
    real = scores_of_one_cell(frozen.load(csv))
    rates = measured(real.to_numpy(), given.studies)
    text = page.page(rates, real)
    print(text)
    results.replace(csv.with_name("calibration.csv"), rates.to_csv(index=False, lineterminator="\n"))
    results.replace(csv.with_name("calibration.md"), text)
    style.save(figure.figure(rates), csv.parent / "figures" / "calibration")
    return 0
