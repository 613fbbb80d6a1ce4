"""The dropout mask of the passes over one micro-batch: same, fresh, or off in the inner ones."""

from dataclasses import replace

import pytest
import torch
from adversaries import OBJECTIVES, make_batch, pick, read, run, tiny

from adapt.adversary.plain import PLAIN
from adapt.config import ConfigError
from adapt.perturbation.ball import Ball
from adapt.training.step import Step


def view_of(dropout, model):
    ball = Ball(epsilon=1.0, norm="l2", scope="sequence", relative=False, special_tokens=True)
    adversary = replace(PLAIN, ball=ball, dropout=dropout)
    settings = {"adversary": adversary, "seed": 0, "step_number": 0, "update": lambda: None}
    (view,) = Step(model, OBJECTIVES["classification"], [make_batch()], **settings)
    return view


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "deberta-v2"])
def test_the_same_mask_in_every_pass(architecture):
    model = tiny(architecture, dropout=0.5)
    view = view_of("same", model)
    outer, inner, again = view.loss(), view.losses_at(view.zero()).mean(), view.loss(view.zero())
    assert torch.equal(outer, inner) and torch.equal(outer, again)
    assert not torch.equal(outer, view_of("same", model).loss())  # the next view draws another


def test_the_same_mask_leaves_the_generator_where_one_pass_would():
    model = tiny("bert", dropout=0.5)
    torch.manual_seed(1)
    view_of("same", model).loss()
    once = torch.get_rng_state()
    torch.manual_seed(1)
    view = view_of("same", model)
    for _ in range(3):
        view.losses_at(view.zero())
    assert torch.equal(torch.get_rng_state(), once)


def test_a_fresh_mask_in_every_pass():
    view = view_of("fresh", tiny("bert", dropout=0.5))
    losses = [view.loss(), view.losses_at(view.zero()).mean(), view.loss(view.zero())]
    assert len({loss.item() for loss in losses}) == 3


def test_no_dropout_in_the_inner_passes_and_some_in_the_outer_ones():
    model = tiny("bert", dropout=0.5)
    view = view_of("off", model)
    inner, outer = view.losses_at(view.zero()).mean(), view.loss()
    assert all(module.training for module in model.modules())
    model.eval()
    assert torch.equal(inner, view.loss())
    assert not torch.equal(outer, inner)


@pytest.mark.parametrize("dropout", ["same", "fresh", "off"])
def test_methods_train_with_every_setting_and_repeat_bit_for_bit(perturbing, dropout):
    model, batch = tiny("bert", dropout=0.3), make_batch()
    pieces = [pick(batch, range(0, 6)), pick(batch, range(6, 16))]
    result = []
    for _ in range(2):
        torch.manual_seed(3)
        result.append(run(perturbing, model, OBJECTIVES["classification"], pieces, dropout=dropout).losses)
    assert torch.equal(torch.stack(result[0]), torch.stack(result[1]))


def test_an_unknown_setting_is_refused():
    with pytest.raises(ConfigError, match="adversary.dropout is 'none': must be one of same, fresh, off"):
        view_of("none", tiny("bert"))


def test_a_method_without_its_ball_is_refused():
    adversary = read("fgm")
    adversary.ball = None
    with pytest.raises(ConfigError, match="adversary.ball is null"):
        run(adversary, tiny("bert"), OBJECTIVES["classification"], [make_batch()])


def test_pgd_without_a_step_is_refused():
    with pytest.raises(ConfigError, match="adversary.method.num_steps is 0: must be 1 or more"):
        run(read("pgd", num_steps=0), tiny("bert"), OBJECTIVES["classification"], [make_batch()])
