"""How a decoder continues held-out texts: its answers, stored to be read, and how repetitive they are."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError, RuntimeConfig, SamplesConfig
from adapt.data import corpora
from adapt.data.text import in_hash_order
from adapt.models import loading
from adapt.table.measurement import measurement
from adapt.tasks import generation
from adapt.tasks.generation import Decoding, text_of, without_end
from adapt.training import loop

KEY_NAME = "stages.samples"
VERSION = 1
FILE = "samples.jsonl"
MOST_CHARACTERS = 25  # per word of a beginning, on average; longer ones are not prose but links or base64 data
TRUTH = "truth"  # the "decoding" of the lines with the true continuation


@dataclass(frozen=True)
class Prompt:
    """The beginning of a text, and its true continuation."""

    text: str
    continuation: str


def samples(
    cfg: SamplesConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, batch_size: int
) -> list[dict[str, Any]]:
    """Let ``inputs["model"]`` continue the beginnings of held-out documents of the corpus ``inputs["text"]``.

    Each prompt is continued greedily and once by sampling; the true continuation, at most as many tokens, is added for
    comparison. Writes FILE with one line per prompt and decoding: prompt, decoding, answer, ended, tokens, repetition
    (see adapt.tasks.generation). All models of a study get the same prompts. A model whose language-model head is
    untrained gives no rows.
    """
    folder = inputs["model"]
    tokenizer = loading.load_tokenizer(folder)
    model, new = loading.load_causal_lm(folder, dropout=0.0)
    if new:
        (out / FILE).write_text("", encoding="utf-8")
        return []
    prompts = beginnings(corpora.load_corpus(inputs["text"]).heldout, cfg)
    asked = [generation.encode_prompt(tokenizer, prompt.text) for prompt in prompts]
    answered = {TRUTH: [true_tokens(tokenizer, prompt.continuation, cfg.max_new_tokens) for prompt in prompts]}
    for name, temperature in {"greedy": 0.0, "sampled": cfg.temperature}.items():
        how = Decoding(cfg.max_new_tokens, temperature, cfg.top_p, cfg.seed)
        answered[name] = generation.generate(
            model, tokenizer, asked, how, batch_size=batch_size, device=loop.device(runtime)
        )
    ends = generation.end_tokens(model, tokenizer)
    lines = [
        line(tokenizer, prompt, name, answer, ends)
        for name, answers in answered.items()
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    (out / FILE).write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines), encoding="utf-8")
    return [row for name, answers in answered.items() for row in measures(f"{cfg.text}/{name}", answers, ends)]


def beginnings(texts: Iterable[str], cfg: SamplesConfig) -> list[Prompt]:
    """At most ``cfg.prompts`` beginnings of ``cfg.prompt_words`` words, from texts with at least twice as many words.

    They are chosen by the hash of each text, so that every model gets the same. A beginning with more than
    MOST_CHARACTERS per word is skipped: it might need more tokens than a model has positions, which would stop a run
    after its pretraining. Characters are counted because, unlike tokens, they are the same for every model. Raises
    ConfigError if no text is left.
    """
    cut = re.compile(rf"\s*(?:\S+\s+){{{cfg.prompt_words - 1}}}\S+")
    long = [text for text in texts if len(text.split()) >= 2 * cfg.prompt_words]
    if not long:
        raise ConfigError(
            f"evaluate.samples.prompt_words={cfg.prompt_words}: no held-out text of {cfg.text} has twice as many; "
            "ask for shorter prompts, or hold out more text"
        )
    prompts = []
    for text in in_hash_order(long, str):
        beginning = cut.match(text)
        assert beginning, text
        if len(beginning[0]) <= MOST_CHARACTERS * cfg.prompt_words:
            prompts.append(Prompt(beginning[0], text[beginning.end() :]))
        if len(prompts) == cfg.prompts:
            return prompts
    if not prompts:
        raise ConfigError(
            f"evaluate.samples.text={cfg.text}: the first {cfg.prompt_words} words of each held-out text have more "
            f"than {MOST_CHARACTERS * cfg.prompt_words} characters; choose a text with spaces between its words"
        )
    return prompts


def true_tokens(tokenizer: PreTrainedTokenizerBase, continuation: str, most: int) -> list[int]:
    """The first tokens of the true continuation, at most ``most``."""
    return tokenizer(continuation, add_special_tokens=False)["input_ids"][:most]


def line(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, decoding: str, answer: list[int], ends: list[int]
) -> dict[str, Any]:
    """One line of FILE. prompt_hash: 16 digits, the same for every model with this prompt."""
    written = without_end(answer, ends)
    return {
        "prompt_hash": hashlib.sha256(prompt.text.encode()).hexdigest()[:16],
        "prompt": prompt.text,
        "decoding": decoding,
        "answer": text_of(tokenizer, written),
        "ended": len(written) < len(answer),
        "tokens": len(written),
        "repetition": generation.repeated(written),
    }


def measures(split: str, answers: list[list[int]], ends: list[int]) -> list[dict[str, Any]]:
    """Mean length, share that ended, mean seq-rep-4 of the answers with a 4-gram, and distinct-1 and -2 of all."""
    written = [without_end(answer, ends) for answer in answers]
    repeated = [share for answer in written if (share := generation.repeated(answer)) is not None]
    ended = sum(len(short) < len(answer) for short, answer in zip(written, answers, strict=True))
    rows = [
        measurement(split, "answer_tokens", sum(map(len, written)) / len(written), n=len(written)),
        measurement(split, "ended", ended / len(answers), n=len(answers)),
    ]
    if repeated:
        rows.append(measurement(split, "seq_rep_4", sum(repeated) / len(repeated), n=len(repeated)))
    for n in (1, 2):
        share = generation.distinct(written, n)
        rows += [] if share is None else [measurement(split, f"distinct_{n}", share, n=len(written))]
    return rows
