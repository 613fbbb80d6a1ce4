"""What a decoder writes after a prompt, greedily or by sampling; the same alone as in a batch, and for equal seeds."""

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
    """How each next token is chosen: the likeliest where temperature is 0, else drawn.

    top_p: drawn from the smallest set of tokens that holds this much probability (Holtzman et al., 2020, equation 2).
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


class Sampling(LogitsProcessor):
    """Scores whose largest is a draw from softmax(scores / temperature) within the nucleus (the Gumbel-max trick).

    Each row has a generator of its own, so that what is drawn for it does not depend on the rows beside it.
    """

    def __init__(self, how: Decoding, prompts: Sequence[Sequence[int]]) -> None:
        self.temperature = how.temperature
        self.nucleus = TopPLogitsWarper(how.top_p)
        self.generators = [torch.Generator().manual_seed(seed_of(how.seed, prompt)) for prompt in prompts]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores [B, V] -> [B, V]."""
        kept = self.nucleus(input_ids, scores.double() / self.temperature)
        waits = [torch.empty(scores.shape[1], dtype=torch.float64).exponential_(generator=g) for g in self.generators]
        return kept - torch.stack(waits).log().to(kept.device)


def seed_of(seed: int, prompt: Sequence[int]) -> int:
    """The seed of a prompt's own generator, from its tokens: not from its place among others."""
    return int.from_bytes(hashlib.sha256(f"{seed} {list(prompt)}".encode()).digest()[:7], "big")


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text that goes on: what the tokenizer puts before a text, and nothing behind it.

    Raises ConfigError where that leaves no token, from which a first one could be predicted.
    """
    ids = [*SpecialTokens.of(tokenizer).before.tolist(), *tokenizer(text, add_special_tokens=False)["input_ids"]]
    if not ids:
        raise ConfigError(f"prompt {text!r}: has no token to go on from, and this tokenizer puts none before a text")
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
    """The tokens that follow each prompt, in the order of ``prompts``: an answer that ended has its end token last.

    The model is left in evaluation mode. Defaults that its folder has for generation (a penalty, a temperature of its
    own) count for nothing, except which tokens end an answer (``end_tokens``). Raises ConfigError where a prompt and
    its answer may need more positions than there are.
    """
    decoder: Any = model.to(device).model
    check_room(decoder.config, max(map(len, prompts)), how.max_new_tokens)
    own = decoder.generation_config
    ends = end_tokens(model, tokenizer)
    fill = batching.padding(tokenizer)
    virtual = virtual_tokens.NAME in dict(decoder.base_model.named_children())  # they begin each pass, of all tokens
    settings = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=False,
        use_cache=not virtual,
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
            found = decoder.generate(**given, generation_config=settings, logits_processor=processors)
            new = found[:, given["input_ids"].shape[1] :].tolist()
            answers.update((index, to_end(tokens, ends)) for index, tokens in zip(indices, new, strict=True))
    finally:
        decoder.generation_config = own
    return [answers[index] for index in range(len(prompts))]


def padded_left(prompts: Sequence[Sequence[int]], fill: int) -> dict[str, Tensor]:
    """input_ids and attention_mask [B, L], each row ending with the last token of its prompt."""
    longest = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[fill] * (longest - len(ids)) + list(ids) for ids in prompts]),
        "attention_mask": torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]),
    }


def end_tokens(model: CausalLM, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the tokenizer's end of text, and those that the model's config or the
    generation config of its folder names.
    """
    named = [tokenizer.eos_token_id, model.model.config.eos_token_id, model.model.generation_config.eos_token_id]
    flat = {end for ends in named for end in (ends if isinstance(ends, list) else [ends])}
    return sorted(flat - {None})


def to_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """The tokens up to the first that ends, and with it."""
    return next((tokens[: place + 1] for place, token in enumerate(tokens) if token in ends), tokens)


def without_end(answer: list[int], ends: Sequence[int]) -> list[int]:
    """An answer's tokens without the one that ends it."""
    return answer[:-1] if answer and answer[-1] in ends else answer


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """Tokens as text, with its spaces as they are."""
    return tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)  # type: ignore[return-value]


def check_room(config: Any, prompt_tokens: int, max_new_tokens: int) -> None:
    """Refuse more positions than the model was made for; a last token that nothing follows needs none."""
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and prompt_tokens + max_new_tokens - 1 > most:
        raise ConfigError(
            f"max_new_tokens={max_new_tokens}: after a prompt of {prompt_tokens} tokens this {config.model_type} has "
            f"positions for {max(0, most - prompt_tokens + 1)} more; shorten the prompt or max_new_tokens"
        )


def ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """All n-grams in their order, len(tokens) - n + 1 of them; none of a shorter text."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def repeated(tokens: Sequence[int], n: int = 4) -> float | None:
    """seq-rep-n = 1 - |unique n-grams| / |n-grams| (Welleck et al., 2020, equation 10), in [0, 1).

    None of a text that has no n-gram.
    """
    found = ngrams(tokens, n)
    return 1 - len(set(found)) / len(found) if found else None


def distinct(answers: Sequence[Sequence[int]], n: int) -> float | None:
    """distinct-n: different n-grams of all answers over the number of their tokens (Li et al., 2016, section 5.2).

    In [0, 1]. None where no answer has a token.
    """
    tokens = sum(map(len, answers))
    return len({found for answer in answers for found in ngrams(answer, n)}) / tokens if tokens else None
