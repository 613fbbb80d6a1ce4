"""The ball: norms, steepest directions, projection and samples, over all magnitudes that float32 can hold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapt.config import ConfigError
from adapt.perturbation.ball import Ball

KINDS = [("l2", "sequence"), ("l2", "token"), ("linf", "sequence"), ("linf", "token")]
SHAPE = (2, 3, 4)
elements = st.floats(width=32, allow_nan=False, allow_infinity=False)
tensors = arrays(np.float32, SHAPE, elements=elements).map(torch.from_numpy)
radii = st.floats(1e-6, 1e6)


def ball(epsilon: float = 1.0, norm: str = "l2", scope: str = "sequence") -> Ball:
    return Ball(epsilon=epsilon, norm=norm, scope=scope, relative=False, special_tokens=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
@given(gradient=tensors)
def test_a_unit_has_norm_one_whatever_the_gradients_magnitude_and_zero_stays_zero(kind, gradient):
    unit = ball(1.0, *kind).unit(gradient)
    sizes = ball(1.0, *kind).size(unit)
    nonzero = ball(1.0, *kind).size(gradient) > 0
    torch.testing.assert_close(sizes, nonzero.float(), atol=1e-6, rtol=0)
    assert ((gradient * unit) >= 0).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
@given(delta=tensors, epsilon=radii)
def test_a_projection_lies_in_the_ball_and_leaves_what_lay_in_it(kind, delta, epsilon):
    within = ball(epsilon, *kind)
    projected = within.project(delta)
    assert (within.size(projected) <= epsilon * (1 + 1e-6)).all()
    inside = within.size(delta) <= epsilon
    assert torch.equal(torch.where(inside, projected, 0.0), torch.where(inside, delta, 0.0))
    torch.testing.assert_close(within.project(projected), projected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
@given(seed=st.integers(0, 2**32), tokens=st.integers(0, 5), epsilon=radii)
def test_samples_lie_in_the_ball_and_directions_on_its_edge(kind, seed, tokens, epsilon):
    within = ball(epsilon, *kind)
    point = torch.from_numpy(within.uniform(np.random.default_rng(seed), tokens, 4))
    edge = torch.from_numpy(within.boundary(np.random.default_rng(seed), tokens, 4))
    assert point.shape == edge.shape == (tokens, 4) and point.dtype == edge.dtype == torch.float32
    if tokens:
        assert (within.size(point[None]) <= epsilon * (1 + 1e-6)).all()
        torch.testing.assert_close(within.size(edge[None]) / epsilon, torch.ones_like(within.size(edge[None])))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
def test_samples_are_uniform_in_the_ball(kind):
    within, random = ball(2.0, *kind), np.random.default_rng(0)
    points = torch.stack([torch.from_numpy(within.uniform(random, 3, 4)) for _ in range(2000)])
    assert points.mean(0).abs().max() < 0.12
    if kind[0] == "l2":  # the share of the volume within radius r is (r / epsilon)^dimensions
        shares = (within.size(points) / 2.0).flatten() ** (4 if kind[1] == "token" else 12)
    else:
        shares = (points.flatten() + 2) / 4
    deciles = torch.quantile(shares, torch.arange(1, 10) / 10.0)
    torch.testing.assert_close(deciles, torch.arange(1, 10) / 10.0, atol=0.04, rtol=0)


def test_steps_and_sizes_by_hand():
    gradient = torch.tensor([[[3.0, 0.0], [0.0, -4.0]]])
    assert ball(scope="sequence").size(gradient).tolist() == [[[5.0]]]
    assert ball(scope="token").size(gradient).tolist() == [[[3.0], [4.0]]]
    assert ball(norm="linf").size(gradient).tolist() == [[[4.0]]]
    torch.testing.assert_close(ball(scope="sequence").unit(gradient), gradient / 5)
    torch.testing.assert_close(ball(scope="token").unit(gradient), torch.tensor([[[1.0, 0.0], [0.0, -1.0]]]))
    assert torch.equal(ball(norm="linf").unit(gradient), gradient.sign())
    torch.testing.assert_close(ball(2.5).project(gradient), gradient / 2)
    assert ball(3.5, norm="linf").project(gradient).tolist() == [[[3.0, 0.0], [0.0, -3.5]]]
    torch.testing.assert_close(ball(10.0).ascend(gradient, gradient, 0.3), gradient * 1.6)
    torch.testing.assert_close(ball(6.0).ascend(gradient, gradient, 0.3), gradient * 1.2)


@pytest.mark.parametrize("scope", ["sequence", "token"])
def test_a_half_precision_gradient_whose_norm_overflows_still_has_a_direction(scope):
    gradient = torch.full((1, 64, 64), 60000.0, dtype=torch.float16)
    assert gradient.norm().isinf()
    unit = ball(scope=scope).unit(gradient)
    assert unit.dtype == torch.float32
    torch.testing.assert_close(ball(scope=scope).size(unit), torch.ones(1, 1 if scope == "sequence" else 64, 1))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_an_example_whose_gradient_is_not_finite_is_skipped_and_counted(kind, bad):
    gradient = torch.ones(SHAPE)
    gradient[1, 2, 3] = bad
    within = ball(1.0, *kind)
    unit = within.unit(gradient)
    assert torch.equal(unit[1], torch.zeros(3, 4)) and (unit[0] > 0).all()
    assert int(within.skipped) == 1
    within.unit(gradient)
    assert int(within.skipped) == 2


def test_a_relative_radius_becomes_a_length():
    relative = Ball(epsilon=0.5, norm="l2", scope="token", relative=True, special_tokens=False)
    assert relative.absolute(3.0).radius == 1.5
    assert relative.absolute(3.0).absolute(3.0).radius == 1.5
    with pytest.raises(AssertionError, match="no absolute radius yet"):
        relative.project(torch.ones(SHAPE))


@pytest.mark.parametrize(
    ("setting", "value", "answer"),
    [
        ("epsilon", -1.0, "ball.epsilon is -1.0: must be a finite number, 0 or more"),
        ("epsilon", float("inf"), "ball.epsilon is inf"),
        ("norm", "l1", "ball.norm is 'l1': must be one of l2, linf"),
        ("scope", "row", "ball.scope is 'row': must be one of token, sequence, document"),
    ],
)
def test_a_ball_that_does_not_exist_is_refused(setting, value, answer):
    settings = {"epsilon": 1.0, "norm": "l2", "scope": "token", "relative": False, "special_tokens": True}
    with pytest.raises(ConfigError, match=answer):
        Ball(**{**settings, setting: value})
