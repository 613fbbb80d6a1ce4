"""Words that a masked language model proposes: BAE masks the word, BERT-Attack leaves it in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapt.models.language import MaskedLM
from adapt.text_attacks.vocabulary import tokens_of, whole_words
from adapt.text_attacks.words import Sentence, is_word

KEY_NAME = "text_attacks.masked_lm"
VERSION = 1

Words = Callable[[Sentence, int], list[str]]
Combination = tuple[float, tuple[int, ...]]


class Guesser:
    """A masked LM in eval mode with its tokenizer, for texts cut at max_length tokens; ``count`` guesses per token."""

    def __init__(self, model: MaskedLM, tokenizer: PreTrainedTokenizerBase, *, max_length: int, count: int) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_length, self.count = max_length, count
        self.words = whole_words(tokenizer)
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def guesses(self, text: str, spans: Sequence[tuple[int, int]]) -> list[list[list[tuple[float, int]]]]:
        """For each span, for each of its tokens: the likeliest guesses (log-probability, token id), best first.

        A span beyond max_length has no tokens. Cost: one forward pass.
        """
        encoding = self.tokenizer(
            text, truncation=True, max_length=self.max_length, return_offsets_mapping=True, return_tensors="pt"
        )
        offsets = [(int(first), int(last)) for first, last in encoding.pop("offset_mapping")[0]]
        places = [tokens_of(offsets, *span) for span in spans]
        flat = [place for tokens in places for place in tokens]
        if not flat:
            return [[] for _ in spans]
        names = ("input_ids", "attention_mask", "token_type_ids")
        batch: dict[str, Tensor] = {name: encoding[name].to(self.device) for name in names if name in encoding}
        logits = self.model(**batch, positions=torch.tensor(flat, device=self.device))
        best = logits.log_softmax(-1).topk(min(self.count, logits.shape[-1]))
        rows = [list(zip(*pair, strict=True)) for pair in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        taken = iter(rows)
        return [[next(taken) for _ in tokens] for tokens in places]


def masked(guesser: Guesser) -> Words:
    """BAE-R: mask the word in the current text, and take the model's guesses that are whole words.

    As in the paper, the top ``count`` tokens are taken first and then filtered, so fewer may remain.
    """

    def propose(sentence: Sentence, position: int) -> list[str]:
        text = sentence.with_word(position, str(guesser.tokenizer.mask_token)).text
        start, _ = sentence.span(position)
        tokens = guesser.guesses(text, [(start, start + len(str(guesser.tokenizer.mask_token)))])[0]
        words = [guesser.words[token] for _, token in tokens[0] if token in guesser.words] if tokens else []
        return other_words(words, sentence.words[position])

    return propose


def unmasked(guesser: Guesser, sentence: Sentence) -> Words:
    """BERT-Attack: the model reads the original text once, with nothing masked, and guesses every word of it.

    For a word of one token: the guesses that are whole words. For a word of several tokens: the likeliest combinations,
    with one guess per token, that join into one word.
    """
    everywhere: list[list[str]] = []

    def guess_all() -> list[list[str]]:
        spans = [sentence.span(position) for position in range(len(sentence.words))]
        guessed = guesser.guesses(sentence.text, spans)
        return [joined(tokens, guesser) for tokens in guessed]

    def propose(_now: Sentence, position: int) -> list[str]:
        if not everywhere:
            everywhere.extend(guess_all())
        return other_words(everywhere[position], sentence.words[position])

    return propose


def joined(tokens: list[list[tuple[float, int]]], guesser: Guesser) -> list[str]:
    """The words that the guesses for the tokens of one word form, likeliest first."""
    if not tokens:
        return []
    if len(tokens) == 1:
        return [guesser.words[token] for _, token in tokens[0] if token in guesser.words]
    texts = guesser.tokenizer.batch_decode([list(ids) for _, ids in combinations(tokens, guesser.count)])
    words = [text.strip().replace(" ##", "") for text in texts]  # a WordPiece tokenizer without a decoder leaves ##
    return [word for word in words if is_word(word)]


def combinations(tokens: list[list[tuple[float, int]]], count: int) -> list[Combination]:
    """The ``count`` combinations of one guess per token with the largest sum of log-probabilities, best first.

    Exact, because the best combinations of n tokens begin with the best of n - 1. The cost per token is ``count``
    squared; trying all combinations would cost ``count`` to the power of the number of tokens.
    """
    best: list[Combination] = [(0.0, ())]
    for guesses in tokens:
        longer = [(total + value, (*ids, token)) for total, ids in best for value, token in guesses]
        best = sorted(longer, key=lambda entry: (-entry[0], entry[1]))[:count]
    return best


def other_words(words: list[str], original: str) -> list[str]:
    """The words without the original in any case: a lower-casing tokenizer would see no change."""
    return [word for word in dict.fromkeys(words) if word.casefold() != original.casefold()]
