"""Each method costs what its docstring says, in full passes over the step's batch, however the batch is cut."""

import pytest
import torch
import yaml
from adversaries import OBJECTIVES, OPTIONS, Toy, make_batch, pick, read, run

from adapt.chain.methods import passes
from adapt.config import AdversaryConfig

K, R = 4, 3
PGD = {"num_steps": K, "clean_weight": 0.0, "random_starts": 0}
COSTS = {  # method, settings: forward passes, backward passes, backward passes to delta
    ("none", ()): (1, 1, 0),
    ("fgm", ()): (2, 2, 0),
    ("random", ()): (2, 2, 0),
    ("vat", ()): (3, 2, 1),
    ("vat", (("num_steps", K),)): (K + 2, 2, K),
    ("smart", ()): (4, 2, 1),  # one forward pass is the teacher's
    ("smart", (("num_steps", K), ("teacher_weight", 0.0))): (K + 2, 2, K),
    ("smart_as_released", ()): (3, 2, 1),
    ("smart_as_released", (("num_steps", K),)): (K + 2, 2, K),
    ("alum", ()): (3, 2, 1),
    ("alum_as_released", ()): (3, 2, 1),
    ("sift", ()): (3, 2, 1),
    ("sift", (("num_steps", K),)): (K + 2, 2, K),
    ("r3f", ()): (2, 2, 0),
    ("rdrop", ()): (2, 2, 0),
    ("rdrop_as_released", ()): (2, 2, 0),
    ("pseudo_labelled", ()): (2, 2, 0),
    ("none_x2", ()): (1, 1, 0),
    ("none_x3", ()): (1, 1, 0),
    ("none_x4", ()): (1, 1, 0),
    ("fgsm", ()): (2, 2, 0),
    ("free_at", (("num_steps", K),)): (K, K, 0),
    ("freelb", (("num_steps", K),)): (K, K, 0),
    ("freelb_plus_plus", (("num_steps", K),)): (K, K, 0),
    ("tavat", (("num_steps", K),)): (K, K, 0),
    ("tavat_as_released", (("num_steps", K),)): (K, K, 0),
    ("creat", (("num_steps", K),)): (K + 1, 2, K - 1),
    ("creat_as_released", (("num_steps", K),)): (K + 1, 2, K - 1),
    ("neftune", ()): (1, 1, 0),
    ("awp", ()): (2, 2, 0),
    ("pgd", ()): (K + 1, 1, K),
    ("pgd", (("clean_weight", 0.5),)): (K + 1, 2, K - 1),
    ("pgd", (("random_starts", 1),)): (K + 1, 1, K),
    ("pgd", (("clean_weight", 0.5), ("random_starts", 1))): (K + 2, 2, K),
    ("pgd", (("random_starts", R),)): (R * (K + 1) + 1, 1, R * K),
    ("pgd", (("clean_weight", 0.5), ("random_starts", R))): (R * (K + 1) + 2, 2, R * K),
}


@pytest.mark.parametrize(("name", "settings"), COSTS)
@pytest.mark.parametrize("cut", [(16,), (3, 13), (5, 5, 6)])
def test_costs(name, settings, cut):
    adversary = read(name, **((PGD if name == "pgd" else {}) | dict(settings)))
    model, batch = Toy(), make_batch()
    starts = [sum(cut[:index]) for index in range(len(cut))]
    pieces = [pick(batch, range(start, start + size)) for start, size in zip(starts, cut, strict=True)]
    passes = []
    model.upper.register_forward_hook(lambda _module, _args, output: passes.append(len(output)))
    counts = run(adversary, model, OBJECTIVES["classification"], pieces).counts
    assert (counts.forward_passes, counts.backward_passes, counts.delta_backward_passes) == COSTS[name, settings]
    search = len(pieces[0]["labels"]) if adversary.ball else 0  # the one pass that finds the embedding
    assert sum(passes) - search == 16 * counts.forward_passes


def test_every_option_file_has_its_cost_stated_here():
    assert {name for name, _ in COSTS} == {file.stem for file in OPTIONS}


@pytest.mark.parametrize(("name", "settings"), [case for case in COSTS if "random_starts" not in dict(case[1])])
def test_a_method_says_about_what_it_costs(name, settings):
    """Within about one forward pass: a backward pass counts as two of them, one to delta alone as one."""
    option = yaml.safe_load((OPTIONS[0].parent / f"{name}.yaml").read_text())
    method = option["method"] | (PGD if name == "pgd" else {}) | dict(settings)
    forward, backward, to_delta = COSTS[name, settings]
    said = passes(AdversaryConfig(method=method, length=1.0))
    assert said == pytest.approx((forward + 2 * backward + to_delta) / 3, abs=0.35)


def test_inner_steps_compute_no_parameter_gradient():
    """The backward pass to delta stops there: no weight's gradient is computed, let alone kept."""
    model, computed = Toy(), []
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: computed.append(gradient))
    adversary = read("pgd", **PGD)
    outcome = run(adversary, model, OBJECTIVES["classification"], [make_batch()])
    assert len(computed) == len(list(model.parameters()))  # once each, by the one yielded loss
    assert outcome.counts.delta_backward_passes == K
    assert torch.isfinite(outcome.losses[0])
