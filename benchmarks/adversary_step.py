"""Adversarial steps on an encoder of MiniLM's shape, against the widely copied PGD class and against bare PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertModel

from adapt.adversary.freelb import freelb
from adapt.adversary.pgd import pgd
from adapt.adversary.plain import plain
from adapt.models.heads import Classifier, MeanHead
from adapt.perturbation.ball import Ball
from adapt.training.method import Adversary
from adapt.training.objectives import Batch, Classification
from adapt.training.step import Step

ROWS, LENGTH, CLASSES, K, ROUNDS = 16, 64, 7, 3, 9
EPSILON, STEP_SIZE = 0.05, 0.3  # relative to the median embedding norm, and to epsilon


def run() -> list[str]:
    """Ratios of times over several rounds, in which the contestants take turns: a burst of noise affects one round."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = Classifier(BertModel(config, add_pooling_layer=False), MeanHead(384, CLASSES, 0.0)).train()
    batch = random_batch()
    contestants: dict[str, Callable[[], object]] = {
        "copied PGD": lambda: attack_and_restore(model, batch),
        "PGD, clean term": lambda: ours(model, batch, pgd_method(1.0)),
        "PGD": lambda: ours(model, batch, pgd_method(0.0)),
        "bare PGD": lambda: bare_pgd(model, batch),
        "FreeLB": lambda: ours(model, batch, lambda step: freelb(step, **FREELB)),
        "3 plain passes": lambda: [ours(model, batch, plain) for _ in range(K)],
        "forward and delta backward": lambda: delta_backward(model, batch),
        "plain pass": lambda: ours(model, batch, plain),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, contestant in contestants.items():
            model.zero_grad()
            started = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - started)
    return report({name: np.array(times) for name, times in seconds.items()})


FREELB = {"num_steps": K, "step_size": STEP_SIZE, "init": 0.5, "bounded": True}


def report(seconds: dict[str, NDArray[np.float64]]) -> list[str]:
    """Each ratio, the median over the rounds, beside its target."""
    plain_pass, copied = seconds["plain pass"], seconds["copied PGD"]
    inner = seconds["forward and delta backward"]
    counted = {  # the expected times: pass counts times the measured time of one pass of each kind
        "PGD, clean term": (K - 1) * inner + 2 * plain_pass,
        "PGD": K * inner + plain_pass,
    }
    hooked, freelb_steps = seconds["PGD"] / seconds["bare PGD"], seconds["FreeLB"] / seconds["3 plain passes"]
    lines = [
        f"PGD, K = {K}, with a clean term: {median(copied / seconds['PGD, clean term']):.2f} times the speed of the "
        "class that perturbs and restores the embedding matrix (target: 1.15)",
        f"PGD, K = {K}, without: {median(copied / seconds['PGD']):.2f} times (target: 1.3)",
        f"forward and backward to delta: {median(inner / plain_pass):.2f} of a plain pass (two thirds by count)",
    ]
    lines += [
        f"{name}: {median(seconds[name] / cost):.3f} of what its passes cost (target: 0.85 to 1.15)"
        for name, cost in counted.items()
    ]
    return [
        *lines,
        f"hook and generator: {median(hooked):.3f} of the bare maths (target: at most 1.03)",
        f"FreeLB, K = {K}: {median(freelb_steps):.3f} of {K} plain passes (target: at most 1.05)",
    ]


def median(ratios: NDArray[np.float64]) -> float:
    """The median of the rounds' ratios."""
    return float(np.median(ratios))


def random_batch() -> Batch:
    """ROWS sequences of LENGTH tokens."""
    ids = torch.randint(5, 30522, (ROWS, LENGTH))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "special_tokens_mask": torch.zeros_like(ids),
        "example_ids": torch.arange(ROWS),
        "labels": torch.randint(0, CLASSES, (ROWS,)),
    }


def pgd_method(clean_weight: float) -> Callable[[Step], object]:
    """Our PGD, started from zero."""
    return lambda step: pgd(step, num_steps=K, step_size=STEP_SIZE, clean_weight=clean_weight, random_starts=0)


def ours(model: Classifier, batch: Batch, method: Callable[..., object]) -> None:
    """One step of a method as the training loop runs it, without the optimizer."""
    ball = Ball(epsilon=EPSILON, norm="l2", scope="sequence", relative=True, special_tokens=True)
    adversary = Adversary(method, ball, "same", False)  # type: ignore[arg-type]
    step = Step(model, Classification(), [batch], adversary=adversary, seed=0, step_number=0, update=lambda: None)
    for loss in adversary.method(step):
        loss.backward()


def attack_and_restore(model: Classifier, batch: Batch) -> None:
    """The widely copied class: K steps on the embedding matrix itself, each a full pass, the clean gradient kept."""
    weight = model.encoder.get_input_embeddings().weight
    clean_loss(model, batch).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    saved = weight.data.clone()
    for number in range(K):
        assert weight.grad is not None
        norm = weight.grad.norm()
        weight.data.add_(STEP_SIZE * weight.grad / norm)
        moved = weight.data - saved
        if moved.norm() > EPSILON:
            weight.data = saved + EPSILON * moved / moved.norm()
        if number < K - 1:
            model.zero_grad()
        else:
            for name, parameter in model.named_parameters():
                parameter.grad = gradients.get(name)
        clean_loss(model, batch).backward()
    weight.data = saved


def bare_pgd(model: Classifier, batch: Batch) -> None:
    """PGD from zero without a clean term, written out for this model: takes embeddings, no hook, no generator."""
    words = model.encoder.get_input_embeddings()
    radius = EPSILON * words.weight.detach().norm(dim=-1).median()

    def loss_at(delta: Tensor) -> Tensor:
        hidden = model.encoder(
            inputs_embeds=words(batch["input_ids"]) + delta, attention_mask=batch["attention_mask"]
        ).last_hidden_state
        return cross_entropy(model.head(hidden, batch["attention_mask"]), batch["labels"], reduction="sum")

    delta = torch.zeros(ROWS, LENGTH, 384)
    for _ in range(K):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_at(delta), delta)
        moved = delta.detach() + STEP_SIZE * radius * gradient / gradient.norm(dim=(1, 2), keepdim=True)
        delta = moved * (radius / moved.norm(dim=(1, 2), keepdim=True)).clamp(max=1.0)
    (loss_at(delta) / ROWS).backward()


def clean_loss(model: Classifier, batch: Batch) -> Tensor:
    """Mean cross-entropy."""
    return cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])


def delta_backward(model: Classifier, batch: Batch) -> None:
    """One forward pass, and a backward pass only to delta."""
    ball = Ball(epsilon=EPSILON, norm="l2", scope="sequence", relative=True, special_tokens=True)
    adversary = Adversary(plain, ball, "same", False)
    step = Step(model, Classification(), [batch], adversary=adversary, seed=0, step_number=0, update=lambda: None)
    (view,) = step
    delta = view.zero().requires_grad_()
    torch.autograd.grad(view.losses_at(delta).sum(), delta)
