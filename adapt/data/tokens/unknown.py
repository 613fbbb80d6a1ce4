"""How much of a text its tokenizer knows: unknown tokens, lost characters, bytes, and texts of which nothing is left.

An unknown token stands for what the vocabulary lacks. WordPiece and word-level tokenizers have one for each word that
they cannot spell. Unigram, and BPE with ``fuse_unk``, join neighbouring unknown characters into one token, and BPE
without an unknown token leaves them out without a trace. For these the characters are counted too. A tokenizer that
spells what it lacks in bytes has nothing unknown: byte-level BPE always does so, others fall back to
tokens like <0xED>.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase

from adapt.data.visible import is_visible, visible

KEY_NAME = "data.tokens.unknown"
VERSION = 1
AT_ONCE = 1000  # texts whose offsets are in memory together
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


@dataclass
class Known:
    """Counts over some texts, without special tokens.

    unknown, in_bytes: how many of the tokens. lost: how many of the visible characters lie in unknown tokens or in no
    token; both are 0 where unknown tokens are neither joined nor left out. unread: texts without a single known token.
    """

    texts: int = 0
    unread: int = 0
    tokens: int = 0
    unknown: int = 0
    in_bytes: int = 0
    characters: int = 0
    lost: int = 0

    @property
    def share(self) -> float:
        """The larger share of what is unknown: of the tokens, or of the characters."""
        return max(self.unknown / max(1, self.tokens), self.lost / max(1, self.characters))

    def __add__(self, other: Known) -> Known:
        return Known(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Gauge:
    """Counts what a tokenizer knows of texts that it has split already.

    has_bytes: whether it falls back to tokens for single bytes. by_characters: whether it joins unknown tokens or
    leaves them out, so that a share of its tokens would say too little.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Read the rules of a fast tokenizer; of a slow one only its unknown token is known."""
        self._backend = tokenizer.backend_tokenizer if tokenizer.is_fast else None  # type: ignore[attr-defined]
        vocabulary = tokenizer.get_vocab()
        self._bytes = np.array([number for token, number in vocabulary.items() if _BYTE.fullmatch(token)], np.int64)
        rules = json.loads(self._backend.to_str()) if self._backend is not None else {}
        model: dict[str, Any] = rules.get("model", {})
        falls_back = model.get("byte_fallback", False) and len(self._bytes) == 256
        spelt = model.get("type") == "BPE" and spells_every_byte(rules, vocabulary)
        self._unknown = None if spelt or falls_back else unknown_id(tokenizer, model, vocabulary)
        self.has_bytes = bool(falls_back)
        self._drops = model.get("type") == "BPE" and not spelt and not falls_back and self._unknown is None
        self.by_characters = self._drops or (
            self._unknown is not None and (model.get("type") == "Unigram" or bool(model.get("fuse_unk")))
        )

    def of(
        self, texts: Sequence[str], ids: NDArray[Any], lengths: NDArray[np.int64]
    ) -> tuple[Known, NDArray[np.bool_]]:
        """The counts of some texts, and which of them are unread [T].

        ids: the texts' ids one after another, without special tokens; lengths [T]: of the texts.
        """
        unknown = np.zeros(len(ids), bool) if self._unknown is None else ids == self._unknown
        of_text = np.repeat(np.arange(len(lengths)), lengths)
        known = np.bincount(of_text[~unknown], minlength=len(lengths))
        unread = known == 0
        characters = lost = 0
        if self.by_characters:
            suspects = range(len(texts)) if self._drops else np.unique(of_text[unknown]).tolist()
            characters = sum(map(visible, texts))
            lost = sum(self._lost([texts[number] for number in suspects]))
        in_bytes = int(np.isin(ids, self._bytes).sum()) if self.has_bytes else 0
        counted = Known(len(texts), int(unread.sum()), len(ids), int(unknown.sum()), in_bytes, characters, lost)
        return counted, unread

    def _lost(self, texts: list[str]) -> Iterator[int]:
        """For each text, how many of its visible characters lie in an unknown token or in none."""
        assert self._backend is not None
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            for text, one in zip(some, self._backend.encode_batch(some, add_special_tokens=False), strict=True):
                lost = np.ones(len(text), bool)
                for first, last in one.offsets:
                    lost[first:last] = False
                for token, (first, last) in zip(one.ids, one.offsets, strict=True):
                    if token == self._unknown:  # after the others: a mark of the word's beginning may overlap it
                        lost[first:last] = True
                yield sum(is_visible(text[place]) for place in np.flatnonzero(lost).tolist())


def unknown_id(tokenizer: PreTrainedTokenizerBase, model: dict[str, Any], vocabulary: dict[str, int]) -> int | None:
    """The id of the token that a tokenizer's model writes for what it does not know; None if there is none.

    ``tokenizer.unk_token`` may be another one: GPT-2's is its end of text, which its model never writes for a text.
    """
    if not model:
        return tokenizer.unk_token_id
    if model["type"] == "Unigram":
        return model.get("unk_id")
    return vocabulary.get(model.get("unk_token") or "")


def spells_every_byte(rules: dict[str, Any], vocabulary: dict[str, int]) -> bool:
    """Whether a BPE works on bytes and has a token for each of the 256."""
    parts: list[dict[str, Any]] = []
    for name in ("pre_tokenizer", "normalizer"):
        whole = rules.get(name) or {}
        parts += whole.get("pretokenizers") or whole.get("normalizers") or [whole]
    works_on_bytes = any(part.get("type") == "ByteLevel" for part in parts)
    return works_on_bytes and vocabulary.keys() >= set(pre_tokenizers.ByteLevel.alphabet())
