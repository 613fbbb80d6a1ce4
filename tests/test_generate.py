"""Prompts: a bad one is named before any answer, and answers are written as they come."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from decoders import write_decoder
from world import Written, sentence, write_jsonl

from adapt import generate
from adapt.config import ConfigError, SamplesConfig
from adapt.stages import samples
from adapt.tasks.generation import Decoding

HOW = Decoding(max_new_tokens=4, temperature=1.0, top_p=0.9, seed=3)
TEXTS = [sentence(label, number) for number in range(30) for label in ("animal", "metal")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("generate") / "model", TEXTS)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", r"prompts.jsonl:3: prompt '': has no token to continue from"),
        (
            "cat " * 400,
            r"prompts.jsonl:3: max_new_tokens=4: after a prompt of \d+ tokens this llama has positions for 0",
        ),
    ],
)
def test_a_bad_prompt_is_named_before_any_answer(model: Path, tmp_path: Path, bad: str, message: str) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", [{"text": "the cat"}] * 2 + [{"text": bad}])
    out = io.StringIO()
    with pytest.raises(ConfigError, match=message):
        generate.answer(model, tmp_path / "prompts.jsonl", HOW, out)
    assert not out.getvalue()


def test_answers_are_written_as_they_come_and_are_the_same(model: Path, tmp_path: Path, monkeypatch) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", [{"text": text[: 5 + number]} for number, text in enumerate(TEXTS[:7])])
    together, batches = Written(), Written()
    generate.answer(model, tmp_path / "prompts.jsonl", HOW, together)
    monkeypatch.setattr(generate, "BATCH_SIZE", 3)
    generate.answer(model, tmp_path / "prompts.jsonl", HOW, batches)
    assert (together.flushed, batches.flushed) == ([7], [3, 6, 7])
    assert batches.getvalue() == together.getvalue()


def test_an_odd_text_begins_no_prompt() -> None:
    """4 words of at most 100 characters; the others are the same ones in the same order."""
    asked = SamplesConfig("corpus", prompts=5, prompt_words=4, max_new_tokens=8, temperature=1.0, top_p=1.0, seed=0)
    blobs = [f"see {'QUJD' * 99}{number} and so on with many more words" for number in range(40)]
    assert samples.beginnings([*TEXTS, *blobs], asked) == samples.beginnings(TEXTS, asked)
    fits, over = "a b c " + "d" * 94 + " e f g h", "a b c " + "d" * 95 + " e f g h"
    assert [prompt.text for prompt in samples.beginnings([fits, over], asked)] == [fits[:100]]
    with pytest.raises(
        ConfigError, match="evaluate.samples.text=corpus: the first 4 words .* more than 100 characters"
    ):
        samples.beginnings(blobs, asked)
