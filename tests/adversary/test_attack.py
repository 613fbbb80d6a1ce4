"""The attack by itself, and classifiers under it."""

import torch
from adversaries import OBJECTIVES, Toy, make_batch, read, run, tiny

from adapt.perturbation.attack import ascend, attack
from adapt.perturbation.ball import Ball

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
    outcome = run(adversary, model, OBJECTIVES["classification"], [batch])
    assert outcome.counts.skipped_examples == 2  # the one example, at each of the two steps
    assert (outcome.of(122)[-1] == 0).all()
    assert all((outcome.of(example)[-1] != 0).any() for example in batch["example_ids"].tolist() if example != 122)
