"""The nearest words by cosine in an embedding table: the classifier's own, so that nothing has to be downloaded."""

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
    """Returns ``nearest(word, count)``: the nearest words, nearest first; none for a word that is not one token.

    table: [V, d]. words: the V' tokens that are whole words, by id. encode: word -> token ids. The word itself, in any
    case, is never among its neighbours. Cost of a call: one product [V', d] x [d].
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
        neighbours: list[str] = []
        for row in order:
            if len(neighbours) == count:
                break
            if ids[row] != pieces[0] and words[ids[row]].casefold() != word.casefold():
                neighbours.append(words[ids[row]])
        return neighbours

    return nearest
