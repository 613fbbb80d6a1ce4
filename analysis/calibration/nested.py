"""Calibration where fine-tuning seeds are nested in adaptations: how often a method is called different from itself.

``python -m analysis.calibration.nested`` simulates studies of a baseline and one method that adapt alike and differ in
nothing. It prints the rates and writes nested.csv, nested.md and figures/nested beside the rows of the study.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest, ttest_1samp

from adapt import results
from analysis import comparisons, markdown
from analysis.comparisons import LEVEL, NO_CLAIM, Comparison
from analysis.drawing import style
from analysis.stats.paired import Floats, smallest_p
from analysis.stats.simulation import p_values
from analysis.study.record import EXPERIMENTS

STUDIES = 10_000
ADAPTATIONS = (1, 3, 6, 10)
EACH = (1, 6)  # fine-tuning seeds of one adaptation: not nested, nested
SPREADS = (0.0, 1.0, 2.0)  # sd between adaptations, in sds between fine-tuning seeds
CHECKED = 3  # studies per row that are also read by comparisons.compare
COLUMNS = ["adaptations", "each", "spread", "studies", "called", "low", "high", "by_seeds"]


def measured(studies: int = STUDIES, seed: int = 0) -> pd.DataFrame:
    """One row (COLUMNS) per design: called, the share of studies in which tables call the method different.

    low to high: its 95% Clopper-Pearson interval. by_seeds: the share if each fine-tuning seed counted as a unit.
    """
    rows: list[tuple[Any, ...]] = []
    for adaptations in ADAPTATIONS:
        for each in EACH:
            for spread in SPREADS:
                rng = np.random.default_rng([seed, len(rows)])
                scores = drawn(rng, (studies, adaptations, each), spread)
                called, by_seeds = verdicts(scores), _below(scores.reshape(studies, -1))
                read = [through_the_tables(one) for one in scores[:CHECKED]]
                assert [one.reading in ("better", "worse") for one in read] == called[:CHECKED].tolist()
                interval = binomtest(int(called.sum()), studies).proportion_ci(method="exact")
                rates = (float(called.mean()), float(interval.low), float(interval.high), float(by_seeds.mean()))
                rows.append((adaptations, each, spread, studies, *rates))
    return pd.DataFrame(rows, columns=COLUMNS)


def drawn(rng: np.random.Generator, size: tuple[int, int, int], spread: float) -> Floats:
    """Paired differences [studies, adaptations, each] of a method to itself: luck of adaptations and of runs."""
    luck = rng.normal(0, 1, (2, *size[:2], 1)) * spread
    scores = luck + rng.normal(0, 1, (2, *size))
    return np.asarray(scores[1] - scores[0])


def verdicts(differences: Floats) -> np.ndarray:
    """Whether a difference is called in each study [studies], by the rule of comparisons.p_of_method."""
    adaptations = differences.shape[1]
    if adaptations < 2 or smallest_p(adaptations) > LEVEL:
        return np.zeros(len(differences), dtype=bool)
    return _below(differences.mean(axis=2))


def through_the_tables(differences: Floats) -> Comparison:
    """The comparison of one study, [adaptations, each], written as rows of results and read by the analysis.

    Both sides are adapted, the baseline under another adversary; a score lies between 0 and 1.
    """
    rescaled = 0.5 + differences / (4 * max(1.0, float(np.abs(differences).max())))
    adaptations, each = differences.shape
    fixed = dict(model="tiny", task="task", pretrain="dapt", split="test", attack="none", metric="macro_f1")
    rows = []
    for a in range(adaptations):
        for s in range(each):
            for side, value in (("none", 0.5), ("method", float(rescaled[a, s]))):
                seed = a * each + s
                names = dict(adversary=side, adaptation=f"{side} {a}", adaptation_seed=str(a), seed=seed)
                rows.append(fixed | names | dict(run_id=f"{side}-{seed}", value=value))
    table = results.typed(pd.DataFrame(rows).assign(attack_epsilon=0.0, attack_steps=0, n=100))
    (only,) = comparisons.compare(table)
    return only


def _below(differences: Floats) -> np.ndarray:
    """Whether the sign-flip test of each row [studies, n] gives LEVEL or less; beyond 15 pairs the t test stands in."""
    studies, n = differences.shape
    if n < 2:
        return np.zeros(studies, dtype=bool)
    if n <= 15:
        return np.asarray(p_values(differences) <= LEVEL)
    return np.asarray(ttest_1samp(differences, 0.0, axis=1).pvalue <= LEVEL)


def page(rates: pd.DataFrame) -> str:
    """The rates as a Markdown page."""
    lines = [
        {
            "adaptations": str(row["adaptations"]),
            "seeds on each": str(row["each"]),
            "sd between adaptations": f"{row['spread']:g}",
            "called different": f"{row['called']:.4f} ({row['low']:.4f} to {row['high']:.4f})",
            "if each seed were a unit": f"{row['by_seeds']:.4f}",
        }
        for row in rates.to_dict("records")
    ]
    parts = [
        "# Is a method called different from itself where seeds are nested in adaptations?",
        f"{rates['studies'].iloc[0]:,} simulated studies a row, normal scores; baseline and method are the same. Both "
        "have adaptations of their own, with an sd in units of that between fine-tuning seeds. Called different: "
        f"by the rule of the tables (p <= {LEVEL:g} over adaptations; with fewer than six the reading is '{NO_CLAIM}' "
        "or 'not shown'), with the 95% Clopper-Pearson interval. Last column: the error if each fine-tuning seed "
        "counted as evidence on the method (beyond 15 seeds by the t test).",
        markdown.table(lines, words=()),
    ]
    return "\n\n".join(parts) + "\n"


@style.styled
def figure(rates: pd.DataFrame) -> Figure:
    """A panel for each number of seeds on an adaptation: the rate of tables, filled, and that of seeds, hollow."""
    made = style.new_figure(style.TWO_COLUMNS, 2.2)
    panels = made.subplots(1, len(EACH), sharey=True)
    for panel, each in zip(panels, EACH, strict=True):
        style.light_grid(panel, "y")
        panel.axhline(LEVEL, color=style.INK, linewidth=0.8)
        for spread, colour, shape in zip(SPREADS, ("#009E73", "#0072B2", "#D55E00"), "os^", strict=True):
            rows = rates[(rates["each"] == each) & (rates["spread"] == spread)]
            x = [ADAPTATIONS.index(n) + 0.12 * (SPREADS.index(spread) - 1) for n in rows["adaptations"]]
            panel.plot(x, rows["by_seeds"], shape, color=colour, markerfacecolor="white", markersize=4)
            panel.vlines(x, rows["low"], rows["high"], color=colour)
            panel.plot(x, rows["called"], shape, color=colour, markersize=2.6)
        panel.set_xticks(range(len(ADAPTATIONS)), [str(n) for n in ADAPTATIONS])
        panel.set_xlabel("adaptations")
        panel.set_title("one seed on each adaptation" if each == 1 else f"{each} seeds on each adaptation")
    panels[0].set_ylabel("called different")
    keys = [
        style.key(f"sd between adaptations {spread:g}", color=colour, marker=shape)
        for spread, colour, shape in zip(SPREADS, ("#009E73", "#0072B2", "#D55E00"), "os^", strict=True)
    ]
    style.legend(made, [keys])
    style.footnote(
        made,
        f"A method against itself, {rates['studies'].iloc[0]:,} simulated studies a mark. Filled: what tables call "
        f"different, with the 95% Clopper-Pearson interval; line: {LEVEL:g}. Hollow: with each seed as a unit.",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the page, its numbers and its figure."""
    parser = argparse.ArgumentParser(prog="python -m analysis.calibration.nested", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="studies per row (default: %(default)s)")
    parser.add_argument("--experiments", type=Path, default=EXPERIMENTS, help="the lab notebook's folder")
    given = parser.parse_args(arguments)
    if given.studies < 1:
        parser.error(f"--studies {given.studies}: must be 1 or more")
    rates = measured(given.studies)
    folder = given.experiments / "calibration"
    text = page(rates)
    print(text)
    results.replace(folder / "nested.csv", rates.to_csv(index=False, lineterminator="\n"))
    results.replace(folder / "nested.md", text)
    style.save(figure(rates), folder / "figures" / "nested")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
