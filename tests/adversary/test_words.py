"""Every method trains taggers too, whose items are words: the gradients do not depend on how the batch is cut."""

import pytest
import torch
from adversaries import CLASSES, Adversary, make_batch, pick, run, tiny
from test_properties import assert_gradients_equal

from adapt.tasks.tagging import Tagging, TokenClassifier, TokenHead


@pytest.mark.holds("accumulation")
def test_words_give_the_same_gradients_however_the_batch_is_cut(adversary: Adversary) -> None:
    model, batch = tagger(), make_batch()
    runs = {}
    for name, sizes in {"1 x 16": [16], "4 x 4": [4, 4, 4, 4], "3 + 13": [3, 13]}.items():
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        pieces = [of_words(pick(batch, range(s, s + size))) for s, size in zip(starts, sizes, strict=True)]
        runs[name] = run(adversary, model, Tagging(), pieces)
    whole = runs["1 x 16"]
    assert max(gradient.abs().max() for gradient in whole.gradients.values()) > 0.01
    for cut in ("4 x 4", "3 + 13"):
        assert_gradients_equal(runs[cut].gradients, whole.gradients)
        assert sum(runs[cut].losses).item() == pytest.approx(sum(whole.losses).item(), rel=1e-5)


def tagger() -> TokenClassifier:
    encoder = tiny("bert").model
    torch.manual_seed(1)
    return TokenClassifier(encoder, TokenHead(16, CLASSES, 0.0)).train()


def of_words(batch: dict) -> dict:
    """The two chosen places of each sequence as its words, with a tag each, and a third in sequences of even id."""
    length = batch["input_ids"].shape[1]
    third = (batch["example_ids"] % 2 == 0).nonzero().flatten()
    rows = torch.cat([batch["rows"], third])
    positions = torch.cat([batch["positions"], third * length + 2])
    return {**batch, "rows": rows, "positions": positions, "labels": batch["input_ids"].flatten()[positions] % CLASSES}
