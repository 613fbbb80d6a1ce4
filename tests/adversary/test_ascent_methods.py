"""FreeAT, FreeLB, TAVAT, CreAT, NEFTune and AWP by hand on one token, and against transcriptions in float64 numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from adversaries import OBJECTIVES, OPTIONS, VOCABULARY, Toy, make_batch, pick, read, run, tiny
from test_reference import ONE_TOKEN, Linear, Transcription
from torch.optim.lr_scheduler import LambdaLR

from adapt.adversary import tavat as tavat_module
from adapt.training.checkpoint import Checkpoint, Progress
from adapt.training.objectives import Classification
from adapt.training.step import Step, View

CLASSIFICATION = OBJECTIVES["classification"]
AGAINST_W = torch.tensor([-0.6, -0.8])  # unit(g) of the linear model: its loss rises along -w / |w|, w = (3, 4)
NAMES = {
    "words": "encoder.words.weight",
    "lower": "lower.weight",
    "lower_bias": "lower.bias",
    "upper": "upper.weight",
    "upper_bias": "upper.bias",
}


def loss_of(margin: float) -> float:
    return math.log(1 + math.exp(-margin))


def linear(name, batch=ONE_TOKEN, memory=None, **settings):
    """One step on the linear model at a radius of .5."""
    adversary = read(name, **settings).with_ball(epsilon=0.5, norm="l2", relative=False)
    return run(adversary, Linear(), Classification(), [batch], memory={} if memory is None else memory)


@pytest.mark.parametrize(
    ("name", "settings", "margins", "weight"),
    [
        ("free_at", {"num_steps": 3, "step_size": 0.6}, [3.0, 1.5, 0.5], 1.0),  # 3 - 5 |delta|: 0, .3, .6 -> .5
        ("free_at", {"num_steps": 2, "step_size": 1.0}, [3.0, 0.5], 1.0),
        ("freelb", {"num_steps": 3, "step_size": 0.6, "init": 0.0}, [3.0, 1.5, 0.5], 1 / 3),
        ("freelb", {"num_steps": 1, "step_size": 0.6, "init": 0.0}, [3.0], 1.0),
        ("freelb_plus_plus", {"num_steps": 4, "step_size": 0.6, "init": 0.0}, [3.0, 1.5, 0.0, -1.5], 1 / 4),
        ("creat", {"num_steps": 2, "init": 0.0}, [3.0, 0.5], 1 / 2),  # from 0 the cosine has no say
        ("creat", {"num_steps": 3, "init": 0.0, "temperature": 0.0}, [3.0, 0.5], 1 / 2),
        ("creat", {"num_steps": 3, "init": 0.0, "temperature": 0.0, "step_size": 0.2}, [3.0, 2.0], 1 / 2),  # .1 twice
        ("creat_as_released", {"num_steps": 2, "init": 0.0}, [3.0, 0.5], 1 / 2),
        ("creat_as_released", {"num_steps": 3, "init": 0.0, "temperature": 0.0}, [3.0, -2.0], 1 / 2),  # .5 + .5
    ],
)
def test_a_linear_model_by_hand(name, settings, margins, weight):
    outcome = linear(name, **settings)
    expected = [weight * loss_of(margin) for margin in margins]
    assert [loss.item() for loss in outcome.losses] == pytest.approx(expected, rel=1e-5)


def test_fgsm_moves_each_element_by_epsilon():
    signs = run(read("fgsm").with_ball(epsilon=0.5, relative=False), Linear(), Classification(), [ONE_TOKEN])
    assert signs.deltas[-1][0].tolist() == [[-0.5, -0.5]]
    assert signs.losses[1].item() == pytest.approx(loss_of(-0.5), rel=1e-5)  # 3 - .5 x (3 + 4)


@pytest.mark.parametrize(("name", "init"), [("freelb", 0.5), ("neftune", None)])
def test_the_noise_of_freelb_and_neftune_by_hand(name, init):
    """One token of two dimensions: U(-1, 1) * init * .5 / sqrt(2), and the loss where it leads."""
    outcome = linear(name, **({"init": init, "num_steps": 1} if init else {}))
    (noise,) = outcome.deltas[0][0]
    assert 0 < noise.abs().max() <= (init or 1.0) * 0.5 / math.sqrt(2)
    margin = 3 + 3 * noise[0].item() + 4 * noise[1].item()
    assert outcome.losses[0].item() == pytest.approx(loss_of(margin), rel=1e-5)


def test_neftunes_noise_is_scaled_by_the_true_length():
    batch, width, bound = make_batch(), 6, {}
    adversary = read("neftune").with_ball(epsilon=5.0, relative=False)
    for padding in (0, 7):
        outcome = run(adversary, Toy(width), CLASSIFICATION, [pick(batch, range(16), extra_padding=padding)])
        for row, example in enumerate(batch["example_ids"].tolist()):
            tokens = int(batch["attention_mask"][row].sum())
            noise = outcome.of(example)[0]
            assert noise.shape == (tokens, width)
            largest = noise.abs().max().item()
            assert 0.75 <= largest / (5.0 / math.sqrt(tokens * width)) <= 1
            assert bound.setdefault(example, largest) == largest  # padding changes nothing


def test_creat_turns_away_from_the_clean_context():
    """With the label out-weighed: e + delta = (1 + x, y) leaves (1, 0) along (-y, 1 + x) sign(y)."""
    outcome = linear("creat", num_steps=2, step_size=0.3, init=0.4, temperature=1e6)
    (end,) = outcome.deltas[-1][0].double().numpy()
    (start,) = 0.4 * View(outcome.step, ONE_TOKEN).boundary()[0].double().numpy()
    assert np.linalg.norm(start) == pytest.approx(0.2)
    turned = np.array([-start[1], 1 + start[0]]) * np.sign(start[1])
    expected = start + 0.15 * turned / np.linalg.norm(turned)
    np.testing.assert_allclose(end, expected, atol=1e-4)


class Trained(Transcription):
    """Toy in numpy and float64, with the gradients of its weights."""

    def gradients(self, texts, deltas, labels):
        """Of the mean loss over the examples, by the chain rule written out."""
        result = {name: np.zeros_like(getattr(self, name)) for name in NAMES}
        for ids, delta, label in zip(texts, deltas, labels, strict=True):
            mean = (self.words[ids] + delta).mean(0)
            hidden = np.tanh(self.lower @ mean + self.lower_bias)
            scores = self.upper @ hidden + self.upper_bias
            wrong = np.exp(scores) / np.exp(scores).sum() - np.eye(len(scores))[label]
            inner = (1 - hidden**2) * (self.upper.T @ wrong)
            np.add.at(result["words"], ids, self.lower.T @ inner / len(ids))
            result["lower"] += np.outer(inner, mean)
            result["lower_bias"] += inner
            result["upper"] += np.outer(wrong, hidden)
            result["upper_bias"] += wrong
        return {name: total / len(texts) for name, total in result.items()}

    def add(self, changes):
        for name, change in changes.items():
            setattr(self, name, getattr(self, name) + change)

    def mean_loss(self, texts, deltas, labels):
        return np.mean([self.loss_and_gradient(*each)[0] for each in zip(texts, deltas, labels, strict=True)])


def toy():
    torch.manual_seed(2)
    return Toy()


def written_out(batch):
    """The token ids of each example without padding, and the labels."""
    texts = [ids[mask.bool()].numpy() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    return texts, batch["labels"].tolist()


def unit(values, axis=None):
    return values / np.linalg.norm(values, axis=axis, keepdims=axis is not None)


def shrunk(values, epsilon):
    return values * min(1.0, epsilon / np.linalg.norm(values))


def step_of(adversary, model, pieces):
    return Step(model, CLASSIFICATION, pieces, adversary=adversary, seed=5, step_number=7, update=lambda: None)


def absolute(name, epsilon=0.8, **settings):
    return read(name, **settings).with_ball(epsilon=epsilon, relative=False)


@pytest.mark.parametrize("name", ["freelb", "freelb_plus_plus"])
def test_freelb_against_a_transcription(name):
    batch, epsilon, steps = make_batch(), 0.8, 5
    outcome = run(absolute(name, num_steps=steps, step_size=0.4, init=0.5), toy(), CLASSIFICATION, [batch])
    model, (texts, labels) = Trained(toy()), written_out(batch)
    examples = batch["example_ids"].tolist()
    deltas = [outcome.of(example)[0].double().numpy() for example in examples]
    total = dict.fromkeys(NAMES, 0.0)
    for k in range(steps):
        assert outcome.losses[k].item() == pytest.approx(model.mean_loss(texts, deltas, labels) / steps, rel=1e-5)
        for weight, gradient in model.gradients(texts, deltas, labels).items():
            total[weight] = total[weight] + gradient / steps
        for row, (ids, label) in enumerate(zip(texts, labels, strict=True)):
            np.testing.assert_allclose(outcome.of(examples[row])[k].double().numpy(), deltas[row], atol=5e-6)
            moved = deltas[row] + 0.4 * epsilon * unit(model.loss_and_gradient(ids, deltas[row], label)[1])
            deltas[row] = shrunk(moved, epsilon) if name == "freelb" else moved
    for weight, gradient in total.items():
        np.testing.assert_allclose(outcome.gradients[NAMES[weight]].double().numpy(), gradient, atol=1e-6)
    if name == "freelb_plus_plus":
        assert max(np.linalg.norm(delta) for delta in deltas) > 1.5 * epsilon


@pytest.mark.parametrize("name", ["creat", "creat_as_released"])
def test_creat_against_a_transcription(name):
    """The toy's hidden states are its embeddings: at x = e + delta the cosine's gradient is (e/|e| - c x/|x|) / |x|."""
    batch, epsilon, steps, reach = make_batch(), 0.8, 4, 0.4 * 0.8
    settings = {"num_steps": steps, "step_size": 0.4, "init": 0.3, "temperature": 0.7}
    outcome = run(absolute(name, **settings), toy(), CLASSIFICATION, [batch])
    view = View(outcome.step, batch)
    starts = 0.3 * (view.boundary() if name == "creat" else epsilon * view.normal()).double().numpy()
    model, (texts, labels), ends = Trained(toy()), written_out(batch), []
    for start, ids, label in zip(starts, texts, labels, strict=True):
        embeddings, delta = model.words[ids], start[: len(ids)]
        total = delta
        for _ in range(steps - 1):
            there = embeddings + total
            size, length = (np.linalg.norm(each, axis=1, keepdims=True) for each in (there, embeddings))
            cosine = (there * embeddings).sum(1, keepdims=True) / size / length
            of_cosine = (embeddings / length - cosine * there / size) / size
            gradient = model.loss_and_gradient(ids, total, label)[1] - 0.7 * of_cosine
            delta = shrunk(delta + reach * unit(gradient), epsilon)
            total = delta if name == "creat" else total + delta
        ends.append(total)
    for example, end in zip(batch["example_ids"].tolist(), ends, strict=True):
        np.testing.assert_allclose(outcome.of(example)[-1].double().numpy(), end, atol=1e-5)
    expected = model.mean_loss(texts, [end * 0 for end in ends], labels), model.mean_loss(texts, ends, labels)
    assert [loss.item() for loss in outcome.losses] == pytest.approx([each / 2 for each in expected], rel=1e-5)
    furthest = max(np.linalg.norm(end) for end in ends)
    assert furthest > 1.5 * epsilon if name == "creat_as_released" else furthest <= epsilon * (1 + 1e-9)


def test_creat_compares_the_real_tokens_alone():
    batch = make_batch()
    for name in ("creat", "creat_as_released"):
        adversary = replace(read(name, temperature=50.0), dropout="same")
        model = tiny("bert")
        narrow = run(adversary, model, CLASSIFICATION, [pick(batch, range(4))])
        wide = run(adversary, model, CLASSIFICATION, [pick(batch, range(4), extra_padding=5)])
        for example in batch["example_ids"][:4].tolist():
            torch.testing.assert_close(narrow.of(example)[-1], wide.of(example)[-1], rtol=0, atol=1e-4)


def test_free_at_is_shortened_to_the_cost_of_plain_training():
    option = yaml.safe_load((OPTIONS[0].parent / "free_at.yaml").read_text())
    assert option["length"] * option["method"]["num_steps"] == 1


def test_free_at_makes_its_optimizer_steps_on_one_batch():
    """Three steps of gradient descent and three of ascent at once; the last one of the weights is the loop's."""
    batch, epsilon, model = make_batch(), 0.8, toy()
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=0.5), []

    def update():
        optimizer.step()
        optimizer.zero_grad()
        seen.append(model.lower.weight.detach().double().numpy().copy())

    pieces = [pick(batch, range(5)), pick(batch, range(5, 16))]
    outcome = run(absolute("free_at", num_steps=3, step_size=0.6), model, CLASSIFICATION, pieces, update=update)
    assert len(seen) == 2
    update()
    written, (texts, labels) = Trained(toy()), written_out(batch)
    deltas = [np.zeros((len(ids), 6)) for ids in texts]
    for k in range(3):
        loss = sum(outcome.losses[2 * k : 2 * k + 2]).item()
        assert loss == pytest.approx(written.mean_loss(texts, deltas, labels), rel=1e-5)
        climbs = [unit(written.loss_and_gradient(*each)[1]) for each in zip(texts, deltas, labels, strict=True)]
        changes = {name: -0.5 * value for name, value in written.gradients(texts, deltas, labels).items()}
        written.add(changes)
        np.testing.assert_allclose(seen[k], written.lower, atol=1e-6)
        deltas = [shrunk(delta + 0.6 * epsilon * climb, epsilon) for delta, climb in zip(deltas, climbs, strict=True)]


def test_awp_by_hand():
    """Both matrices of the linear model, of norms 5 and sqrt(60), move by a tenth of that along their gradient."""
    outcome = run(read("awp", gamma=0.1), Linear(), Classification(), [ONE_TOKEN])
    half = 0.5 / math.sqrt(2)  # of the output matrix [[0, 0], [3, 4]] along [[1, 0], [-1, 0]] / sqrt(2)
    e = np.array([1.0, 0.0]) + 0.1 * math.sqrt(VOCABULARY) * np.array([-0.6, -0.8])
    margin = (np.array([3 - half, 4.0]) - np.array([half, 0.0])) @ e
    assert [loss.item() for loss in outcome.losses] == pytest.approx([loss_of(3.0), loss_of(margin)], rel=1e-5)
    p = 1 / (1 + math.exp(margin))  # only the gradient at the moved weights is left
    expected = torch.tensor(p * np.array([e, -e]))
    torch.testing.assert_close(outcome.gradients["weight"].double(), expected, rtol=1e-5, atol=0)


def test_awp_against_a_transcription():
    batch, gamma = make_batch(), 0.2
    pieces = [pick(batch, range(5)), pick(batch, range(5, 16))]
    outcome = run(read("awp", gamma=gamma), toy(), CLASSIFICATION, pieces)
    written, (texts, labels) = Trained(toy()), written_out(batch)
    clean = [np.zeros((len(ids), 6)) for ids in texts]
    gradients = written.gradients(texts, clean, labels)
    written.add({name: gamma * np.linalg.norm(getattr(written, name)) * unit(gradients[name])
                 for name in ("words", "lower", "upper")})  # fmt: skip
    assert sum(outcome.losses[2:]).item() == pytest.approx(written.mean_loss(texts, clean, labels), rel=1e-5)
    for weight, gradient in written.gradients(texts, clean, labels).items():
        np.testing.assert_allclose(outcome.gradients[NAMES[weight]].double().numpy(), gradient, atol=1e-6)


@pytest.mark.parametrize("end", ["finished", "closed", "failed"])
def test_awp_moves_each_matrix_by_gamma_and_puts_it_back_to_the_bit(end):
    model = tiny("bert")
    own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    passes = []

    def look(_module, _args):
        passes.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        if end == "failed" and len(passes) == 4:
            raise MemoryError("out of memory")

    model.head.register_forward_pre_hook(look)
    pieces = [pick(make_batch(), range(5)), pick(make_batch(), range(5, 16))]
    adversary = read("awp", gamma=0.01)
    if end == "finished":
        run(adversary, model, CLASSIFICATION, pieces)
    elif end == "failed":
        with pytest.raises(MemoryError):
            run(adversary, model, CLASSIFICATION, pieces)
    else:
        step = step_of(adversary, model, pieces)
        losses = adversary.method(step)
        for _ in range(3):
            next(losses).backward()
        losses.close()
    clean, moved = passes[:2], passes[2:]
    assert len(moved) == (1 if end == "closed" else 2)
    for name, weight in own.items():
        assert all(torch.equal(seen[name], weight) for seen in clean)
        for seen in moved:
            distance = (seen[name] - weight).norm().item()
            assert distance == pytest.approx(0.01 * weight.norm().item() if weight.ndim >= 2 else 0.0, rel=1e-3), name
        assert torch.equal(dict(model.named_parameters())[name].detach(), weight)


def test_awp_moves_what_autocast_sees():
    """An autocast around both passes must not go on with its 16-bit copies of the weights before the move."""
    losses = {}
    for low in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            outcome = run(read("awp", gamma=0.3), tiny("bert"), CLASSIFICATION, [make_batch()])
        losses[low] = [loss.item() for loss in outcome.losses]
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
    assert losses[True][1] > 2 * losses[True][0]


def two_tokens(*ids):
    """One-token examples of these tokens, with the linear model's label."""
    count = len(ids)
    return {
        "input_ids": torch.tensor(ids)[:, None],
        "attention_mask": torch.ones(count, 1, dtype=torch.long),
        "special_tokens_mask": torch.zeros(count, 1, dtype=torch.long),
        "example_ids": torch.arange(count),
        "labels": torch.ones(count, dtype=torch.long),
    }


TAVAT = {"num_steps": 2, "step_size": 0.4, "init": 0.0}


def test_tavats_table_by_hand_after_two_steps():
    """Distances along -w, from nothing, with a = .2: both parts, their sum in the ball of .5, and the table."""
    memory = {}
    first = linear("tavat", memory=memory, **TAVAT)
    assert [loss.item() for loss in first.losses] == pytest.approx([loss_of(3.0) / 2, loss_of(1.0) / 2], rel=1e-5)
    # 0 + 0, .2 + .2, .4 + .4 -> .25 + .25
    torch.testing.assert_close(memory["token_perturbations"][7], 0.25 * AGAINST_W)
    assert memory["token_perturbations"].count_nonzero() == 2
    second = linear("tavat", memory=memory, **TAVAT)
    assert [loss.item() for loss in second.losses] == pytest.approx([loss_of(1.75) / 2, loss_of(0.5) / 2], rel=1e-5)
    # 0 + .25, .2 + .45 -> times .5 / .65, then .2 more each: .354 + .546 -> times .5 / .9
    token = (0.45 * 0.5 / 0.65 + 0.2) * 0.5 / 0.9
    torch.testing.assert_close(memory["token_perturbations"][7], token * AGAINST_W, rtol=1e-5, atol=1e-6)


def test_tavat_keeps_the_mean_of_a_repeated_token_and_the_release_adds_up():
    start = torch.zeros(VOCABULARY, 2)
    start[7], start[8] = 0.1 * AGAINST_W, 0.1 * AGAINST_W
    memory = {"token_perturbations": start.clone()}
    linear("tavat", two_tokens(7, 7, 9), memory, **TAVAT)
    # 0 + .1, .2 + .3, .4 + .5 -> times .5 / .9, the same for both places of 7
    torch.testing.assert_close(memory["token_perturbations"][7], 0.5 * 0.5 / 0.9 * AGAINST_W)
    torch.testing.assert_close(memory["token_perturbations"][9], 0.25 * AGAINST_W)
    assert torch.equal(memory["token_perturbations"][8], start[8])  # it was not in the batch
    memory = {"token_perturbations": start.clone()}
    outcome = linear("tavat_as_released", two_tokens(7, 7), memory, token_norm=1.0, **TAVAT)
    each = 0.5 / math.sqrt(2)  # of the norm of .5 over the whole micro-batch
    after = (each + 0.2) * 0.5 / (each + 0.4)
    expected = [loss_of(3 - 5 * each), loss_of(3 - 5 * 0.5)]  # and not divided by two
    assert [loss.item() for loss in outcome.losses] == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(memory["token_perturbations"][7], (0.1 + 2 * after) * AGAINST_W)


def test_a_tokens_index_is_relative_to_its_sequence_or_document():
    ball = absolute("tavat").ball.absolute(1.0)
    sizes, documents = torch.tensor([[1.0, 3.0, 2.0]])[..., None], torch.tensor([[0, 0, 1]])
    expected = {"sequence": [3.0, 3.0, 3.0], "document": [3.0, 3.0, 2.0], "token": [1.0, 3.0, 2.0]}
    for scope, largest in expected.items():
        result = replace(ball, scope=scope).of_documents(documents).largest(sizes)
        assert result.expand(1, 3, 1).flatten().tolist() == largest


def test_tavats_first_table_is_small_uniform_and_of_the_seed():
    batch, tables = make_batch(), []
    for seed in (5, 5, 6):
        memory = {}
        run(absolute("tavat", num_steps=1, step_size=0.0, init=0.5), toy(), CLASSIFICATION, [batch], seed=seed,
            memory=memory)  # fmt: skip
        tables.append(memory["token_perturbations"])
    absent = [token for token in range(VOCABULARY) if token not in batch["input_ids"]]
    assert len(absent) > 0 and 0.9 < tables[0][absent].abs().max() / (0.5 * 0.8 / math.sqrt(6)) <= 1
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


def test_tavat_against_a_transcription():
    batch, epsilon, reach, steps = make_batch(), 0.8, 0.3 * 0.8, 3
    table = np.random.default_rng(0).uniform(-0.1, 0.1, (VOCABULARY, 6))
    memory = {"token_perturbations": torch.from_numpy(table.astype(np.float32))}
    pieces = [pick(batch, range(5)), pick(batch, range(5, 16))]
    adversary = absolute("tavat", num_steps=steps, step_size=0.3, init=0.5)
    outcome = run(adversary, toy(), CLASSIFICATION, pieces, memory=memory)
    noise = {}
    for view, piece in zip(step_of(adversary, toy(), pieces), pieces, strict=True):
        noise |= dict(zip(piece["example_ids"].tolist(), 0.5 * view.cube().double().numpy(), strict=True))
    model, (texts, labels) = Trained(toy()), written_out(batch)
    ends = {token: [] for token in range(VOCABULARY)}
    for example, ids, label in zip(batch["example_ids"].tolist(), texts, labels, strict=True):
        own, tokens = noise[example][: len(ids)], table[ids]
        shrink = min(1.0, epsilon / np.linalg.norm(own + tokens))
        own, tokens = own * shrink, tokens * shrink
        for k in range(steps):
            np.testing.assert_allclose(outcome.of(example)[k].double().numpy(), own + tokens, atol=2e-6)
            gradient = model.loss_and_gradient(ids, own + tokens, label)[1]
            own, tokens = own + reach * unit(gradient), tokens + reach * unit(gradient, axis=1)
            sizes = np.linalg.norm(tokens, axis=1, keepdims=True)
            tokens = tokens * sizes / sizes.max()
            shrink = min(1.0, epsilon / np.linalg.norm(own + tokens))
            own, tokens = own * shrink, tokens * shrink
        for token, end in zip(ids, tokens, strict=True):
            ends[token].append(end)
    expected = np.array([np.mean(ends[token], axis=0) if ends[token] else table[token] for token in range(VOCABULARY)])
    assert max(len(each) for each in ends.values()) > 10
    np.testing.assert_allclose(memory["token_perturbations"].double().numpy(), expected, atol=2e-6)


def test_two_processes_keep_the_table_of_one(monkeypatch):
    batch, adversary = make_batch(), absolute("tavat")
    whole, halves, added = {}, [{}, {}], [[], []]
    run(adversary, toy(), CLASSIFICATION, [batch], memory=whole)
    for collecting in (True, False):
        for rank in (0, 1):
            other = iter(added[1 - rank])

            def add_up(*tensors, rank=rank, other=other, collecting=collecting):
                for values in tensors:
                    if collecting:
                        added[rank].append(values.clone())
                    else:
                        values += next(other)

            monkeypatch.setattr(tavat_module.processes, "add_up", add_up)
            half = pick(batch, range(8 * rank, 8 * rank + 8))
            halves[rank].clear()
            run(adversary, toy(), CLASSIFICATION, [half], memory=halves[rank])
    for half in halves:
        torch.testing.assert_close(half["token_perturbations"], whole["token_perturbations"], rtol=0, atol=1e-6)


def test_a_resumed_training_reads_the_table_that_was_saved(tmp_path):
    batch, adversary, model = make_batch(), absolute("tavat"), toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = LambdaLR(optimizer, lambda _step: 1.0)
    memory = {}
    run(adversary, model, CLASSIFICATION, [batch], memory=memory)
    checkpoint = Checkpoint(tmp_path, "finetune")
    checkpoint.save_best(model)
    checkpoint.save(model, optimizer, scheduler, Progress(step=1), memory)
    resumed = {}
    checkpoint.load(model, optimizer, scheduler, resumed)
    assert torch.equal(resumed["token_perturbations"], memory["token_perturbations"])
    onward, again = (
        run(adversary, model, CLASSIFICATION, [batch], memory=each, step_number=8) for each in (memory, resumed)
    )
    assert torch.equal(torch.stack(onward.losses), torch.stack(again.losses))
    assert torch.equal(resumed["token_perturbations"], memory["token_perturbations"])
    anew = run(adversary, model, CLASSIFICATION, [batch], memory={}, step_number=8)
    assert not torch.equal(torch.stack(anew.losses), torch.stack(onward.losses))
