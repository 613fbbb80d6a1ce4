"""The held-out loss: repeatable, equal at every batch size and padding, and equal to sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from world import sentence

from adapt.config import ConfigError
from adapt.data.tokens import tokens
from adapt.data.tokens.pieces import SequenceFormat
from adapt.models import loading
from adapt.tasks.heldout import HeldOut, Losses
from adapt.tasks.language_modelling import LanguageModelling, load_for_measuring

CPU = torch.device("cpu")
TEXTS = [" ".join(sentence("metal", number).split()[: 2 + number % 13]) for number in range(40)]


@pytest.fixture(scope="module")
def task(world: Path) -> LanguageModelling:
    return load_for_measuring(world / "model", loading.load_tokenizer(world / "model"))


@pytest.fixture(scope="module")
def sequences(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tokens.Sequences:
    file, tokenizer = tmp_path_factory.mktemp("heldout") / "some.arrow", loading.load_tokenizer(world / "model")
    tokens.write_tokens(file, tokenizer, TEXTS, SequenceFormat(9, packed=False))  # some texts are cut in two
    return tokens.Sequences(file)


def held_out(
    task: LanguageModelling, world: Path, sequences: tokens.Sequences, size: int, limit: int | None = None
) -> HeldOut:
    return HeldOut.fixed(task, loading.load_tokenizer(world / "model"), sequences, limit=limit, batch_size=size)


def test_measuring_twice_gives_the_same_bits(task: LanguageModelling, world: Path, sequences: tokens.Sequences) -> None:
    one = held_out(task, world, sequences, 8)
    first = one.losses(task, CPU)
    torch.manual_seed(12345)
    task.model.train()
    assert one.losses(task, CPU) == first == held_out(task, world, sequences, 8).losses(task, CPU)
    assert task.model.training  # left as it was
    task.model.eval()


def test_equal_at_every_batch_size_and_padding(
    task: LanguageModelling, world: Path, sequences: tokens.Sequences
) -> None:
    one_by_one = held_out(task, world, sequences, 1).losses(task, CPU)
    for size in (3, 8, 40):
        losses = held_out(task, world, sequences, size).losses(task, CPU)
        assert losses.token == pytest.approx(one_by_one.token, abs=1e-6)
        assert losses.document == pytest.approx(one_by_one.document, abs=1e-6)
        assert (losses.tokens, losses.documents) == (one_by_one.tokens, one_by_one.documents)
    assert one_by_one.documents == len(TEXTS)


def test_both_means_by_hand(task: LanguageModelling, world: Path, sequences: tokens.Sequences) -> None:
    losses: dict[int, list[float]] = {}
    for batch in held_out(task, world, sequences, 1).batches:
        with torch.no_grad():
            logits = task.model(batch["input_ids"], batch["attention_mask"], batch["positions"])
        text = int(sequences.documents[int(batch["example_ids"])])
        losses.setdefault(text, []).extend(cross_entropy(logits, batch["targets"], reduction="none").tolist())
    every = [loss for document in losses.values() for loss in document]
    means = [sum(document) / len(document) for document in losses.values()]
    measured = held_out(task, world, sequences, 8).losses(task, CPU)
    assert measured.token == pytest.approx(sum(every) / len(every), abs=1e-6)
    assert measured.document == pytest.approx(sum(means) / len(means), abs=1e-6)
    assert abs(measured.token - measured.document) > 1e-4  # the two means differ
    assert measured == Losses(measured.token, measured.document, len(every), len(means))


def test_the_limit_takes_the_first_sequences(task: LanguageModelling, world: Path, sequences: tokens.Sequences) -> None:
    some = held_out(task, world, sequences, 4, limit=10)
    assert sorted(int(example) for batch in some.batches for example in batch["example_ids"]) == list(range(10))
    masked = held_out(task, world, sequences, 4).batches
    of_all = {int(e): row for batch in masked for e, row in zip(batch["example_ids"], batch["input_ids"], strict=True)}
    for batch in some.batches:  # the same masks as when all are measured
        for example, row in zip(batch["example_ids"].tolist(), batch["input_ids"], strict=True):
            length = min(len(row), len(of_all[example]))
            assert row[:length].equal(of_all[example][:length])


def test_nothing_to_predict_is_refused(task: LanguageModelling, world: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    tokens.write_tokens(tmp_path / "unknown", tokenizer, ["猫 猫"], SequenceFormat(9, packed=False))
    with pytest.raises(ConfigError, match="held-out text: no token to predict in 1 sequences"):
        held_out(task, world, tokens.Sequences(tmp_path / "unknown"), 8)
