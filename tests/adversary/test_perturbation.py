"""The hook: on every architecture it reaches the word embedding, once, and leaves nothing behind."""

from dataclasses import replace

import pytest
import torch
from adversaries import (
    ARCHITECTURES,
    ENCODERS,
    MASKED_LMS,
    OBJECTIVES,
    VOCABULARY,
    Toy,
    batch_for,
    make_batch,
    pick,
    tiny,
)
from torch import nn

from adapt.adversary.plain import PLAIN
from adapt.config import ConfigError
from adapt.perturbation.ball import Ball
from adapt.perturbation.embeddings import evaluating, find_embedding, median_norm, perturbed, token_mask
from adapt.training.objectives import Classification, example_losses
from adapt.training.step import Step

CASES = [(name, "classification") for name in ARCHITECTURES] + [(name, "masked_lm") for name in MASKED_LMS]


def embedding_of(model, objective="classification"):
    batch = batch_for(objective)
    return find_embedding(model, batch["input_ids"], lambda: OBJECTIVES[objective].logits(model, batch))


def step_of(model, objective="classification", dropout="fresh"):
    ball = Ball(epsilon=1.0, norm="l2", scope="sequence", relative=False, special_tokens=True)
    adversary = replace(PLAIN, ball=ball, dropout=dropout)
    settings = {"adversary": adversary, "seed": 0, "step_number": 0, "update": lambda: None}
    return Step(model, OBJECTIVES[objective], [batch_for(objective)], **settings)


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def gradients(model):
    result = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    return result


@pytest.mark.parametrize(("architecture", "objective"), CASES)
def test_no_perturbation_is_bit_for_bit_the_clean_pass_and_a_perturbation_is_felt(architecture, objective):
    model = tiny(architecture, objective)
    (view,) = step_of(model, objective)
    clean = view.loss()
    clean.backward()
    clean_gradients = gradients(model)
    delta = view.zero().requires_grad_()
    assert delta.shape[-1] == embedding_of(model, objective).embedding_dim and delta.dtype == torch.float32
    loss = view.loss(delta)
    loss.backward()
    assert torch.equal(loss, clean)
    result = gradients(model)
    assert result.keys() == clean_gradients.keys()
    assert all(torch.equal(result[name], clean_gradients[name]) for name in result)

    real = view.batch["attention_mask"].bool()
    assert (delta.grad[~real] == 0).all()
    gain = view.loss(0.01 * delta.grad / delta.grad.norm()) - clean  # first order: .01 x the gradient's norm
    assert gain.item() == pytest.approx(0.01 * delta.grad.norm().item(), rel=0.15)
    assert hooks(model) == 0


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "electra", "deberta-v2", "albert", "gpt2"])
def test_positions_and_layer_norm_are_applied_once(architecture):
    """The same as handing the model e + delta for its own embeddings, where it accepts them."""
    model = tiny(architecture)
    embedding, batch = embedding_of(model), pick(make_batch(), [0])
    delta = torch.randn(*batch["input_ids"].shape, embedding.embedding_dim)
    with perturbed(embedding, delta, torch.ones(1, 12, 1)):
        hooked = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    moved = embedding(batch["input_ids"]) + delta
    given = model.encoder(inputs_embeds=moved, attention_mask=batch["attention_mask"])[0]
    torch.testing.assert_close(hooked, given)


@pytest.mark.parametrize(("architecture", "path"), [("t5", "encoder.embed_tokens"), ("bart", "encoder.embed_tokens")])
def test_the_module_that_runs_is_found_where_get_input_embeddings_names_another(architecture, path):
    model = tiny(architecture)
    assert embedding_of(model) is model.encoder.get_submodule(path)
    assert embedding_of(model) is not model.encoder.get_input_embeddings()


def test_the_search_runs_the_model_once_and_draws_no_random_number():
    model, passes = tiny("bert", dropout=0.5), []
    model.head.register_forward_hook(lambda *_: passes.append(1))
    before = torch.get_rng_state()
    assert embedding_of(model) is embedding_of(model)
    assert len(passes) == 1
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())


def test_a_model_whose_embedding_never_sees_the_tokens_is_refused():
    model = Toy()
    model.encoder.get_input_embeddings = lambda: nn.Embedding(VOCABULARY, 6)
    with pytest.raises(ConfigError, match="nowhere to perturb"):
        embedding_of(model)


def test_a_pass_that_does_not_reach_the_embedding_fails_loudly():
    model = Toy()
    embedding = embedding_of(model)
    block = perturbed(embedding, torch.zeros(1, 1, 6), torch.ones(1, 1, 1))
    with pytest.raises(AssertionError, match="this pass was not perturbed"), block:
        pass


def test_a_shared_module_is_perturbed_at_its_first_call_only():
    embedding = nn.Embedding(VOCABULARY, 4)
    ids = torch.tensor([[5, 6]])
    clean = embedding(ids)
    with perturbed(embedding, torch.ones(1, 2, 4), torch.ones(1, 2, 1)):
        assert torch.equal(embedding(ids), clean + 1)
        assert torch.equal(embedding(ids), clean)


def test_a_low_precision_embedding_takes_a_float32_perturbation():
    embedding = nn.Embedding(VOCABULARY, 4).bfloat16()
    delta = torch.full((1, 2, 4), 0.5, requires_grad=True)
    with perturbed(embedding, delta, torch.tensor([[[1.0], [0.0]]])):
        output = embedding(torch.tensor([[5, 6]]))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert delta.grad.dtype == torch.float32 and delta.grad[0, :, 0].tolist() == [1.0, 0.0]


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable")
@pytest.mark.parametrize("architecture", ENCODERS)
def test_gradient_checkpointing_changes_nothing(architecture):
    model = tiny(architecture)
    result = []
    for checkpointed in (False, True):
        if checkpointed:
            model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
        (view,) = step_of(model)
        delta = torch.full_like(view.zero(), 0.1).requires_grad_()
        view.loss(delta).backward()
        (inner,) = torch.autograd.grad(view.losses_at(delta).sum(), delta)
        result.append({**gradients(model), "delta": delta.grad, "inner": inner})
    for name, gradient in result[0].items():
        torch.testing.assert_close(result[1][name], gradient, msg=name)


def test_the_median_norm_is_of_what_the_module_gives_over_the_vocabulary():
    model = tiny("bart")
    embedding = embedding_of(model)
    expected = (embedding.weight * 4).norm(dim=1).median()  # scale_embedding: sqrt(16)
    assert median_norm(embedding) == pytest.approx(expected.item())
    gemma = embedding_of(tiny("gemma"))
    assert median_norm(gemma) == pytest.approx(4 * gemma.weight.norm(dim=1).median().item())


def test_the_mask_leaves_out_padding_and_special_tokens_where_asked():
    batch = {"attention_mask": torch.tensor([[1, 1, 1, 0]]), "special_tokens_mask": torch.tensor([[1, 0, 1, 1]])}
    assert token_mask(batch, special_tokens=True).flatten().tolist() == [1, 1, 1, 0]
    assert token_mask(batch, special_tokens=False).flatten().tolist() == [0, 1, 0, 0]


def test_evaluation_mode_gives_each_module_its_own_mode_back():
    model = tiny("bert", dropout=0.5)
    model.head.eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(KeyboardInterrupt), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == before


def test_an_exception_in_a_perturbed_pass_leaves_no_hook():
    model = tiny("bert")
    (view,) = step_of(model, dropout="off")
    delta = view.zero()
    handle = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(MemoryError("out of memory")))
    for losses in (view.loss, view.losses_at):
        with pytest.raises(MemoryError):
            losses(delta)
    handle.remove()
    assert hooks(model) == 0 and model.head.training
    assert torch.equal(view.loss(), example_losses(Classification(), model, view.batch).mean())
