"""The gradient-free search: its schedule, its proposals, and that it uses only answers."""

import numpy as np
import pytest
import torch
from adversaries import make_batch, tiny
from victims import BALL, Linear, attack, one_token, right

from adapt.attacks.gradient_free import block_share, propose, random_search
from adapt.perturbation.ball import Ball


def test_the_share_is_halved_by_the_papers_schedule():
    queries = [0, 9, 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 9999]
    halvings = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert [block_share(query / 10_000) for query in queries] == [0.8 / 2**number for number in halvings]


@pytest.mark.parametrize("share", [1.0, 0.4, 0.01])
def test_a_proposal_replaces_its_share_and_all_its_tokens_go_one_way(share):
    delta, places = np.zeros((10, 20), dtype=np.float32), np.array([0, 1, 2, 4, 5, 6, 7, 8])
    propose(delta, places, np.random.default_rng(0), share)
    assert (delta[[3, 9]] == 0).all()
    moved = np.flatnonzero(delta.any(1))
    assert np.isin(moved, places).all() and (delta[moved] == delta[moved[0]]).all()
    assert (delta != 0).sum() == pytest.approx(share * 160, abs=20)
    before = delta.copy()
    propose(delta, np.array([], dtype=int), np.random.default_rng(0), share)
    assert (delta == before).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_descends_on_the_boundary_without_a_gradient(norm):
    ball = Ball(epsilon=0.7, norm=norm, scope="sequence", relative=False, special_tokens=True)
    target, margins = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), []

    def margins_at(delta):
        assert not delta.requires_grad
        torch.testing.assert_close(ball.size(delta).flatten(), torch.full((2,), 0.7))
        margins.append(-(delta * target).sum((1, 2)))
        return margins[-1]

    movable, zero = torch.ones(2, 6, dtype=torch.bool), torch.zeros(2, 6, 8)
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    lowest = random_search(margins_at, generators, movable, zero, ball=ball, num_queries=200)
    assert torch.equal(lowest, torch.stack(margins).amin(0)) and len(margins) == 200
    random = [ball.boundary(np.random.default_rng(seed), 6, 8) for seed in range(200)]
    luck = torch.stack([-(torch.from_numpy(delta) * target).sum((1, 2)) for delta in random]).amin(0)
    assert (lowest < 1.3 * luck).all()  # margins below zero: well below the best of 200 independent draws


def test_it_finds_what_lies_open_and_no_radius_too_small():
    result = attack(Linear(), one_token(7, 14), ["gradient_free"], [0.59, 0.7, 5.0])["gradient_free"]
    assert result.epsilon.tolist() == [0.7, 5.0] and result.passes.backward == 0
    assert 0.6 < result.norm[0] <= 0.7


def test_its_noise_has_a_seed():
    model, batch = tiny("bert"), make_batch(8)
    batch = right(model, batch)
    grid = [0.1, 0.3, 1.0, 3.0]
    one, same, other = (
        attack(model, batch, ["gradient_free"], grid, BALL, seed=seed, gradient_free_queries=4)["gradient_free"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.norm, same.norm) and torch.equal(one.answer, same.answer)
    assert not (torch.equal(one.epsilon, other.epsilon) and torch.equal(one.nearest, other.nearest))
