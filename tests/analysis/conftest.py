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


# Of an adversary: F, Bp, Bi a step of plain training; steps beside plain's; gain in clean score; loss under attack.
ZOO = {
    "none": ((1, 1, 0), 1, 0.0, 1.0),
    "none_x2": ((1, 1, 0), 2, 0.008, 1.0),
    "none_x3": ((1, 1, 0), 3, 0.011, 1.02),
    "none_x4": ((1, 1, 0), 4, 0.012, 1.05),
    "random": ((2, 2, 0), 1, 0.001, 0.97),
    "fgm": ((2, 2, 0), 1, 0.006, 0.65),
    "pgd": ((4, 2, 2), 1, 0.004, 0.5),
    "freelb": ((3, 3, 0), 1, 0.012, 0.6),
    "free_at": ((1, 1, 0), 1, -0.012, 0.75),
    "tavat": ((3, 3, 0), 1, 0.008, 0.68),
    "creat": ((4, 2, 2), 1, 0.011, 0.7),
    "smart_as_released": ((3, 2, 1), 1, 0.013, 0.8),
    "r3f": ((2, 2, 0), 1, 0.003, 0.96),
    "rdrop": ((2, 2, 0), 1, 0.018, 0.93),
    "awp": ((2, 2, 0), 1, -0.004, 0.9),
    "vat": ((3, 2, 1), 1, 0.005, 0.75),
    "neftune": ((1, 1, 0), 1, 0.002, 0.99),
    "freelb_plus_plus": ((10, 10, 0), 1, 0.014, 0.52),
}
MEMBERS = ("apgd_ce", "apgd_dlr", "minimal_norm", "gradient_free")


def zoo_study() -> pd.DataFrame:
    """18 adversaries x 2 chains x 6 seeds, under an ensemble of attacks with its members and checks."""
    rng = np.random.default_rng(11)
    luck = rng.normal(0, 0.012, size=len(SEEDS))
    rows = []
    for chain, gain in (("none", 0.0), ("dapt+tapt", 0.04)):
        for adversary, (passes, length, extra, fragility) in ZOO.items():
            for seed in SEEDS:
                clean = 0.64 + gain + extra + luck[seed] + rng.normal(0, 0.006)
                adaptation = "none" if chain == "none" else f"{chain}-0"
                run = _run(chain, "none", seed, clean, None, adaptation, rng, {"adversary": adversary})
                run = [row for row in run if row["metric"] != "forward_passes"]
                run = [row for row in run if not (row["split"] == "train" and row["metric"] == "train_seconds")]
                run += _ensemble_rows(run[0], clean, fragility, rng)
                run += _cost_rows(run[0], passes, length, chain, rng)
                rows += run
    return results.typed(pd.DataFrame(rows)).sample(frac=1, random_state=0, ignore_index=True)


def _ensemble_rows(
    of: dict[str, Any], clean: float, fragility: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows = []
    for epsilon in EPSILONS:
        worst = (clean + 0.02) * np.exp(-4 * fragility * epsilon) + (rng.normal(0, 0.006) if epsilon else 0)
        at = of | dict(attack="ensemble", attack_epsilon=epsilon, attack_steps=20, n=200)
        rows += [at | dict(metric="accuracy", value=worst), at | dict(metric="macro_f1", value=worst - 0.02)]
        for name in MEMBERS:  # each fools less than all together
            alone = at | dict(attack=name, attack_steps=100 if name == "gradient_free" else 20)
            rows += [alone | dict(metric="accuracy", value=worst + 0.1)]
    for name, passed in (("more_steps", 1.0), ("iterated", float(of["run_id"] != "tiny-full-none-fgm-3"))):
        rows.append(at | dict(attack=f"check:{name}", attack_epsilon=7.0, metric="passed", value=passed))
    at |= dict(attack_epsilon=0.0)
    rows.append(at | dict(metric="median_minimal_norm", value=0.1 / fragility))
    return [*rows, at | dict(attack="checks", metric="attack_seconds", value=1.0)]


def _cost_rows(
    of: dict[str, Any], passes: tuple[int, int, int], length: int, chain: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    at = of | dict(attack="none", attack_epsilon=0.0, attack_steps=0, n=None)
    counts = dict(zip(("forward_passes", "backward_passes", "delta_backward_passes"), passes, strict=True))
    values = {name: 96.0 * length * count for name, count in counts.items()}
    forward, backward, to_delta = passes
    values["train_seconds"] = length * (forward + 1.9 * backward + 1.5 * to_delta) * (2 + 0.2 * rng.random())
    values |= {"steps": 96.0 * length, "delta_norm_p50": 0.1, "ascent_gain": 0.2}
    rows = [at | dict(split="train", metric=metric, value=value) for metric, value in values.items()]
    stages = [stage for stage in chain.split("+") if stage != "none"]  # whose passes are no cost of fine-tuning
    return rows + [at | dict(split=f"{stage}/train", metric="forward_passes", value=1e6) for stage in stages]


def write_runs(root: Path, table: pd.DataFrame, experiment: str = "synthetic", **changes: Any) -> None:
    """Write a table's runs as the pipeline would; changes: to their provenance."""
    for run_id, rows in table.groupby("run_id"):
        first = rows.iloc[0].to_dict()
        results.write(
            root,
            run_id,
            evaluation=f"of {run_id}",
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


@pytest.fixture(scope="session")
def zoo() -> pd.DataFrame:
    """Many adversaries beside plain training of several lengths, under an ensemble of attacks."""
    return zoo_study()
