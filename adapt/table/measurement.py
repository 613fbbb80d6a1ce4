"""The format of one measured number, as stages return it and rows hold it."""

from __future__ import annotations

from typing import Any

Measurements = list[dict[str, Any]]


def measurement(
    split: str,
    metric: str,
    value: float,
    *,
    n: int | None = None,
    attack: str = "none",
    epsilon: float = 0.0,
    steps: int = 0,
) -> dict[str, Any]:
    """One number. n: how many examples (or held-out tokens) it averages; epsilon, steps: of the attack, if any."""
    conditions = {"split": split, "attack": attack, "attack_epsilon": epsilon, "attack_steps": steps}
    return {**conditions, "metric": metric, "value": float(value), "n": n}
