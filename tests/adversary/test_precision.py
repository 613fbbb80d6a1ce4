"""Low precision: perturbations that 16 bits would round away are taken in float32, or refused."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from adversaries import ARCHITECTURES, OBJECTIVES, batch_for, read, run, tiny
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers.pytorch_utils import Conv1D
from world import pipeline

from adapt.config import ConfigError
from adapt.perturbation.ball import Ball
from adapt.training.step import refuse_rounding


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(mixed_precision="bf16", cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_methods_in_float32_give_the_gradients_of_full_precision_under_mixed_precision(
    adversary, objective, accelerator
):
    batch = batch_for(objective)
    expected = run(adversary, tiny("bert", objective), OBJECTIVES[objective], [batch])
    model = accelerator.prepare(tiny("bert", objective))
    wrapped = vars(model)["forward"]
    outcome = run(adversary, model, OBJECTIVES[objective], [batch])
    assert vars(model)["forward"] is wrapped
    same = all(torch.equal(outcome.gradients[name], value) for name, value in expected.gradients.items())
    assert same == adversary.float32


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_awp_does_not_move_a_fresh_lora_along_rounding_errors(architecture):
    """While B is zero the gradient of A is zero in 16 bits too, and B has no norm to be moved by."""
    model = tiny(architecture)
    linear = [name for name, module in model.encoder.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    inject_adapter_in_model(LoraConfig(r=2, target_modules=linear), model.encoder)
    lora = {name: weight for name, weight in model.named_parameters() if "lora_" in name}
    passes = []
    model.head.register_forward_pre_hook(
        lambda *_: passes.append({name: weight.clone() for name, weight in lora.items()})
    )
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    run(read("awp", gamma=0.5), model, OBJECTIVES["classification"], [batch_for("classification")])
    clean, moved = passes
    assert len(lora) == 2 * len(linear)
    assert all(torch.equal(clean[name], moved[name]) for name in lora)


def test_a_radius_that_bf16_rounds_away_is_refused():
    tiny_radius = read("fgm").with_ball(epsilon=1e-4)
    model, batch = tiny("bert"), batch_for("classification")
    with pytest.raises(ConfigError, match=r"vanishes in torch.bfloat16"):
        run(tiny_radius, model, OBJECTIVES["classification"], [batch], precision=torch.bfloat16)
    run(tiny_radius, model, OBJECTIVES["classification"], [batch])  # in float32 nothing is wrong with it


@pytest.mark.parametrize(
    ("norm", "epsilon", "refused"),
    # an embedding of norm 1 in 16 dimensions has elements of 1/4; bf16 resolves 2^-9 = .00195 of them
    [("l2", 0.0019, True), ("l2", 0.002, False), ("linf", 0.00048, True), ("linf", 0.0005, False), ("l2", 0.0, False)],
)
def test_the_limit_by_hand(norm, epsilon, refused):
    ball = Ball(epsilon=epsilon, norm=norm, scope="token", relative=False, special_tokens=True)
    if refused:
        with pytest.raises(ConfigError, match="adversary.float32=true"):
            refuse_rounding(ball, 1.0, 16, torch.bfloat16)
    else:
        refuse_rounding(ball, 1.0, 16, torch.bfloat16)


def test_a_training_refuses_such_a_radius(world, tmp_path):
    """accelerate's autocast is only around each pass, so that no step sees it."""
    radius = ["adversary.ball.epsilon=1e-4", "finetune.optimizer.precision=bf16"]
    with pytest.raises(ConfigError, match=r"vanishes in torch.bfloat16"):
        pipeline(world, tmp_path, "adversary=fgm", *radius).run()
    pipeline(world, tmp_path, "adversary=r3f", "evaluate=clean", *radius).run()  # in float32 whatever the precision
