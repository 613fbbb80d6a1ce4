"""Text generation by a decoder, greedy or sampled. An answer depends on prompt and seed, not on the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    TopPLogitsWarper,
)

from adapt.adapters import virtual_tokens
from adapt.config import ConfigError
from adapt.data.tokens import batching
from adapt.data.tokens.pieces import SpecialTokens
from adapt.models.language import CausalLM

KEY_NAME = "tasks.generation"
VERSION = 1


@dataclass(frozen=True)
class Decoding:
    """How each next token is chosen: the likeliest if temperature is 0, else drawn.

    top_p: draw from the smallest set of tokens with at least this probability (Holtzman et al., 2020, equation 2).
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


class Sampling(LogitsProcessor):
    """Changes scores so that the largest is a draw from softmax(scores / temperature) within the nucleus (Gumbel-max).

    Each row has its own random generator, so that its draws do not depend on the other rows of the batch.
    """

    def __init__(self, how: Decoding, prompts: Sequence[Sequence[int]]) -> None:
        self.temperature = how.temperature
        self.nucleus = TopPLogitsWarper(how.top_p)
        self.generators = [torch.Generator().manual_seed(seed_of(how.seed, prompt)) for prompt in prompts]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores [B, V] -> [B, V]."""
        nucleus = self.nucleus(input_ids, scores.double() / self.temperature)
        waits = [torch.empty(scores.shape[1], dtype=torch.float64).exponential_(generator=g) for g in self.generators]
        return nucleus - torch.stack(waits).log().to(nucleus.device)


def seed_of(seed: int, prompt: Sequence[int]) -> int:
    """The seed of a prompt's own generator: it depends on the prompt's tokens, not on its place among the prompts."""
    return int.from_bytes(hashlib.sha256(f"{seed} {list(prompt)}".encode()).digest()[:7], "big")


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text to be continued: with the special tokens that stand before a text, without those after it.

    Raises ConfigError if there is no token at all, because the first one is predicted from those before it.
    """
    ids = [*SpecialTokens.of(tokenizer).before.tolist(), *tokenizer(text, add_special_tokens=False)["input_ids"]]
    if not ids:
        raise ConfigError(f"prompt {text!r}: has no token to continue from, and this tokenizer puts none before a text")
    return ids


@torch.no_grad()
def generate(
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    how: Decoding,
    *,
    batch_size: int,
    device: torch.device,
) -> list[list[int]]:
    """The answer to each prompt as tokens, in the order of ``prompts``; an answer that ended includes its end token.

    The model is left in evaluation mode. Generation defaults of its folder (a penalty, a temperature) are ignored,
    except for the tokens that end an answer (``end_tokens``). Raises ConfigError if a prompt and its answer may need
    more positions than the model has.
    """
    decoder: Any = model.to(device).model
    check_room(decoder.config, max(map(len, prompts)), how.max_new_tokens)
    own = decoder.generation_config
    ends = end_tokens(model, tokenizer)
    fill = batching.padding(tokenizer)
    virtual = virtual_tokens.NAME in dict(decoder.base_model.named_children())
    settings = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=False,
        use_cache=not virtual,  # each pass must begin with the virtual tokens
        eos_token_id=ends or None,
        pad_token_id=fill,
    )
    answers: dict[int, list[int]] = {}
    decoder.generation_config = GenerationConfig()
    model.eval()
    try:
        for indices in batching.sorted_batches(list(map(len, prompts)), batch_size):
            some = [prompts[index] for index in indices]
            processors = LogitsProcessorList([Sampling(how, some)] if how.temperature else [])
            given = {name: value.to(device) for name, value in padded_left(some, fill).items()}
            generated = decoder.generate(**given, generation_config=settings, logits_processor=processors)
            new = generated[:, given["input_ids"].shape[1] :].tolist()
            answers.update((index, to_end(tokens, ends)) for index, tokens in zip(indices, new, strict=True))
    finally:
        decoder.generation_config = own
    return [answers[index] for index in range(len(prompts))]


def padded_left(prompts: Sequence[Sequence[int]], fill: int) -> dict[str, Tensor]:
    """input_ids and attention_mask [B, L], padded on the left: each row ends with the last token of its prompt."""
    longest = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[fill] * (longest - len(ids)) + list(ids) for ids in prompts]),
        "attention_mask": torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]),
    }


def end_tokens(model: CausalLM, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the tokenizer's end of text, and those that the model's config or generation
    config names.
    """
    named = [tokenizer.eos_token_id, model.model.config.eos_token_id, model.model.generation_config.eos_token_id]
    flat = {end for ends in named for end in (ends if isinstance(ends, list) else [ends])}
    return sorted(flat - {None})


def to_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """The tokens up to and including the first end token."""
    return next((tokens[: place + 1] for place, token in enumerate(tokens) if token in ends), tokens)


def without_end(answer: list[int], ends: Sequence[int]) -> list[int]:
    """An answer's tokens without its end token."""
    return answer[:-1] if answer and answer[-1] in ends else answer


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """Tokens as text; spaces are not cleaned up."""
    return tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)  # type: ignore[return-value]


def check_room(config: Any, prompt_tokens: int, max_new_tokens: int) -> None:
    """Raise ConfigError if more positions are needed than the model has; the last new token needs none."""
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and prompt_tokens + max_new_tokens - 1 > most:
        raise ConfigError(
            f"max_new_tokens={max_new_tokens}: after a prompt of {prompt_tokens} tokens this {config.model_type} has "
            f"positions for {max(0, most - prompt_tokens + 1)} more; shorten the prompt or max_new_tokens"
        )


def ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """All n-grams in order, len(tokens) - n + 1 of them; none if the text is shorter than n."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def repeated(tokens: Sequence[int], n: int = 4) -> float | None:
    """seq-rep-n = 1 - |unique n-grams| / |n-grams| (Welleck et al., 2020, equation 10), in [0, 1).

    None for a text without an n-gram.
    """
    grams = ngrams(tokens, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct(answers: Sequence[Sequence[int]], n: int) -> float | None:
    """distinct-n: number of different n-grams of all answers / number of their tokens (Li et al., 2016, section 5.2).

    In [0, 1]. None if no answer has a token.
    """
    tokens = sum(map(len, answers))
    return len({gram for answer in answers for gram in ngrams(answer, n)}) / tokens if tokens else None
