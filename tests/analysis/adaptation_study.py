"""A hand-made study of adaptation: chains, adaptation seeds, domains, words and trajectories."""

from __future__ import annotations

from typing import Any

import pandas as pd

from adapt import results

# Loss on the domain, task and general text; score on test.
PLANTED = {
    "none": (3.0, 2.8, 2.5, 0.60),
    "dapt": (2.2, 2.5, 2.9, 0.64),
    "irrelevant_dapt": (3.1, 2.9, 2.2, 0.58),
    "tapt": (2.8, 2.1, 2.6, 0.63),
    "dapt+tapt": (2.3, 2.0, 3.0, 0.66),
}
DOMAINS = ("corpus", "task", "general")
SEEDS, ADAPTATION_SEEDS = (0, 1, 2), (0, 1)
OVERLAPS = {"corpus+task": 0.7, "corpus+general": 0.25, "task+general": 0.2}
FERTILITY = {"corpus": (1.6, 0.55), "task": (1.5, 0.6), "general": (1.2, 0.8)}
STEPS = {"dapt": (0, 100, 200), "irrelevant_dapt": (0, 100, 200), "tapt": (0, 20, 40)}


def study(chains: dict[str, tuple[float, ...]] | None = None, task: str = "pydoc_topic") -> pd.DataFrame:
    """Adaptation seed s adds s / 100 to each loss, fine-tuning seed t adds t / 100 to each score."""
    rows = []
    for chain, (*losses, score) in (chains or PLANTED).items():
        for adaptation_seed in ADAPTATION_SEEDS if chain != "none" else (0,):
            for seed in SEEDS:
                run = _run(chain, seed, adaptation_seed, task)
                rows += _measured(run, losses, score + seed / 100, adaptation_seed / 100)
                rows += _trajectory(run, losses, adaptation_seed)
    return results.typed(pd.DataFrame(rows)).sample(frac=1, random_state=0, ignore_index=True)


def _run(chain: str, seed: int, adaptation_seed: int, task: str) -> dict[str, Any]:
    adapted = chain != "none"
    run: dict[str, Any] = dict(source="ours", model="tiny", corpus="pydoc", task=task, pretrain=chain, peft="none")
    run |= dict(adversary="none", budget="quick", seed=seed, experiment="synthetic", commit="c0ffee", dirty=False)
    run |= dict(adaptation=f"{chain}-{adaptation_seed}" if adapted else "none", device="cpu", versions="torch")
    run["adaptation_seed"] = "+".join(str(adaptation_seed) for _ in chain.split("+")) if adapted else "none"
    run |= {"task.metric": "macro_f1", "threads": 1, "created_at": "2025-01-01T00:00:00+00:00"}
    return run | {"run_id": f"{task}-{chain}-{adaptation_seed}-{seed}"}


def _row(run: dict[str, Any], split: str, metric: str, value: float, n: int) -> dict[str, Any]:
    return run | dict(split=split, attack="none", attack_epsilon=0.0, attack_steps=0, metric=metric, value=value, n=n)


def _measured(run: dict[str, Any], losses: list[float], score: float, more: float) -> list[dict[str, Any]]:
    rows = [_row(run, "test", "macro_f1", score, 500), _row(run, "dev", "macro_f1", score + 0.01, 300)]
    for domain, loss in zip(DOMAINS, losses, strict=True):
        rows.append(_row(run, f"domains/{domain}", "mlm_loss", loss + more, 5000))
        rows.append(_row(run, f"domains/{domain}", "mlm_document_loss", loss + more + 0.1, 400))
    rows += [_row(run, f"words/{pair}", "vocabulary_overlap", share, 10000) for pair, share in OVERLAPS.items()]
    for domain, (tokens, whole) in FERTILITY.items():
        rows.append(_row(run, f"words/{domain}", "tokens_per_word", tokens, 90000))
        rows.append(_row(run, f"words/{domain}", "whole_words", whole, 90000))
    return rows


def _trajectory(run: dict[str, Any], ends: list[float], adaptation_seed: int) -> list[dict[str, Any]]:
    """In a straight line from the end of the stage before; the last stage goes to ``ends``."""
    rows, starts, stages = [], PLANTED["none"], run["pretrain"].split("+")
    for number, stage in enumerate(stages):
        goal = ends if number == len(stages) - 1 else PLANTED[stage]
        for step in STEPS.get(stage, ()):
            done, split = step / STEPS[stage][-1], f"trajectory/{stage}/{step}"
            for domain, start, end in zip(DOMAINS, starts, goal, strict=False):
                loss = start + done * (end - start) + adaptation_seed / 100
                rows.append(_row(run, f"{split}/{domain}", "mlm_loss", loss, 5000))
            probe = 0.5 + 0.1 * (number + done) + adaptation_seed / 100
            rows.append(_row(run, f"{split}/dev", "probe_macro_f1", probe, 300))
        starts = PLANTED.get(stage, starts)
    return rows
