"""A synthetic study in the results schema: 4 chains x 3 adversaries x 6 seeds, and two baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adapt import results

CHAINS = {"none": 0.0, "dapt": 0.03, "tapt": 0.022, "dapt+tapt": 0.045}  # planted gain in clean macro-F1
ADVERSARIES = {"none": (0.0, 1.0), "fgm": (0.008, 0.6), "pgd": (-0.004, 0.4)}  # clean gain, loss under attack
EPSILONS = (0.0, 0.05, 0.1, 0.2, 0.4)
SEEDS = range(6)


def study(shared_adaptation: bool = True) -> pd.DataFrame:
    """72 runs and two baselines, rows as load() would give them, deterministic."""
    rng = np.random.default_rng(7)
    luck = rng.normal(0, 0.012, size=len(SEEDS))  # of a seed, the same for every method: what pairing removes
    rows = []
    for chain, gain in CHAINS.items():
        for adversary, (extra, fragility) in ADVERSARIES.items():
            for seed in SEEDS:
                clean = 0.64 + gain + extra + luck[seed] + rng.normal(0, 0.008)
                adapted_with = 0 if shared_adaptation else seed
                adaptation = "none" if chain == "none" else f"{chain}-{adapted_with}"
                rows += _run(chain, adversary, seed, clean, fragility, adaptation, rng)
    for seed in SEEDS:
        probe = 0.60 + rng.normal(0, 0.004)
        rows += _run("none", "none", seed, probe, 1.1, "none", rng, {"finetune.method": "linear_probe"})
    rows += _run("none", "none", 0, 0.636, None, "none", rng, {"model": "tfidf"})
    table = results.typed(pd.DataFrame(rows))
    return table.sample(frac=1, random_state=0, ignore_index=True)


def _run(
    chain: str,
    adversary: str,
    seed: int,
    clean: float,
    fragility: float | None,
    adaptation: str,
    rng: np.random.Generator,
    changes: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    passes = {"none": 1, "fgm": 2, "pgd": 4}[adversary]
    run = dict(source="ours", model="tiny", corpus="scientific", task="pydoc_topic", pretrain=chain, peft="none")
    run |= dict(adversary=adversary, budget="quick", seed=seed, adaptation=adaptation, experiment="synthetic")
    seeds = "+".join(adaptation.split("-")[1] for _ in chain.split("+")) if adaptation != "none" else "none"
    run |= dict(adaptation_seed=seeds, commit="c0ffee", dirty=False, threads=1)
    run |= dict(created_at="2025-01-01T00:00:00+00:00", versions="torch 2.13", device="cpu")
    run |= {"task.metric": "macro_f1", "finetune.method": "full", "seed": seed} | (changes or {})
    run["run_id"] = "-".join(str(run[c]) for c in ("model", "finetune.method", "pretrain", "adversary", "seed"))

    def row(metric: str, value: float, split: str = "test", epsilon: float = 0.0, attack: str = "none", n: int = 500):
        steps = 10 if attack == "pgd" else 0
        measured = dict(split=split, attack=attack, attack_epsilon=epsilon, attack_steps=steps)
        return run | measured | dict(metric=metric, value=value, n=n)

    rows = [row("macro_f1", clean), row("accuracy", clean + 0.02), row("macro_f1", clean + 0.01, "dev")]
    rows += [row("train_seconds", 4.0 * passes + rng.random(), "train"), row("forward_passes", 300 * passes, "train")]
    rows += [row("train_seconds", 100.0, stage) for stage in chain.split("+") if stage != "none"]
    if fragility is not None:
        for epsilon in EPSILONS:
            robust = (clean + 0.02) * np.exp(-4 * fragility * epsilon) + (rng.normal(0, 0.006) if epsilon else 0)
            rows.append(row("accuracy", robust, "test", epsilon, "pgd", 200))
    return rows


def write_runs(root: Path, table: pd.DataFrame, experiment: str = "synthetic", **changes: Any) -> None:
    """Write a table's runs as the pipeline would; changes: to their provenance."""
    for run_id, rows in table.groupby("run_id"):
        first = rows.iloc[0].to_dict()
        results.write(
            root,
            run_id,
            measurements=rows[list(results.MEASUREMENT)].to_dict("records"),
            factors={name: first[name] for name in results.FACTORS},
            config={
                "task": {"metric": first["task.metric"]},
                "finetune": {"method": first["finetune.method"], "epochs": 3},
                "seed": int(first["seed"]),
            },
            provenance={name: first[name] for name in results.PROVENANCE} | {"dirty": False, "threads": 1} | changes,
            experiment=experiment,
        )


@pytest.fixture(scope="session")
def make_study() -> Callable[..., pd.DataFrame]:
    """The function that makes the synthetic study."""
    return study


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """The synthetic study; a test that changes it changes a copy."""
    return study()


@pytest.fixture(scope="session")
def write_study() -> Callable[..., None]:
    """The function that writes a table's runs under a root."""
    return write_runs
