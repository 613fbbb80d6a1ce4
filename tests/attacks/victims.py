"""Small classifiers whose smallest perturbations are known, or whose gradients are hidden, and their batches."""

from __future__ import annotations

import torch
from adversaries import VOCABULARY, Toy
from torch import Tensor, nn

from adapt.attacks.ensemble import MemberResult, Strength, clean_state, worst_case
from adapt.attacks.victim import Victim
from adapt.perturbation.ball import Ball
from adapt.training.objectives import Batch

BALL = Ball(epsilon=1.0, norm="l2", scope="sequence", relative=False, special_tokens=True)


class Linear(nn.Module):
    """logits = (0, w . sum of e, -99) with w = (3, 4): |w|_2 = 5, |w|_1 = 7. Token i is (i / 7, 0).

    The margin of class 1 is 3 i / 7: 3 for one token 7. The third class never leads.
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.encoder = Toy.Encoder(2)
        ids = torch.arange(VOCABULARY) / 7
        self.encoder.words.weight = nn.Parameter(torch.stack([ids, torch.zeros_like(ids)], 1))
        if classes == 2:  # every token has norm 1, so that the median is known
            self.encoder.words.weight = nn.Parameter(torch.tensor([1.0, 0.0]).expand(VOCABULARY, 2).clone())
        self.weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]][:classes]))
        self.bias = nn.Parameter(torch.tensor([0.0, 0.0, -99.0][:classes]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return (self.encoder.words(input_ids) * attention_mask.unsqueeze(-1)).sum(1) @ self.weight.T + self.bias


class Masked(nn.Module):
    """An undefended model whose inputs are rounded: gradients are zero everywhere, answers are as easy to change."""

    def __init__(self, model: nn.Module, digits: float = 50.0) -> None:
        super().__init__()
        self.model, self.digits = model, digits
        self.encoder = model.encoder

        def rounded(_module: nn.Module, _args: tuple, output: Tensor) -> Tensor:
            return (output * digits).round() / digits

        self.rounded = rounded

    def forward(self, **inputs: Tensor) -> Tensor:
        # Registered within the pass, so that it runs after the perturbation.
        handle = self.encoder.get_input_embeddings().register_forward_hook(self.rounded)
        try:
            return self.model(**inputs)
        finally:
            handle.remove()


def one_token(*tokens: int) -> Batch:
    """A batch of sequences of one token each (7 by default), all of class 1."""
    ids = torch.tensor([[token] for token in tokens or (7,)])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "special_tokens_mask": torch.zeros_like(ids),
        "example_ids": torch.arange(len(ids)),
        "labels": torch.ones(len(ids), dtype=torch.long),
    }


def attack(
    model: nn.Module, batch: Batch, members: list[str], epsilons: list[float], ball: Ball = BALL, **strength: int
) -> dict[str, MemberResult]:
    """The results of the members, with 10 steps by default."""
    given = {"num_steps": 10, "minimal_norm_steps": 30, "gradient_free_queries": 30, **strength}
    victim = Victim(model, batch, special_tokens=ball.special_tokens)
    return worst_case(victim, clean_state(victim), members, ball=ball, epsilons=epsilons, strength=Strength(**given))


def right(model: nn.Module, batch: Batch) -> Batch:
    """The batch with the model's own answers as its labels."""
    victim = Victim(model, batch, special_tokens=True)
    return {**batch, "labels": victim.logits(victim.zero()).argmax(-1)}
