"""PGD as a member of the ensemble: what accuracy under attack means, on a grid of radii."""

from dataclasses import replace

import pytest
import torch
from adversaries import CLASSES, Toy, make_batch, pick, tiny
from torch import nn
from victims import BALL, Linear, one_token

from adapt.adversary.plain import PLAIN
from adapt.attacks.ensemble import Strength, clean_state, worst_case
from adapt.attacks.victim import Victim
from adapt.perturbation.attack import ascend
from adapt.perturbation.ball import Ball
from adapt.perturbation.embeddings import perturbed
from adapt.training.objectives import Classification
from adapt.training.step import Step


def robust_predictions(model, batch, *, ball, epsilons, num_steps):
    """The answers [B] at each radius, as the rows of attack=pgd count them."""
    victim = Victim(model, batch, special_tokens=ball.special_tokens)
    clean = clean_state(victim)
    result = worst_case(victim, clean, ["pgd"], ball=ball, epsilons=epsilons, strength=Strength(num_steps))["pgd"]
    answers = clean[0].argmax(-1)
    return {epsilon: torch.where(result.epsilon <= epsilon, result.answer, answers) for epsilon in sorted(epsilons)}


def test_a_linear_classifier_falls_where_the_margin_says():
    """Margin 3, |w| = 5: it is fooled at a radius of .6. The median embedding norm is 1, and 2 after doubling."""
    model = Linear(classes=2)
    predictions = robust_predictions(model, one_token(), ball=BALL, epsilons=[0.61, 0.0, 0.59], num_steps=3)
    assert {epsilon: int(answer) for epsilon, answer in predictions.items()} == {0.0: 1, 0.59: 1, 0.61: 0}
    relative = Ball(epsilon=0.0, norm="l2", scope="token", relative=True, special_tokens=True)
    with torch.no_grad():
        model.encoder.words.weight *= 2  # margin 6: fooled at 1.2
    predictions = robust_predictions(model, one_token(), ball=relative, epsilons=[0.59, 0.61], num_steps=3)
    assert [int(answer) for answer in predictions.values()] == [1, 0]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "deberta-v2"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_accuracy_under_attack_falls_with_epsilon_from_the_clean_one_to_nothing(architecture, norm):
    model, batch = tiny(architecture, dropout=0.5), make_batch()
    with torch.no_grad():
        clean = Classification().logits(model.eval(), batch).argmax(-1)
    batch["labels"][:10] = clean[:10]  # some right, some wrong
    batch["labels"][10:] = (clean[10:] + 1) % CLASSES
    ball = Ball(epsilon=0.0, norm=norm, scope="token", relative=True, special_tokens=True)
    model.train()
    predictions = robust_predictions(model, batch, ball=ball, epsilons=[0.0, 0.01, 0.1, 0.5, 8.0], num_steps=5)
    held = [answers == batch["labels"] for answers in predictions.values()]
    assert torch.equal(predictions[0.0], clean)
    assert int(held[0].sum()) == 10 and int(held[-1].sum()) <= 2
    assert all((more <= less).all() for less, more in zip(held, held[1:], strict=False))
    assert all(torch.equal(answers[10:], clean[10:]) for answers in predictions.values())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_answers_do_not_depend_on_the_batch_or_its_padding():
    model, batch = tiny("bert"), make_batch()
    with torch.no_grad():
        batch["labels"] = Classification().logits(model, batch).argmax(-1)
    ball = Ball(epsilon=0.0, norm="l2", scope="sequence", relative=True, special_tokens=False)
    grid = [0.05, 0.2, 0.5, 1.0]
    together = robust_predictions(model, batch, ball=ball, epsilons=grid, num_steps=4)
    assert len({int((answers == batch["labels"]).sum()) for answers in together.values()}) > 2
    for row in range(16):
        alone = robust_predictions(model, pick(batch, [row], extra_padding=3), ball=ball, epsilons=grid, num_steps=4)
        assert [int(answers[row]) for answers in together.values()] == [int(answers) for answers in alone.values()]


def test_answers_are_those_of_plain_pgd_from_zero_at_each_radius():
    model, batch, steps = tiny("roberta").eval(), make_batch(), 4
    with torch.no_grad():
        batch["labels"] = Classification().logits(model, batch).argmax(-1)
    ball = Ball(epsilon=0.0, norm="l2", scope="token", relative=False, special_tokens=True)
    rows = []
    model.head.register_forward_hook(lambda _module, _args, output: rows.append(len(output)))
    predictions = robust_predictions(model, batch, ball=ball, epsilons=[0.02, 0.05, 0.1, 0.3], num_steps=steps)
    cost, held = sum(rows), torch.ones(16, dtype=torch.bool)
    expected_cost = 2 * 16  # the search for the embedding, and the clean pass
    for epsilon, answers in predictions.items():
        adversary = replace(PLAIN, ball=replace(ball, epsilon=epsilon), dropout="off")
        step = Step(model, Classification(), [batch], adversary=adversary, seed=0, step_number=0, update=lambda: None)
        (view,) = step
        expected_cost += steps * int(held.sum())
        delta = view.zero()
        for _ in range(steps):
            delta = ascend(view.losses_at, delta, ball=step.ball, step_size=2.5 / steps, num_steps=1)
            with perturbed(step.embedding, delta, view.mask), torch.no_grad():
                held &= Classification().logits(model, batch).argmax(-1) == batch["labels"]
        assert torch.equal(answers == batch["labels"], held)
    assert 0 < int(held.sum()) < 16
    assert cost == expected_cost


def test_an_example_counts_as_fooled_by_any_point_on_the_way():
    """Steps of .625 go 0, .625, 0, .625, 0 around a wrong answer at .6: the path ends where the model is right."""

    class Bump(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Toy.Encoder(1)
            nn.init.zeros_(self.encoder.words.weight)

        def forward(self, input_ids, attention_mask):
            place = self.encoder.words(input_ids)[:, 0]
            return torch.cat([torch.zeros_like(place), 1 - 2 * torch.exp(-(((place - 0.6) / 0.2) ** 2))], 1)

    predictions = robust_predictions(Bump(), one_token(), ball=BALL, epsilons=[0.2, 1.0], num_steps=4)
    assert [int(answer) for answer in predictions.values()] == [1, 0]
