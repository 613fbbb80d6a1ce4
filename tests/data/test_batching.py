"""Which examples form a step, and how text becomes tensors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.tokens import batching
from adapt.models import loading


@given(
    st.lists(st.integers(1, 128), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9), st.integers(0, 5)
)
@settings(deadline=None)
def test_an_epoch_holds_every_example_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    batches = batching.shuffled_batches(lengths, size, seed=seed, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert sum(len(batch) < size for batch in batches) <= 1
    assert all(len(batch) <= size for batch in batches)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=200), st.integers(1, 9), st.integers(0, 3))
@settings(deadline=None)
def test_batches_as_sorting_by_hand_makes_them(lengths: list[int], size: int, seed: int) -> None:
    random = np.random.default_rng([seed, 7])
    order, by_hand = random.permutation(len(lengths)).tolist(), []
    for start in range(0, len(order), batching.POOL * size):
        pool = sorted(order[start : start + batching.POOL * size], key=lambda index: (lengths[index], index))
        by_hand += [pool[cut : cut + size] for cut in range(0, len(pool), size)]
    by_hand = [by_hand[index] for index in random.permutation(len(by_hand))]
    assert batching.shuffled_batches(lengths, size, seed=seed, epoch=7) == by_hand
    longest = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    assert sum(batching.sorted_batches(lengths, size), []) == longest


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    lengths = [3, 9, 4, 1] * 20
    orders = {
        str(batching.shuffled_batches(lengths, 8, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9
    assert batching.shuffled_batches(lengths, 8, seed=1, epoch=2) == batching.shuffled_batches(
        lengths, 8, seed=1, epoch=2
    )


def test_buckets_pad_less_than_a_plain_shuffle() -> None:
    lengths = [1 + (37 * i) % 100 for i in range(640)]

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)

    shuffled = batching.shuffled_batches(lengths, 16, seed=0, epoch=0)
    in_order = [list(range(start, start + 16)) for start in range(0, 640, 16)]
    assert padded(shuffled) < 0.75 * padded(in_order)


@pytest.fixture(scope="module")
def tokenizer(world: Path):
    return loading.load_tokenizer(world / "model")


def test_padding_and_special_tokens_are_marked(tokenizer) -> None:
    encoded = batching.encode(tokenizer, ["cat dog", "gold"], 16)
    batch = batching.collate(tokenizer, encoded, [1, 0])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["special_tokens_mask"].tolist() == [[1, 0, 1, 1], [1, 0, 0, 1]]
    assert batch["example_ids"].tolist() == [1, 0]
    assert batch["input_ids"][0, 3] == tokenizer.pad_token_id
