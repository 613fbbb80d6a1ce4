"""The attacks' results as rows: accuracies, smallest norms, costs, and the verdicts of the checks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adapt.attacks import checks
from adapt.attacks.ensemble import MINIMAL_NORM, Strength
from adapt.config import AttackConfig
from adapt.table.measurement import measurement
from adapt.table.metrics import ACCURACY, score

log = logging.getLogger(__name__)
KEY_NAME = "attacks.report"
VERSION = 1
Arrays = dict[str, NDArray[Any]]
ENSEMBLE, CHECKS = "ensemble", "checks"  # the attack column of rows over all members, and of the checks' costs


def strength_of(attack: AttackConfig) -> Strength:
    """The attacks' strength, as the config gives it."""
    names = ("num_steps", "restarts", "minimal_norm_steps", "gradient_free_queries", "seed", "cascade")
    return Strength(**{name: getattr(attack, name) for name in names})


def checked(members: list[str]) -> str:
    """The member that the checks examine."""
    return next(name for name in checks.CHECKED if name in members)


def per_example(arrays: Arrays, gold: NDArray[Any], members: list[str], epsilons: list[float]) -> pd.DataFrame:
    """One row per example: its label, its clean and worst answer, the smallest norm of all members, and whose it is.

    epsilon: the smallest radius of the grid at which the example was fooled. Norm and epsilon are infinite, and the
    member is empty, where no member fooled it; both are 0 where the clean answer is wrong.
    """
    norms = np.stack([arrays[f"{name}.norm"] for name in members])
    first, every = norms.argmin(0), np.arange(len(gold))
    norm = norms[first, every]
    radii = np.array([*sorted({0.0, *epsilons}), np.inf])
    by = np.where((norm > 0) & np.isfinite(norm), np.array(members)[first], "")
    table = pd.DataFrame({"label": gold, "clean_answer": arrays["clean"], "minimal_norm": norm, "member": by})
    table["epsilon"] = radii[np.searchsorted(radii, norm)]
    table["answer"] = np.stack([arrays[f"{name}.nearest"] for name in members])[first, every]
    for name in members:
        table[f"{name}.epsilon"], table[f"{name}.minimal_norm"] = arrays[f"{name}.epsilon"], arrays[f"{name}.norm"]
    return table


def accuracy_rows(
    attack: AttackConfig,
    own_metric: str,
    classes: int,
    arrays: Arrays,
    table: pd.DataFrame,
    members: list[str],
    negative: int | None = None,
) -> list[dict[str, Any]]:
    """Accuracy and the task's metric at radius 0 and at each radius of the grid, for the ensemble and for each member.

    negative: the index of the task's negative class, for a metric that needs one.
    In a cascade only the ensemble has them: a member has not seen the examples that earlier members fooled.
    """
    answers = {name: (arrays[f"{name}.epsilon"], arrays[f"{name}.answer"]) for name in members}
    if len(attack.members) > 1:
        members_too = {} if attack.cascade else answers
        answers = {ENSEMBLE: (table["epsilon"].to_numpy(), table["answer"].to_numpy()), **members_too}
    gold, rows = table["label"].tolist(), []
    for name, (epsilon_fooled, answer) in answers.items():
        for epsilon in sorted({0.0, *attack.epsilons}):
            predicted = np.where(epsilon_fooled <= epsilon, answer, table["clean_answer"]).tolist()
            rows += [
                measurement("test", metric, score(metric, gold, predicted, classes, negative), n=len(gold),
                            attack=name, epsilon=epsilon, steps=steps_of(attack, name))
                for metric in dict.fromkeys([own_metric, ACCURACY])
            ]  # fmt: skip
    return rows


def steps_of(attack: AttackConfig, name: str) -> int:
    """The number that says how hard a member tries; for the ensemble, the gradient steps at a radius."""
    own = {MINIMAL_NORM: attack.minimal_norm_steps, "gradient_free": attack.gradient_free_queries}
    return own.get(name) or attack.num_steps


def norm_rows(attack: AttackConfig, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Two numbers over the examples whose clean answer is right: never_fooled, the share that no attack fooled, and
    median_minimal_norm, the median of the smallest norms in the grid's units, if at least half were fooled.

    Only if a member searches for the smallest norm: attacks at given radii would just return the grid.
    """
    if MINIMAL_NORM not in attack.members:
        return []
    norms = table.loc[table["label"] == table["clean_answer"], "minimal_norm"].to_numpy()
    if not len(norms):
        return []
    values = {"never_fooled": float(np.isinf(norms).mean())}
    if np.isfinite(median := float(np.quantile(norms, 0.5, method="higher"))):
        values["median_minimal_norm"] = median
    steps = steps_of(attack, MINIMAL_NORM)
    n = len(norms)
    return [measurement("test", name, value, n=n, attack=ENSEMBLE, steps=steps) for name, value in values.items()]


def cost_rows(attack: AttackConfig, arrays: Arrays, members: list[str]) -> list[dict[str, Any]]:
    """Passes per example (over all radii) and seconds: of each member, of all together, and of the checks."""
    n = len(arrays["clean"])
    costs = {name: arrays[f"{name}.cost"] for name in members}
    costs = {ENSEMBLE: np.sum(list(costs.values()), axis=0), **costs}
    if attack.checks:
        costs[CHECKS] = arrays[f"{CHECKS}.cost"]
    return [
        measurement("test", metric, value, n=n, attack=name, steps=steps_of(attack, name))
        for name, (forward, backward, seconds) in costs.items()
        for metric, value in {
            "attack_forward_passes": forward / n,
            "attack_backward_passes": backward / n,
            "attack_seconds": seconds,
        }.items()
    ]


def check_rows(
    attack: AttackConfig, arrays: Arrays, table: pd.DataFrame, members: list[str], classes: int
) -> list[dict[str, Any]]:
    """Two rows per check: ``passed`` (1 or 0) and ``observed``, the number that decides it. Warns of failed checks.

    No rows if every clean answer is wrong: then nothing was attacked.
    """
    if not (table["label"] == table["clean_answer"]).any():
        return []
    epsilon = checks.reference(attack.epsilons)
    fooled = {name: arrays[f"{name}.norm"] <= epsilon for name in members}
    black_box = fooled.pop("gradient_free", None)
    samples = {name.partition(".")[2]: values for name, values in arrays.items() if name.startswith(f"{CHECKS}.")}
    samples.pop("cost")
    verdicts = checks.verdicts(
        samples, epsilon=epsilon, strength=strength_of(attack), classes=classes, black_box=black_box,
        white_box=np.any(list(fooled.values()), axis=0),
    )  # fmt: skip
    rows = []
    robust = (table["epsilon"] > epsilon).mean()
    for check in verdicts:
        if not check.passed:
            log.warning(
                "check %s of %s failed: %s is %.4g; accuracy under attack (%.3f at epsilon %g) may be too high",
                check.name, checked(members), check.meaning, check.observed, robust, epsilon,
            )  # fmt: skip
        for metric, value in {"passed": float(check.passed), "observed": check.observed}.items():
            rows.append(
                measurement("test", metric, value, n=len(table), attack=f"check:{check.name}",
                            epsilon=check.epsilon, steps=check.steps)
            )  # fmt: skip
    return rows
