"""A synthetic study of what fine-tuning trains: methods x chains x adversaries x 6 seeds, with planted scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from adapt import results

SEEDS = range(6)
EPSILONS = (0.02, 0.05)

# Of a method: what it trains, its gain in clean score over all weights, its loss under attack.
METHODS = {
    "none": (1_500_000, 0.0, 1.0),
    "bottleneck_pfeiffer": (40_000, -0.004, 0.95),
    "lora": (18_000, 0.002, 0.9),
    "prefix": (20_480, -0.05, 1.3),
    "bitfit": (7_000, -0.02, 0.9),
    "ia3": (3_100, -0.03, 1.1),
}
HEAD = 2_064


def peft_study(
    methods: dict[str, tuple[int, float, float]] = METHODS,
    chains: tuple[str, ...] = ("none", "dapt+tapt"),
    adversaries: tuple[str, ...] = ("none", "fgm"),
) -> pd.DataFrame:
    """Rows as load() would give them, deterministic; each seed has an adaptation of its own."""
    rng = np.random.default_rng(5)
    luck = rng.normal(0, 0.012, size=len(SEEDS))
    rows = []
    for chain in chains:
        for adversary in adversaries:
            for method, (trained, gain, fragility) in methods.items():
                for seed in SEEDS:
                    clean = 0.5 + gain + (0.03 if chain != "none" else 0.0) + luck[seed] + rng.normal(0, 0.005)
                    adaptation = "none" if chain == "none" else f"{chain}-{seed}"
                    run: dict[str, Any] = dict(source="ours", model="tiny", corpus="pydoc", task="pydoc_topic")
                    run |= dict(pretrain=chain, peft=method, adversary=adversary, budget="quick", seed=seed)
                    run |= dict(adaptation=adaptation, adaptation_seed=adaptation.rpartition("-")[2])
                    run |= dict(run_id=f"{chain}-{adversary}-{method}-{seed}", experiment="peft", dirty=False)
                    run |= {"task.metric": "macro_f1", "attack": "none", "attack_epsilon": 0.0, "attack_steps": 0}
                    test = run | dict(split="test", metric="macro_f1", value=clean, n=500)
                    rows += [test, test | dict(metric="accuracy", value=clean + 0.02), test | dict(split="dev")]
                    rows.append(run | dict(split="train", metric="trainable_parameters", value=trained + HEAD))
                    for epsilon in EPSILONS:
                        robust = (clean + 0.02) * np.exp(-8 * fragility * epsilon) + rng.normal(0, 0.006)
                        attacked = dict(attack="pgd", attack_epsilon=epsilon, attack_steps=5, metric="accuracy", n=200)
                        rows.append(test | attacked | dict(value=robust))
    return results.typed(pd.DataFrame(rows)).sample(frac=1, random_state=0, ignore_index=True)
