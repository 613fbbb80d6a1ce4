"""The attack alone, and classifiers under it."""

from dataclasses import replace

import pytest
import torch
from adversaries import CLASSES, OBJECTIVES, Toy, make_batch, pick, read, run, tiny
from test_reference import ONE_TOKEN, Linear
from torch import nn

from adapt.adversary.attack import ascend, attack
from adapt.adversary.ball import Ball
from adapt.adversary.perturbation import perturbed
from adapt.adversary.robustness import robust_predictions
from adapt.objectives import Classification
from adapt.steps import Step

BALL = Ball(epsilon=1.0, norm="l2", scope="sequence", relative=False, special_tokens=True)
CENTRES = torch.tensor([[[2.0, 0.0]], [[0.0, -0.3]]])


def bowl(delta: torch.Tensor) -> torch.Tensor:
    """-|delta - centre|^2 [2]: its maximum in the unit ball is (1, 0) for one example and the centre for the other."""
    return -((delta - CENTRES) ** 2).flatten(1).sum(1)


def test_steps_end_at_the_edge_or_near_the_maximum():
    end = ascend(bowl, torch.zeros(2, 1, 2), ball=BALL, step_size=0.25, num_steps=10)
    torch.testing.assert_close(end[0], torch.tensor([[1.0, 0.0]]))
    assert (end[1] - CENTRES[1]).norm() <= 0.25
    assert not end.requires_grad


def test_the_best_delta_of_each_example_is_kept():
    """With steps of .25 towards (0, -.3) the path is 0, .25, .5, .25, ...: its end after 2 steps is not its best."""
    end = ascend(bowl, torch.zeros(2, 1, 2), ball=BALL, step_size=0.25, num_steps=2)
    best = attack(bowl, [torch.zeros(2, 1, 2)], ball=BALL, step_size=0.25, num_steps=2)
    torch.testing.assert_close(end[1], torch.tensor([[0.0, -0.5]]))
    torch.testing.assert_close(best, torch.tensor([[[0.5, 0.0]], [[0.0, -0.25]]]))


def test_the_best_of_several_starts_is_kept_the_starts_included():
    far = torch.tensor([[[-1.0, 0.0]], [[0.0, -0.3]]])
    best = attack(bowl, [torch.zeros(2, 1, 2), far], ball=BALL, step_size=0.25, num_steps=2)
    torch.testing.assert_close(best, torch.tensor([[[0.5, 0.0]], [[0.0, -0.3]]]))


def test_more_steps_and_more_starts_never_hurt_the_attacker():
    model, batch = tiny("bert"), make_batch()
    losses = []
    for starts, steps in [(2, 1), (2, 4), (2, 8), (6, 8)]:
        adversary = read("pgd", num_steps=steps, step_size=0.3, clean_weight=0.0, random_starts=starts)
        (loss,) = run(adversary.with_ball(epsilon=1.0), model, OBJECTIVES["classification"], [batch]).losses
        losses.append(loss.item())
    assert losses == sorted(losses)
    random = run(read("random").with_ball(epsilon=1.0), model, OBJECTIVES["classification"], [batch]).losses[1].item()
    fgm = run(read("fgm").with_ball(epsilon=1.0), model, OBJECTIVES["classification"], [batch]).losses[1].item()
    assert random < fgm < losses[2]


def test_a_linear_classifier_falls_where_the_margin_says():
    """Margin 3, |w| = 5: it falls at a radius of .6. The median embedding norm is 1, and 2 after doubling."""
    model = Linear()
    found = robust_predictions(model, ONE_TOKEN, ball=BALL, epsilons=[0.61, 0.0, 0.59], num_steps=3)
    assert {epsilon: int(answer) for epsilon, answer in found.items()} == {0.0: 1, 0.59: 1, 0.61: 0}
    relative = Ball(epsilon=0.0, norm="l2", scope="token", relative=True, special_tokens=True)
    with torch.no_grad():
        model.encoder.words.weight *= 2  # margin 6: falls at 1.2
    found = robust_predictions(model, ONE_TOKEN, ball=relative, epsilons=[0.59, 0.61], num_steps=3)
    assert [int(answer) for answer in found.values()] == [1, 0]


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
    found = robust_predictions(model, batch, ball=ball, epsilons=[0.0, 0.01, 0.1, 0.5, 8.0], num_steps=5)
    held = [answers == batch["labels"] for answers in found.values()]
    assert torch.equal(found[0.0], clean)
    assert int(held[0].sum()) == 10 and int(held[-1].sum()) <= 2
    assert all((more <= less).all() for less, more in zip(held, held[1:], strict=False))
    assert all(torch.equal(answers[10:], clean[10:]) for answers in found.values())
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
    found = robust_predictions(model, batch, ball=ball, epsilons=[0.02, 0.05, 0.1, 0.3], num_steps=steps)
    cost, held = sum(rows), torch.ones(16, dtype=torch.bool)
    expected_cost = 2 * 16  # the search for the embedding, and the clean pass
    for epsilon, answers in found.items():
        step = Step(model, Classification(), [batch], seed=0, step_number=0, ball=replace(ball, epsilon=epsilon),
                    dropout="off", update=lambda: None)  # fmt: skip
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

    found = robust_predictions(Bump(), ONE_TOKEN, ball=BALL, epsilons=[0.2, 1.0], num_steps=4)
    assert [int(answer) for answer in found.values()] == [1, 0]


def test_gradients_that_are_not_finite_are_counted_and_leave_the_example_unperturbed():
    class Root(Toy):
        """sqrt(|e|) has an infinite gradient at a token whose embedding is zero."""

        def forward(self, input_ids, attention_mask):
            words = self.encoder.words(input_ids)
            return self.upper(torch.tanh(self.lower(words.mean(1)))) + words[:, 1, :3].abs().sqrt()

    torch.manual_seed(0)
    model, batch = Root(), make_batch()
    batch["input_ids"][:, 1] = torch.arange(10, 26)
    with torch.no_grad():
        model.encoder.words.weight[12] = 0
    adversary = read("pgd", clean_weight=0.0, num_steps=2)
    found = run(adversary, model, OBJECTIVES["classification"], [batch])
    assert found.counts.skipped_examples == 2  # the one example, at each of the two steps
    assert (found.of(122)[-1] == 0).all()
    assert all((found.of(example)[-1] != 0).any() for example in batch["example_ids"].tolist() if example != 122)
