"""Marking tokens: which ones a token classifier reads, the order of its answers, and the score that chooses it."""

from math import log
from pathlib import Path

import pytest
import torch

from adapt.models import loading
from adapt.tasks.marking import LABELS, MarkedTexts, each_token, log_odds, matching_cut, read_cut, write_cut
from adapt.tasks.tagging import new_tagger

CPU = torch.device("cpu")
TEXTS = [[2, 9, 1, 12, 3], [2, 1, 3], [2, 7, 8, 9, 10, 11, 3]]  # 2 [CLS], 3 [SEP], 1 [UNK]


def test_only_ordinary_tokens_are_read(world: Path) -> None:
    encoded = each_token(loading.load_tokenizer(world / "model"), TEXTS)
    assert encoded.ids == TEXTS and encoded.places == [[1, 3], [], [1, 2, 3, 4, 5]]
    assert encoded.words == [[0, 1], [], [0, 1, 2, 3, 4]]


def test_answers_do_not_depend_on_the_batch(world: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    torch.manual_seed(0)
    model = new_tagger(world / "model", labels=LABELS, pooling="mean", dropout=0.0).eval()
    together = log_odds(model, tokenizer, each_token(tokenizer, TEXTS), 3, CPU)
    assert [len(odds) for odds in together] == [2, 0, 5]
    for text, odds in zip(TEXTS, together, strict=True):
        (single,) = log_odds(model, tokenizer, each_token(tokenizer, [text]), 1, CPU)
        torch.testing.assert_close(single, odds, atol=1e-5, rtol=1e-5)
    states = model.model(torch.tensor([TEXTS[0]])).last_hidden_state[0, [1, 3]]
    logits = states @ model.head.out.weight.T + model.head.out.bias
    torch.testing.assert_close(together[0], (logits[:, 1] - logits[:, 0]).detach(), atol=1e-5, rtol=1e-5)


def test_the_score_is_the_cross_entropy_of_every_token(world: Path) -> None:
    marks = [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.long), torch.tensor([0, 0, 1, 0, 0])]
    texts = MarkedTexts(loading.load_tokenizer(world / "model"), TEXTS, marks)
    assert texts.score(torch.zeros(7)) == pytest.approx(-log(2))
    sure = torch.tensor([log(3), 0, 0, 0, 0, 0, 0])  # P(important) = 3/4 of the first, which is
    assert texts.score(sure) == pytest.approx(-(6 * log(2) + log(4 / 3)) / 7)
    assert texts.batch([2, 0])["labels"].tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_as_many_tokens_lie_above_the_cut_as_are_important(tmp_path: Path) -> None:
    answers = torch.tensor([-3.0, 0.5, -1.0, -0.2, -4.0, -2.0, -5.0, -6.0, -7.0, -8.0])
    for share, count in ((0.1, 1), (0.3, 3), (0.8, 8)):
        write_cut(tmp_path, matching_cut(answers, share))
        assert int((answers > read_cut(tmp_path)).sum()) == count
