"""What every method of conf/adversary must get right, on five encoders and both objectives.

An option file that cannot have a property says so, with its reason, under ``exempt``. Each method meets every encoder,
both objectives and every kind of ball, all of them together on the first encoder; ``make test-all`` runs the whole
product (marker ``full``).
"""

import itertools
from collections.abc import Iterable

import pytest
import torch
from adversaries import ENCODERS, OBJECTIVES, PROPERTIES, Adversary, batch_for, pick, read, run, tiny
from torch import nn

from adapt.perturbation.embeddings import median_norm
from adapt.training.objectives import example_losses

KINDS = ["l2-sequence", "l2-token", "linf-sequence", "linf-token"]
RADII = [0.01, 0.5, 20.0]


def covering(names: str, *values: Iterable) -> pytest.MarkDecorator:
    """The first encoder with the whole product of the values, each other one with one of them; the rest is ``full``."""
    product = list(itertools.product(*values))
    rows = [
        pytest.param(encoder, *chosen, marks=() if place == 0 or turn == 5 * place % len(product) else pytest.mark.full)
        for place, encoder in enumerate(ENCODERS)
        for turn, chosen in enumerate(product)
    ]
    return pytest.mark.parametrize(f"architecture, {names}", rows)


on_encoders = pytest.mark.parametrize("architecture", ENCODERS)
on_encoders_for_objectives = covering("objective", OBJECTIVES)


def assert_gradients_equal(gradients: dict, expected: dict, tolerance: float = 2e-5) -> None:
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = max(1.0, gradient.abs().max().item())
        assert (gradients[name] - gradient).abs().max() <= tolerance * scale, name


def assert_deltas_equal(deltas: list, expected: list, radius: float) -> None:
    assert len(deltas) == len(expected) > 0
    for one, other in zip(deltas, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * radius, rtol=0)


def test_exemptions_name_a_property_and_give_a_reason(adversary: Adversary):
    assert adversary.exempt.keys() <= PROPERTIES.keys()
    assert all(len(reason.split()) >= 3 for reason in adversary.exempt.values())


@pytest.mark.holds("accumulation")
@on_encoders_for_objectives
def test_gradients_do_not_depend_on_how_the_batch_is_cut(adversary, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    cuts = {"1 x 16": [16], "4 x 4": [4, 4, 4, 4], "3 + 13": [3, 13]}
    runs = {}
    for name, sizes in cuts.items():
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        pieces = [pick(batch, range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
        runs[name] = run(adversary, model, OBJECTIVES[objective], pieces)
    whole = runs["1 x 16"]
    assert max(gradient.abs().max() for gradient in whole.gradients.values()) > 0.01
    for cut in ("4 x 4", "3 + 13"):
        assert_gradients_equal(runs[cut].gradients, whole.gradients)
        assert sum(runs[cut].losses).item() == pytest.approx(sum(whole.losses).item(), rel=1e-5)
        assert runs[cut].counts == whole.counts


@pytest.mark.holds("inner_steps")
@on_encoders
def test_only_yielded_losses_reach_a_parameters_gradient(adversary, architecture):
    model, batch = tiny(architecture), batch_for("classification")
    started = run(adversary, model, OBJECTIVES["classification"], [batch])
    model.zero_grad()
    losses = adversary.method(started.step)
    while True:
        before = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
        loss = next(losses, None)
        after = {name: p.grad for name, p in model.named_parameters()}
        for name, gradient in before.items():
            assert (gradient is None and after[name] is None) or torch.equal(gradient, after[name]), name
        if loss is None:
            break
        loss.backward()


@pytest.mark.holds("batch_invariance")
@on_encoders_for_objectives
def test_a_perturbation_depends_neither_on_the_batch_nor_on_padding(perturbing, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    together = run(perturbing, model, OBJECTIVES[objective], [batch])
    radius = together.step.ball.radius
    assert together.outside == 0
    for row in (0, 5):
        example = int(batch["example_ids"][row])
        for company in ([row], [row, 9, 2]):
            other = run(perturbing, model, OBJECTIVES[objective], [pick(batch, company, extra_padding=4)])
            assert other.outside == 0
            assert_deltas_equal(other.of(example), together.of(example), radius)


@pytest.mark.holds("batch_invariance")
def test_special_tokens_are_left_alone_where_asked(perturbing):
    model, batch = tiny("bert"), batch_for("classification")
    for allowed in (True, False):
        outcome = run(perturbing.with_ball(special_tokens=allowed), model, OBJECTIVES["classification"], [batch])
        final = outcome.of(100)[-1]
        moved = final.abs().amax(1) > 0
        assert moved[1:-1].all()
        assert moved[0] == moved[-1] == allowed
        assert outcome.outside == 0


@pytest.mark.holds("activations")
@on_encoders_for_objectives
def test_frozen_embeddings_are_perturbed_as_trained_ones_are(perturbing, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    trained = run(perturbing, model, OBJECTIVES[objective], [batch])
    trained.step.embedding.weight.requires_grad_(False)
    frozen = run(perturbing, model, OBJECTIVES[objective], [batch])
    for example in batch["example_ids"].tolist():
        assert_deltas_equal(frozen.of(example), trained.of(example), trained.step.ball.radius)
    assert frozen.of(100)[-1].norm() > 0.1 * frozen.step.ball.radius


@pytest.mark.holds("activations")
@on_encoders
def test_a_tied_output_matrix_does_not_leak_into_the_perturbation(perturbing, architecture):
    model, batch = tiny(architecture, "masked_lm"), batch_for("masked_lm")
    tied = run(perturbing, model, OBJECTIVES["masked_lm"], [batch])
    output = model.model.get_output_embeddings()
    assert output.weight is tied.step.embedding.weight
    output.weight = nn.Parameter(output.weight.detach().clone())
    untied = run(perturbing, model, OBJECTIVES["masked_lm"], [batch])
    for example in batch["example_ids"].tolist():
        assert_deltas_equal(untied.of(example), tied.of(example), tied.step.ball.radius)


@pytest.mark.holds("activations")
@on_encoders
def test_a_repeated_token_has_a_perturbation_at_each_place(perturbing, architecture):
    batch = batch_for("classification")
    batch["input_ids"][0, 1:4] = 17
    final = run(perturbing, tiny(architecture), OBJECTIVES["classification"], [batch]).of(100)[-1]
    assert (final[1] - final[2]).norm() > 1e-3 * final[1].norm() > 0


@pytest.mark.holds("zero_is_clean")
@on_encoders_for_objectives
def test_a_ball_of_radius_zero_trains_as_without_an_adversary(perturbing, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    empty = run(perturbing.with_ball(epsilon=0.0), model, OBJECTIVES[objective], [batch])
    clean = example_losses(OBJECTIVES[objective], model, batch).sum() / OBJECTIVES[objective].items(batch)
    model.zero_grad()
    clean.backward()
    weight = (sum(empty.losses) / clean).item()
    expected = {name: p.grad * weight for name, p in model.named_parameters() if p.grad is not None}
    assert_gradients_equal(empty.gradients, expected)
    assert all((delta == 0).all() for deltas in empty.deltas for delta in deltas.values())


@pytest.mark.holds("bounded")
@covering("kind, epsilon", KINDS, RADII)
def test_a_perturbation_never_leaves_the_ball(perturbing, architecture, kind, epsilon):
    norm, scope = kind.split("-")
    adversary = perturbing.with_ball(norm=norm, scope=scope, epsilon=epsilon)
    model, batch = tiny(architecture), batch_for("classification")
    outcome = run(adversary, model, OBJECTIVES["classification"], [batch])
    ball = outcome.step.ball
    length = median_norm(outcome.step.embedding) if perturbing.ball.relative else 1.0
    assert ball.radius == pytest.approx(epsilon * length)
    sizes = [ball.size(delta[None]) for deltas in outcome.deltas for delta in deltas.values()]
    largest = max(size.max().item() for size in sizes)
    assert 0.1 * ball.radius < largest <= ball.radius * (1 + 1e-6)
    if adversary.name in ("fgm", "fgsm", "random"):
        for delta in outcome.deltas[-1].values():
            torch.testing.assert_close(ball.size(delta[None]), torch.full_like(ball.size(delta[None]), ball.radius))


@pytest.mark.holds("means")
@on_encoders_for_objectives
def test_doubling_the_batch_leaves_every_loss_unchanged(adversary, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    once = run(adversary, model, OBJECTIVES[objective], [pick(batch, range(8))])
    twice = run(adversary, model, OBJECTIVES[objective], [pick(batch, [*range(8), *range(8)])])
    torch.testing.assert_close(torch.stack(twice.losses), torch.stack(once.losses), rtol=1e-5, atol=0)
    assert_gradients_equal(twice.gradients, once.gradients)


@pytest.mark.holds("one_mask")
@on_encoders
def test_every_pass_sees_the_same_masked_batch(adversary, architecture):
    model, batch = tiny(architecture, "masked_lm"), batch_for("masked_lm")
    before, seen = {name: value.clone() for name, value in batch.items()}, []
    model.register_forward_pre_hook(lambda _module, _args, inputs: seen.append(inputs), with_kwargs=True)
    outcome = run(adversary, model, OBJECTIVES["masked_lm"], [batch])
    assert len(seen) >= len(outcome.losses)
    assert all(torch.equal(inputs[name], before[name]) for inputs in seen for name in ("input_ids", "positions"))
    assert all(torch.equal(batch[name], before[name]) for name in before)


@pytest.mark.holds("clean_exit")
@on_encoders
def test_after_an_exception_in_any_pass_the_model_is_as_before(adversary, architecture):
    model, batch = tiny(architecture, dropout=0.5), batch_for("classification")
    dropout = "off" if adversary.ball else adversary.dropout  # there are inner passes, in another mode
    passes = run(adversary, model, OBJECTIVES["classification"], [batch], dropout=dropout).counts.forward_passes
    before = [(len(module._forward_hooks), module.training) for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for failing in range(int(passes)):
        left = [failing]

        def fail(*_: object, left: list = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise MemoryError("out of memory")

        handle = model.head.register_forward_pre_hook(fail)
        with pytest.raises(MemoryError):
            run(adversary, model, OBJECTIVES["classification"], [batch], dropout=dropout)
        handle.remove()
        assert [(len(module._forward_hooks), module.training) for module in model.modules()] == before
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.holds("float32")
@on_encoders_for_objectives
def test_perturbations_stay_float32_and_in_the_ball_under_bf16(perturbing, architecture, objective):
    model, batch = tiny(architecture, objective), batch_for(objective)
    with torch.autocast("cpu", torch.bfloat16):
        outcome = run(perturbing, model, OBJECTIVES[objective], [batch])
    final = list(outcome.deltas[-1].values())
    assert all(delta.dtype == torch.float32 for delta in final)
    assert outcome.counts.skipped_examples == 0
    if "bounded" not in perturbing.exempt:
        sizes = torch.cat([outcome.step.ball.size(delta[None]).flatten() for delta in final])
        assert (sizes <= outcome.step.ball.radius * (1 + 1e-6)).all() and (sizes > 0.1 * outcome.step.ball.radius).all()


def test_the_same_seed_gives_the_same_gradients_bit_for_bit(adversary):
    batch = batch_for("classification")
    for settings in ({}, {"seed": 6}, {"step_number": 8}):
        model = tiny("bert")
        first, second = (run(adversary, model, OBJECTIVES["classification"], [batch], **settings) for _ in range(2))
        assert all(torch.equal(second.gradients[name], value) for name, value in first.gradients.items())


@pytest.mark.parametrize("settings", [{"seed": 6}, {"step_number": 8}])
def test_noise_depends_on_seed_step_example_and_draw(settings):
    adversary = read("random")
    model, batch = tiny("bert"), batch_for("classification")
    one, other = (run(adversary, model, OBJECTIVES["classification"], [batch], **more) for more in ({}, settings))
    assert not torch.equal(one.of(100)[0], other.of(100)[0])
    same_length = [index for index in range(1, 16) if batch["attention_mask"][index].sum() == 12]
    assert not torch.equal(one.of(100)[0], one.of(100 + 11 * same_length[0])[0])
    (view,) = one.step
    assert not torch.equal(view.boundary(), view.boundary())
