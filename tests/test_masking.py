"""Masked language modelling: the share, the 80/10/10, and what a mask may depend on."""

from pathlib import Path

import pytest
import torch

from adapt import models
from adapt.data import batching, masking


@pytest.fixture(scope="module")
def tokenizer(world: Path):
    return models.load_tokenizer(world / "model")


def batch_of(tokenizer, lengths: list[int], ids: list[int] | None = None) -> dict[str, torch.Tensor]:
    ordinary = masking.ordinary_tokens(tokenizer).tolist()
    sequences = [
        [tokenizer.cls_token_id, *(ordinary[(7 * i + n) % len(ordinary)] for i in range(n)), tokenizer.sep_token_id]
        for n in lengths
    ]
    batch = batching.collate(tokenizer, batching.Encoded(sequences, None), range(len(sequences)))
    return batch if ids is None else {**batch, "example_ids": torch.tensor(ids)}


def test_each_example_has_its_rounded_share_and_at_least_one(tokenizer) -> None:
    found = masking.mask_tokens(batch_of(tokenizer, [1, 10, 20, 33]), tokenizer, rate=0.15, seed=0, draw=0)
    assert torch.bincount(found["rows"]).tolist() == [1, 2, 3, 5]  # round(.15 n), at least 1


def test_targets_are_the_tokens_that_stood_there(tokenizer) -> None:
    batch = batch_of(tokenizer, [10, 20])
    found = masking.mask_tokens(batch, tokenizer, rate=0.3, seed=0, draw=0)
    assert torch.equal(found["targets"], batch["input_ids"].flatten()[found["positions"]])
    untouched = torch.ones(batch["input_ids"].numel(), dtype=torch.bool)
    untouched[found["positions"]] = False
    assert torch.equal(found["input_ids"].flatten()[untouched], batch["input_ids"].flatten()[untouched])
    assert torch.equal(found["rows"], found["positions"] // batch["input_ids"].shape[1])


def test_special_tokens_and_padding_are_never_predicted(tokenizer) -> None:
    batch = batch_of(tokenizer, [3, 40])
    found = masking.mask_tokens(batch, tokenizer, rate=0.9, seed=0, draw=0)
    assert batch["special_tokens_mask"].flatten()[found["positions"]].sum() == 0
    assert batch["attention_mask"].flatten()[found["positions"]].all()


def test_80_10_10(tokenizer) -> None:
    batch = batch_of(tokenizer, [50] * 400)
    found = masking.mask_tokens(batch, tokenizer, rate=0.5, seed=0, draw=0)
    seen = found["input_ids"].flatten()[found["positions"]]
    masked = (seen == tokenizer.mask_token_id).float().mean().item()
    kept = (seen == found["targets"]).float().mean().item()
    assert len(seen) == 400 * 25
    assert masked == pytest.approx(0.8, abs=0.015)  # sd .004
    chance = 0.1 / len(masking.ordinary_tokens(tokenizer))  # a random token may be the one that stood there
    assert kept == pytest.approx(0.1 + chance, abs=0.012)


def test_a_mask_depends_on_seed_draw_and_example_and_on_nothing_else(tokenizer) -> None:
    def columns(lengths: list[int], ids: list[int], example: int, **settings: int) -> list[int]:
        batch = batch_of(tokenizer, lengths, ids)
        found = masking.mask_tokens(batch, tokenizer, rate=0.3, **settings)
        row = ids.index(example)
        return (found["positions"][found["rows"] == row] % batch["input_ids"].shape[1]).tolist()

    alone = columns([20], [7], 7, seed=1, draw=2)
    assert alone == columns([33, 20, 5], [3, 7, 9], 7, seed=1, draw=2)  # other rows, more padding
    assert alone != columns([20], [8], 8, seed=1, draw=2)
    assert alone != columns([20], [7], 7, seed=1, draw=3)
    assert alone != columns([20], [7], 7, seed=2, draw=2)


def test_an_example_of_special_tokens_alone_predicts_nothing(tokenizer) -> None:
    found = masking.mask_tokens(batch_of(tokenizer, [0]), tokenizer, rate=0.15, seed=0, draw=0)
    assert len(found["positions"]) == len(found["targets"]) == len(found["rows"]) == 0
