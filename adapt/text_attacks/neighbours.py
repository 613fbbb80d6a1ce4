"""Words near a word in an embedding table, by cosine: the classifier's own table, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

KEY_NAME = "text_attacks.neighbours"
VERSION = 1


def neighbour_words(
    table: Tensor, words: dict[int, str], encode: Callable[[str], list[int]]
) -> Callable[[str, int], list[str]]:
    """``nearest(word, count)``: the nearest words, nearest first; none for a word that is not one token.

    table: [V, d]. words: the tokens that are whole words. encode: a word's token ids. The word itself, in whatever
    case, is never among them. Cost of a call: one product [V', d] x [d].
    """
    ids = sorted(words)
    rows = {number: row for row, number in enumerate(ids)}
    unit = functional.normalize(table.detach().float().cpu()[ids], dim=-1)

    def nearest(word: str, count: int) -> list[str]:
        pieces = encode(word)
        if len(pieces) != 1 or pieces[0] not in rows:
            return []
        cosines = unit @ unit[rows[pieces[0]]]
        order = torch.argsort(cosines, descending=True, stable=True).tolist()
        found: list[str] = []
        for row in order:
            if len(found) == count:
                break
            if ids[row] != pieces[0] and words[ids[row]].casefold() != word.casefold():
                found.append(words[ids[row]])
        return found

    return nearest
