"""Marks on a text's tokens: which tokens are marked, the file of marks, and masking of marked tokens only."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.masking import tokens
from adapt.data.masking.marks import Marks, marked, marked_tokens, write_marks
from adapt.data.masking.tokens import Candidates


def test_the_likeliest_token_stands_in_where_none_is_important() -> None:
    nothing = -np.inf
    assert marked(np.array([nothing, -2.0, 0.3, 0.0, 1.0, nothing]), 0.0).tolist() == [0, 0, 1, 0, 1, 0]
    assert marked(np.array([nothing, -2.0, 0.3, 0.0, 1.0, nothing]), -1.0).tolist() == [0, 0, 1, 1, 1, 0]
    assert marked(np.array([nothing, -2.0, -0.3, -1.0, nothing]), 0.0).tolist() == [0, 0, 1, 0, 0]
    assert marked(np.array([nothing, nothing]), 0.0).tolist() == [0, 0]


def test_several_files_are_numbered_one_after_another(tmp_path: Path) -> None:
    rows = [np.array(values, dtype=bool) for values in ([0, 1, 0], [1], [0, 0], [1, 1, 0, 1], [])]
    write_marks(tmp_path / "one", [rows[:2], rows[2:3]])
    write_marks(tmp_path / "two", [rows[3:]])
    both = Marks([tmp_path / "one", tmp_path / "two"])
    assert len(both) == 5
    assert [both[index].tolist() for index in range(5)] == [row.tolist() for row in rows]


@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any), st.integers(1, 50), st.integers(0, 1000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_only_marked_tokens_are_chosen_and_at_least_one(marks: list[bool], count: int, seed: int) -> None:
    columns = np.arange(len(marks)) + 1
    candidates = Candidates(columns, columns + 5, None, 7)
    among = {7: np.array([True, *marks, True])}  # the special tokens around them are not candidates
    indices, units = marked_tokens(np.random.default_rng(seed), candidates, count, marks=among)
    assert len(indices) == min(count, sum(marks)) >= 1
    assert all(marks[index] for index in indices)
    assert np.array_equal(indices, np.unique(indices)) and np.array_equal(units, np.arange(len(indices)))


def test_marked_tokens_are_chosen_alike_often() -> None:
    candidates = Candidates(np.arange(6), np.arange(6), None, 0)
    among = {0: np.array([True, False, True, True, False, True])}
    drawn = [marked_tokens(np.random.default_rng(seed), candidates, 2, marks=among)[0].tolist() for seed in range(3000)]
    shares = np.bincount(np.concatenate(drawn), minlength=6) / 3000
    assert shares.tolist() == pytest.approx([0.5, 0, 0.5, 0.5, 0, 0.5], abs=0.04)  # 4 standard deviations


class Tokenizer:
    """A vocabulary of 60 tokens, of which the first five are special."""

    mask_token_id, all_special_ids = 4, [0, 1, 2, 3, 4]

    def __len__(self) -> int:
        return 60


def rows_of(lengths: list[int]) -> dict[str, torch.Tensor]:
    """Rows of [CLS], the given number of ordinary tokens, [SEP] and padding; example ids 4, 17, 30, ..."""
    ids = torch.zeros(len(lengths), max(lengths) + 2, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, : length + 2] = torch.tensor([2, *(5 + i % 55 for i in range(length)), 3])
    examples = torch.arange(len(lengths)) * 13 + 4
    special = (ids < 5).long()
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "special_tokens_mask": special,
        "example_ids": examples,
    }


@given(st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_masks_depend_on_seed_draw_and_example_alone(seed: int, draw: int) -> None:
    alone, among = rows_of([30]), rows_of([30, 50, 3])
    marks = {4: np.arange(32) % 3 == 1, 17: np.arange(52) % 2 == 0, 30: np.ones(5, dtype=bool)}
    mask = partial(tokens.mask_tokens, tokenizer=Tokenizer(), rate=0.3, choose=partial(marked_tokens, marks=marks))
    one, other = (mask(batch, seed=seed, draw=draw) for batch in (alone, among))
    first = other["rows"] == 0
    assert other["positions"][first].tolist() == one["positions"].tolist()
    assert torch.equal(other["input_ids"][0, :32], one["input_ids"][0])
    assert len(one["positions"]) == 9 and set((one["positions"] % 3).tolist()) == {1}


def test_marks_of_another_text_are_noticed() -> None:
    candidates = Candidates(np.arange(1, 4), np.arange(3), None, 0)
    with pytest.raises(AssertionError, match="of another text"):
        marked_tokens(np.random.default_rng(0), candidates, 1, marks={0: np.zeros(5, dtype=bool)})
