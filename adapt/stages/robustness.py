"""Accuracy under attack on the test split, by an ensemble of attacks. A killed stage resumes after its last batch."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from adapt.attacks import checks
from adapt.attacks.ensemble import clean_state, usable, worst_case
from adapt.attacks.report import (
    CHECKS,
    Arrays,
    accuracy_rows,
    check_rows,
    checked,
    cost_rows,
    norm_rows,
    per_example,
    strength_of,
)
from adapt.attacks.victim import Victim
from adapt.config import AttackConfig, ConfigError, RuntimeConfig
from adapt.data import tasks
from adapt.data.tokens import batching
from adapt.models import heads
from adapt.perturbation.ball import Ball
from adapt.tasks.prediction import encode_examples

log = logging.getLogger(__name__)
KEY_NAME = "stages.robustness"
VERSION = 1
PER_EXAMPLE = "attacked.parquet"


def attacked(
    attack: AttackConfig,
    model: heads.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    task: tasks.Task,
    *,
    batch_size: int,
    max_length: int,
    device: torch.device,
    out: Path,
    runtime: RuntimeConfig,
) -> list[dict[str, Any]]:
    """Attack the first examples of the test split; a table with the outcome for each is written to ``out``.

    Finished batches stay in ``out/checkpoint`` until the stage is complete, so that a killed evaluation continues after
    them and ends with the same rows. Raises ConfigError if no member of the ensemble works for two classes.
    """
    examples = task.splits["test"][: attack.max_examples]
    data = encode_examples(tokenizer, examples, max_length)
    gold = np.array([example.label for example in examples])
    members = usable(attack.members, len(task.labels))
    if len(members) < len(attack.members):
        log.warning("apgd_dlr is left out: the difference-of-logits ratio needs three classes, the task has two")
    if not members:
        raise ConfigError(f"evaluate.attack.members={attack.members}: none works for a task of two classes")
    arrays: Arrays = {}
    bar = tqdm(total=len(gold), desc="attacks", disable=not runtime.progress, leave=False, unit="example")
    for number, indices in enumerate(batching.sorted_batches(data.lengths, batch_size)):
        finished = out / "checkpoint" / f"attacks-{number}.npz"
        if not finished.exists():
            labels = torch.tensor(gold[indices])
            batch = {**batching.collate(tokenizer, data, indices), "labels": labels}
            on_device = {name: value.to(device) for name, value in batch.items()}
            write_whole(finished, attack_batch(attack, model, on_device, members))
        gather(arrays, indices, len(gold), dict(np.load(finished, allow_pickle=False)))
        bar.update(len(indices))
    bar.close()
    table = per_example(arrays, gold, members, attack.epsilons)
    table.to_parquet(out / PER_EXAMPLE)
    rows = accuracy_rows(attack, task.metric, len(task.labels), arrays, table, members, task.negative_index)
    if len(attack.members) > 1:
        rows += norm_rows(attack, table) + cost_rows(attack, arrays, members)
    return rows + (check_rows(attack, arrays, table, members, len(task.labels)) if attack.checks else [])


def attack_batch(attack: AttackConfig, model: heads.Classifier, batch: dict[str, Any], members: list[str]) -> Arrays:
    """The results of every member on one batch, and the samples of the checks: arrays [B], costs [1, 3]."""
    ball = Ball(**asdict(attack.ball))
    strength = strength_of(attack)
    victim = Victim(model, batch, special_tokens=ball.special_tokens)
    clean = clean_state(victim)
    arrays: Arrays = {"clean": clean[0].argmax(-1).cpu().numpy()}
    results = worst_case(victim, clean, members, ball=ball, epsilons=attack.epsilons, strength=strength)
    for name, result in results.items():
        for column in ("epsilon", "answer", "norm", "nearest"):
            arrays[f"{name}.{column}"] = getattr(result, column).numpy()
        arrays[f"{name}.cost"] = np.array([[result.passes.forward, result.passes.backward, result.seconds]])
    if attack.checks:
        forward, backward, started = victim.passes.forward, victim.passes.backward, time.monotonic()
        epsilon, member = checks.reference(attack.epsilons), checked(members)
        samples = checks.sample(victim, clean, ball=ball, epsilon=epsilon, member=member, strength=strength)
        arrays |= {f"{CHECKS}.{name}": values for name, values in samples.items()}
        passes = [victim.passes.forward - forward, victim.passes.backward - backward]
        arrays[f"{CHECKS}.cost"] = np.array([[*passes, time.monotonic() - started]])
    return arrays


def write_whole(path: Path, arrays: Arrays) -> None:
    """Write to a temporary name, then rename: a kill leaves the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub mistakes the names for its own argument
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(fresh, path)


def gather(arrays: Arrays, indices: list[int], n: int, batch: Arrays) -> None:
    """Write a batch's values [B] to the places of its examples in ``arrays`` [n], and add up its costs."""
    for name, values in batch.items():
        if name.endswith(".cost"):
            arrays[name] = arrays.get(name, 0) + values[0]
        else:
            arrays.setdefault(name, np.zeros(n, dtype=values.dtype))[indices] = values
