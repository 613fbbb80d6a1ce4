"""The worst case over the members: its invariants on random encoders."""

from dataclasses import replace

import pytest
import torch
from adversaries import make_batch, pick, tiny
from victims import Linear, attack, one_token, right

from adapt.attacks.ensemble import MEMBERS, usable
from adapt.attacks.victim import Victim
from adapt.config import AttackConfig, choices
from adapt.perturbation.ball import Ball

GRID = [0.02, 0.1, 0.3, 1.0]
KINDS = [("l2", "sequence"), ("l2", "token"), ("linf", "sequence")]
ALL = list(MEMBERS)


def ball(norm: str = "l2", scope: str = "sequence", special_tokens: bool = False) -> Ball:
    return Ball(epsilon=9.0, norm=norm, scope=scope, relative=True, special_tokens=special_tokens)


def test_a_config_can_name_each_member_and_no_other():
    assert choices(AttackConfig, "members") == tuple(MEMBERS)
    assert usable(ALL, 2) == [name for name in ALL if name != "apgd_dlr"]
    assert usable(ALL, 3) == ALL


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
def test_every_delta_lies_in_its_ball_and_is_zero_where_nothing_may_move(kind, monkeypatch):
    model, batch, seen = tiny("bert"), make_batch(6), []
    batch, within = right(model, batch), ball(*kind)
    logits = Victim.logits

    def spied(victim, delta):
        seen.append((within.size(delta).max().item() / victim.length, (delta * (1 - victim.mask)).abs().max().item()))
        assert delta.dtype == torch.float32
        return logits(victim, delta)

    monkeypatch.setattr(Victim, "logits", spied)
    radius_bound = [name for name in ALL if name != "minimal_norm"]
    for epsilon in GRID[1:3]:
        seen.clear()
        attack(model, batch, radius_bound, [epsilon], within, restarts=2, num_steps=5)
        assert max(size for size, _ in seen) == pytest.approx(epsilon, rel=1e-5)
        assert max(outside for _, outside in seen) == 0
    seen.clear()
    attack(model, batch, ["minimal_norm"], GRID, within)
    assert max(outside for _, outside in seen) == 0 and len(seen) > 20


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
def test_more_radius_and_more_members_never_help_the_model(kind):
    model, batch = tiny("roberta", dropout=0.5), make_batch()
    batch = right(model, batch)
    batch["labels"][:3] = (batch["labels"][:3] + 1) % 3
    results = attack(model, batch, ALL, GRID, ball(*kind))
    norms = torch.stack([each.norm for each in results.values()])
    for name, each in results.items():
        assert each.epsilon[:3].tolist() == each.norm[:3].tolist() == [0, 0, 0], name
        assert (each.norm <= each.epsilon).all(), (
            name
        )  # so accuracy falls with epsilon, and the ensemble's is the lowest
        assert ((each.answer == batch["labels"]) == each.epsilon.isinf()).all(), name
        assert ((each.nearest == batch["labels"]) == each.norm.isinf()).all(), name
        fell = each.epsilon[each.epsilon > 0]
        assert all(radius in [*GRID, torch.inf] for radius in fell.tolist()), name
    robust = {epsilon: int((norms.amin(0) > epsilon).sum()) for epsilon in GRID}
    assert list(robust.values()) == sorted(robust.values(), reverse=True) and len(set(robust.values())) > 1
    assert all(robust[epsilon] <= int((each.epsilon > epsilon).sum()) for epsilon in GRID for each in results.values())


@pytest.mark.parametrize("member", ALL)
@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: "-".join(kind))
def test_an_answer_depends_neither_on_the_batch_nor_on_padding(member, kind):
    model, batch = tiny("bert"), make_batch()
    batch = right(model, batch)
    given = {"restarts": 2, "num_steps": 5, "gradient_free_queries": 10}
    together = attack(model, batch, [member], GRID, ball(*kind), **given)[member]
    assert len(set(together.epsilon.tolist())) > 1
    for row in range(0, 16, 3):
        alone = attack(model, pick(batch, [row], extra_padding=3), [member], GRID, ball(*kind), **given)[member]
        assert alone.epsilon.tolist() == together.epsilon[[row]].tolist()
        torch.testing.assert_close(alone.norm, together.norm[[row]], rtol=0.02, atol=0)
        assert alone.answer.tolist() == together.answer[[row]].tolist()


def test_same_seed_same_bytes_and_the_model_is_left_alone():
    model, batch = tiny("distilbert", dropout=0.5), make_batch(8)
    batch = right(model, batch)
    state = torch.get_rng_state()
    first, second = (attack(model, batch, ALL, GRID[1:], ball(), restarts=2, num_steps=5) for _ in range(2))
    for name in ALL:
        for column in ("epsilon", "answer", "norm", "nearest"):
            assert torch.equal(getattr(first[name], column), getattr(second[name], column)), (name, column)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_a_cascade_finds_the_same_worst_case_with_fewer_passes():
    model, batch = tiny("bert"), make_batch()
    batch = right(model, batch)
    order = ["minimal_norm", "apgd_ce", "apgd_dlr", "gradient_free"]
    given = {"num_steps": 5, "gradient_free_queries": 10}
    alone, cascade = (
        attack(model, batch, order, GRID, ball("l2", "token"), cascade=value, **given) for value in (False, True)
    )
    worst = [torch.stack([each.epsilon for each in results.values()]).amin(0) for results in (alone, cascade)]
    assert torch.equal(*worst) and len(set(worst[0].tolist())) > 1
    passes = [sum(each.passes.forward for each in results.values()) for results in (alone, cascade)]
    assert passes[1] < 0.8 * passes[0]


def test_each_member_attacks_those_that_stand_against_it():
    """Margins of 3, 6 and 15 are crossed at .6, 1.2 and 3: 10 steps at .5, then at 1, 2 and 4 for the examples left."""
    results = attack(Linear(), one_token(7, 14, 35), ["pgd", "apgd_ce", "gradient_free"], [4.0, 0.5, 2.0, 1.0],
                   Ball(1.0, "l2", "sequence", False, True))  # fmt: skip
    assert {name: each.epsilon.tolist() for name, each in results.items()} == dict.fromkeys(results, [1.0, 2.0, 4.0])
    attacked = 3 + 3 + 2 + 1
    passes = {name: (each.passes.forward, each.passes.backward) for name, each in results.items()}
    assert passes == {
        "pgd": (10 * attacked, 9 * attacked),  # the gradient at zero is known
        "apgd_ce": (11 * attacked, 10 * attacked),
        "gradient_free": (30 * attacked, 0),
    }


def test_restarts_are_random_rounds_for_those_that_stand(monkeypatch):
    model, batch = Linear(), one_token(7, 14)
    starts = []
    logits = Victim.logits
    monkeypatch.setattr(Victim, "logits", lambda self, delta: (starts.append(len(delta)), logits(self, delta))[1])
    attack(model, batch, ["apgd_ce"], [0.7], Ball(1.0, "l2", "sequence", False, True), restarts=3, num_steps=2)
    assert starts == [2] + [2] * 3 + [1] * 3 + [1] * 3  # the clean pass; from zero; twice from random points


def test_low_precision_around_an_attack_does_not_reach_it():
    model, batch = tiny("bert"), make_batch(6)
    batch = right(model, batch)
    plain = attack(model, batch, ["apgd_ce"], GRID, ball())["apgd_ce"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = attack(model, batch, ["apgd_ce"], GRID, ball())["apgd_ce"]
    assert torch.equal(plain.norm, within.norm)


def test_a_relative_norm_is_in_median_embeddings():
    model = Linear(classes=2)
    relative = replace(ball(), special_tokens=True)
    for factor in (1.0, 2.0):  # margin and median embedding both double
        with torch.no_grad():
            model.encoder.words.weight *= factor
        norm = attack(model, one_token(), ["minimal_norm"], GRID, relative)["minimal_norm"].norm
        assert norm.item() == pytest.approx(0.6, rel=3e-3)
