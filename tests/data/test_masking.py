"""Masked language modelling: the share, 80/10/10, what a mask may depend on, and which tokens a strategy chooses."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.masking import tokens
from adapt.data.masking import words as word_masking
from adapt.data.masking.tokens import Candidates
from adapt.data.tokens import batching
from adapt.models import loading


@pytest.fixture(scope="module")
def tokenizer(world: Path):
    return loading.load_tokenizer(world / "model")


def batch_of(tokenizer, lengths: list[int], ids: list[int] | None = None) -> dict[str, torch.Tensor]:
    ordinary = tokens.ordinary_tokens(tokenizer).tolist()
    sequences = [
        [tokenizer.cls_token_id, *(ordinary[(7 * i + n) % len(ordinary)] for i in range(n)), tokenizer.sep_token_id]
        for n in lengths
    ]
    batch = batching.collate(tokenizer, batching.Encoded(sequences, None), range(len(sequences)))
    return batch if ids is None else {**batch, "example_ids": torch.tensor(ids)}


def test_each_example_has_its_rounded_share_and_at_least_one(tokenizer) -> None:
    masked_batch = tokens.mask_tokens(batch_of(tokenizer, [1, 10, 20, 33]), tokenizer, rate=0.15, seed=0, draw=0)
    assert torch.bincount(masked_batch["rows"]).tolist() == [1, 2, 3, 5]  # round(.15 n), at least 1


def test_targets_are_the_tokens_that_stood_there(tokenizer) -> None:
    batch = batch_of(tokenizer, [10, 20])
    masked_batch = tokens.mask_tokens(batch, tokenizer, rate=0.3, seed=0, draw=0)
    assert torch.equal(masked_batch["targets"], batch["input_ids"].flatten()[masked_batch["positions"]])
    untouched = torch.ones(batch["input_ids"].numel(), dtype=torch.bool)
    untouched[masked_batch["positions"]] = False
    assert torch.equal(masked_batch["input_ids"].flatten()[untouched], batch["input_ids"].flatten()[untouched])
    assert torch.equal(masked_batch["rows"], masked_batch["positions"] // batch["input_ids"].shape[1])


def test_special_tokens_and_padding_are_never_predicted(tokenizer) -> None:
    batch = batch_of(tokenizer, [3, 40])
    masked_batch = tokens.mask_tokens(batch, tokenizer, rate=0.9, seed=0, draw=0)
    assert batch["special_tokens_mask"].flatten()[masked_batch["positions"]].sum() == 0
    assert batch["attention_mask"].flatten()[masked_batch["positions"]].all()


def test_80_10_10(tokenizer) -> None:
    batch = batch_of(tokenizer, [50] * 400)
    masked_batch = tokens.mask_tokens(batch, tokenizer, rate=0.5, seed=0, draw=0)
    seen = masked_batch["input_ids"].flatten()[masked_batch["positions"]]
    masked = (seen == tokenizer.mask_token_id).float().mean().item()
    kept = (seen == masked_batch["targets"]).float().mean().item()
    assert len(seen) == 400 * 25
    assert masked == pytest.approx(0.8, abs=0.015)  # sd .004
    chance = 0.1 / len(tokens.ordinary_tokens(tokenizer))  # a random token may be the original one
    assert kept == pytest.approx(0.1 + chance, abs=0.012)


def test_a_mask_depends_on_seed_draw_and_example_and_on_nothing_else(tokenizer) -> None:
    def columns(lengths: list[int], ids: list[int], example: int, **settings: int) -> list[int]:
        batch = batch_of(tokenizer, lengths, ids)
        masked_batch = tokens.mask_tokens(batch, tokenizer, rate=0.3, **settings)
        row = ids.index(example)
        return (masked_batch["positions"][masked_batch["rows"] == row] % batch["input_ids"].shape[1]).tolist()

    alone = columns([20], [7], 7, seed=1, draw=2)
    assert alone == columns([33, 20, 5], [3, 7, 9], 7, seed=1, draw=2)  # other rows, more padding
    assert alone != columns([20], [8], 8, seed=1, draw=2)
    assert alone != columns([20], [7], 7, seed=1, draw=3)
    assert alone != columns([20], [7], 7, seed=2, draw=2)


def test_an_example_of_special_tokens_alone_predicts_nothing(tokenizer) -> None:
    masked_batch = tokens.mask_tokens(batch_of(tokenizer, [0]), tokenizer, rate=0.15, seed=0, draw=0)
    assert len(masked_batch["positions"]) == len(masked_batch["targets"]) == len(masked_batch["rows"]) == 0


class Tokenizer:
    """Five special tokens and 55 ordinary ones."""

    mask_token_id, all_special_ids = 4, (0, 1, 2, 3, 4)

    def __len__(self) -> int:
        return 60


def rows_of(lengths: list[int], words: int | None = None) -> dict[str, torch.Tensor]:
    """Rows of [CLS], the given number of ordinary tokens, [SEP] and padding; words: the tokens of each word."""
    width = max(lengths) + 2
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, : length + 2] = torch.tensor([2, *((7 * i + row) % 55 + 5 for i in range(length)), 3])
    marked = {} if words is None else {"word_starts": ((torch.arange(width) - 1) % words == 0).expand_as(ids).long()}
    real = (torch.arange(width) < torch.tensor(lengths)[:, None] + 2).long()
    special = (ids < 5).long()
    batch = {"input_ids": ids, "attention_mask": real, "special_tokens_mask": special, **marked}
    return {**batch, "example_ids": torch.arange(len(lengths)) * 13 + 4}


def test_single_tokens_are_masked_as_ever() -> None:
    """The masks of the first release, on which stored runs and frozen results depend."""
    batches = []
    batch = {**rows_of([1, 9, 20, 0, 33]), "example_ids": torch.arange(5) * 13 + 4}
    wide = {
        name: torch.nn.functional.pad(value, (0, 1), value=int(name == "special_tokens_mask"))
        if value.ndim == 2
        else value
        for name, value in batch.items()
    }
    for rate, seed, draw in [(0.15, 0, 0), (0.4, 3, 11), (0.15, 0, tokens.HELD_OUT_DRAW)]:
        masked = tokens.mask_tokens(wide, Tokenizer(), rate=rate, seed=seed, draw=draw)
        batches.append([masked[name].tolist() for name in ("input_ids", "positions", "targets", "rows")])
    expected = "bc74902f594bf694628edd3fc30590710bf10f387d757a0db5b016589bf15275"
    assert hashlib.sha256(repr(batches).encode()).hexdigest() == expected


def weigh_alike(words: list[np.ndarray]) -> np.ndarray:
    return np.ones(len(words))


CHOICES = {
    "whole_word": word_masking.whole_words,
    "span": partial(word_masking.spans, span_length=5.0),
    "difference": partial(word_masking.weighted_words, weigh=weigh_alike),
}


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_words_are_masked_whole_at_the_rate_on_average(choose, rate: float) -> None:
    batch = rows_of([60] * 300, words=3)
    masked_batch = tokens.mask_tokens(batch, Tokenizer(), rate=rate, seed=1, draw=2, choose=choose)
    assert len(masked_batch["positions"]) / (300 * 60) == pytest.approx(rate, abs=0.004)
    predicted = torch.zeros(batch["input_ids"].numel(), dtype=torch.bool)
    predicted[masked_batch["positions"]] = True
    words = predicted.view(300, 62)[:, 1:-1].reshape(300, 20, 3).sum(2)
    assert set(words.unique().tolist()) == {0, 3}
    assert words.float().mean(0).min() > 0.5 * 3 * rate  # every place in the row is masked sometimes
    assert torch.equal(masked_batch["targets"], batch["input_ids"].flatten()[masked_batch["positions"]])


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.floats(0.01, 0.99), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_the_words_each_is_masked_whole_or_not_at_all(choose, sizes: list[int], rate: float, seed: int):
    starts = np.zeros(sum(sizes), dtype=bool)
    starts[np.cumsum(sizes) - sizes] = True
    candidates = Candidates(np.arange(len(starts)) + 1, np.arange(len(starts)) + 5, starts, 0)
    count = max(1, round(rate * len(starts)))
    indices, units = choose(np.random.default_rng(seed), candidates, count)
    taken = np.isin(np.arange(len(starts)), indices)
    assert all(len(set(word.tolist())) == 1 for word in np.split(taken, np.flatnonzero(starts)[1:]))
    assert 1 <= len(indices) < count + max(sizes)
    assert np.array_equal(indices, np.unique(indices))
    assert units[0] == 0 and set(np.diff(units).tolist()) <= {0, 1}


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
def test_a_choice_of_words_depends_on_seed_draw_and_example_alone(choose) -> None:
    alone, among = rows_of([30], words=2), rows_of([30, 50, 3], words=2)
    one, other = (tokens.mask_tokens(b, Tokenizer(), rate=0.3, seed=5, draw=6, choose=choose) for b in (alone, among))
    first = other["rows"] == 0
    assert (other["positions"][first]).tolist() == one["positions"].tolist()
    again = tokens.mask_tokens(alone, Tokenizer(), rate=0.3, seed=5, draw=7, choose=choose)
    assert again["positions"].tolist() != one["positions"].tolist()


def test_spans_have_the_lengths_of_a_geometric_cut_at_ten_and_share_one_draw() -> None:
    """P(l) ~ .8^(l - 1), l up to 10: its mean is 3.797 (Joshi et al., 2020: 3.8)."""
    candidates = Candidates(np.arange(20000), np.full(20000, 5), np.ones(20000, dtype=bool), 0)
    lengths = []
    for seed in range(10):
        indices, units = word_masking.spans(np.random.default_rng(seed), candidates, 1000, span_length=5.0)
        assert len(indices) == 1000
        assert set(np.diff(indices)[np.diff(units) == 0].tolist()) == {1}
        lengths.append(np.bincount(units))
    all_lengths = np.concatenate(lengths)
    assert all_lengths.max() == 10
    assert all_lengths.mean() == pytest.approx(
        3.797, abs=0.25
    )  # sd of the mean .05; 1 of 20 spans ends at a masked neighbour


def test_a_span_is_masked_replaced_or_kept_as_one() -> None:
    batch = rows_of([60] * 200, words=1)
    spans = partial(word_masking.spans, span_length=5.0)
    masked_batch = tokens.mask_tokens(batch, Tokenizer(), rate=0.3, seed=0, draw=0, choose=spans)
    seen = masked_batch["input_ids"].flatten()[masked_batch["positions"]]
    one_run = (masked_batch["positions"][1:] - masked_batch["positions"][:-1]) == 1
    masked = seen == Tokenizer.mask_token_id
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.04)  # about 1000 spans
    changes = (masked[1:] != masked[:-1])[one_run].float().mean().item()
    assert changes < 0.1  # with one draw per token, .32 of the pairs would change


def test_a_span_ends_at_the_end_of_a_text() -> None:
    columns = np.array([1, 2, 3, 6, 7, 8])  # special tokens between two texts
    candidates = Candidates(columns, columns + 5, np.ones(6, dtype=bool), 0)
    for seed in range(50):
        indices, units = word_masking.spans(np.random.default_rng(seed), candidates, 4, span_length=10.0)
        for unit in range(units[-1] + 1):
            assert set(np.diff(columns[indices[units == unit]]).tolist()) <= {1}


def test_heavier_words_are_masked_in_proportion() -> None:
    """Two words of weight 3 and 1, one of them masked: the first in 3 of 4 draws."""
    candidates = Candidates(np.arange(2), np.array([8, 9]), np.ones(2, dtype=bool), 0)

    def weigh(words: list[np.ndarray]) -> np.ndarray:
        return np.array([3.0 if word[0] == 8 else 1.0 for word in words])

    first = [
        word_masking.weighted_words(np.random.default_rng(seed), candidates, 1, weigh=weigh)[0][0] == 0
        for seed in range(4000)
    ]
    assert np.mean(first) == pytest.approx(0.75, abs=0.025)  # sd .007


def test_what_runs_on_without_a_space_is_cut() -> None:
    starts = np.zeros(25, dtype=bool)
    starts[0] = True
    words = word_masking.words_of(Candidates(np.arange(25), np.arange(25), starts, 0))
    assert [len(word) for word in words] == [10, 10, 5]


def test_words_without_word_starts_are_an_error() -> None:
    with pytest.raises(AssertionError, match="word_starts"):
        tokens.mask_tokens(rows_of([9]), Tokenizer(), rate=0.3, seed=0, draw=0, choose=word_masking.whole_words)
