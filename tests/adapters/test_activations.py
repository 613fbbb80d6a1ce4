"""What is saved for the backward pass: nothing below the first trained weight, except under an adversary."""

from functools import partial
from pathlib import Path

import pytest
import torch
from adapted import METHODS, architecture, classification, classifier, guessing, language_model, needs, option
from adversaries import make_batch, masked

from adapt.perturbation.embeddings import find_embedding, perturbed
from adapt.training.retention import layer_stacks

BATCH = make_batch(6)
BOTTOM = -1  # the embeddings
TOP = ["lora", "dora", "adalora", "vera", "bottleneck_pfeiffer", "bottleneck_houlsby"]  # methods that choose layers


def kept(model, loss) -> dict[int, int]:
    """The bytes that a training pass saves in each layer, by layer number; the weights' own storage does not count.

    A layer's number holds until the next layer is entered, so what comes after the last layer counts as its own number.
    """
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    result: dict[int, int] = {}
    layer = BOTTOM

    def enter(number: int, *_given) -> None:
        nonlocal layer
        layer = number

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            result[layer] = result.get(layer, 0) + tensor.nbytes
        return tensor

    (layers,) = layer_stacks(model.encoder)
    handles = [one.register_forward_pre_hook(partial(enter, number)) for number, one in enumerate(layers)]
    handles.append(model.encoder.register_forward_hook(partial(enter, len(layers))))
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(model).backward()
    for handle in handles:
        handle.remove()
    return result


def layers_trained(model) -> list[int]:
    """The numbers of the layers that have a trained weight; BOTTOM for the encoder's weights outside the layers."""
    (layers,) = layer_stacks(model.encoder)
    place = {id(weight): number for number, layer in enumerate(layers) for weight in layer.parameters()}
    return [place.get(id(weight), BOTTOM) for weight in model.encoder.parameters() if weight.requires_grad]


def test_every_method_keeps_nothing_below_what_it_trains(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cfg = option(method)
    needs(cfg)
    model = classifier(bases[architecture(cfg)], cfg, tmp_path)
    first = min(layers_trained(model), default=2)  # of two layers: the head alone
    result = kept(model, classification(BATCH))
    assert min(result) == (0 if first == BOTTOM and BOTTOM not in result else first)


@pytest.mark.parametrize("head", ["classifier", "language model"])
@pytest.mark.parametrize("name", TOP)
def test_on_the_top_layer_alone_the_lower_one_keeps_nothing(
    name: str, head: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(name, "peft.method.target_modules=[layer.1.output.dense]")
    if name == "bottleneck_houlsby":
        cfg = option(name, "peft.method.target_modules=[layer.1.output.dense]", "peft.method.norms=false")
    if head == "classifier":
        model, loss = classifier(bases["bert"], cfg, tmp_path), classification(BATCH)
    else:
        model, loss = language_model(bases["bert"], cfg, tmp_path), guessing(masked(BATCH))
    assert set(layers_trained(model)) == {1}
    assert min(kept(model, loss)) == 1


def test_head_alone_keeps_nothing_of_the_encoder_but_for_an_adversary(bases: dict[str, Path], tmp_path: Path) -> None:
    model, loss = classifier(bases["bert"], option("head_only"), tmp_path), classification(BATCH)
    assert set(kept(model, loss)) == {2}
    embedding = find_embedding(model, BATCH["input_ids"], lambda: loss(model))
    delta = torch.zeros(*BATCH["input_ids"].shape, embedding.embedding_dim, requires_grad=True)

    def attacked(model):
        with perturbed(embedding, delta, BATCH["attention_mask"].unsqueeze(-1)):
            return loss(model)

    result = kept(model, attacked)
    assert set(result) == {BOTTOM, 0, 1, 2}
    assert delta.grad is not None and delta.grad.abs().sum() > 0
    assert set(kept(model, loss)) == {2}  # nothing of it stays


def test_all_weights_keep_the_most(bases: dict[str, Path], tmp_path: Path) -> None:
    held = {
        name: sum(kept(classifier(bases["bert"], option(name), tmp_path / name), classification(BATCH)).values())
        for name in ("full", "lora", "head_only")
    }
    assert held["full"] > held["lora"] > held["head_only"]


def test_the_methods_of_this_file_are_options() -> None:
    assert set(TOP) <= set(METHODS)
