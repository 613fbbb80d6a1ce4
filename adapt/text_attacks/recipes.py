"""The attacks by name: how words are ranked, which words may be changed, and what is proposed for them.

All share the greedy search and the budget of search.py. None makes the checks for which its paper needs a downloaded
model (similarity by a sentence encoder, part-of-speech tags, a synonym list). So a successful text fools the classifier
but does not always mean the same: rates compare models with each other, not with the papers' tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapt.text_attacks import characters
from adapt.text_attacks.masked_lm import Guesser, masked, unmasked
from adapt.text_attacks.search import Hide, Propose
from adapt.text_attacks.words import Sentence, has_letter

KEY_NAME = "text_attacks.recipes"
VERSION = 2


@dataclass(frozen=True)
class Tools:
    """What recipes propose words with; guesser and nearest are None if no chosen recipe needs them."""

    candidates: int
    seed: int
    stop_words: frozenset[str]  # in lower case
    guesser: Guesser | None
    nearest: Callable[[str, int], list[str]] | None


@dataclass(frozen=True)
class Recipe:
    """hide: the text for ranking a word; may_change: whether a word may change; start: makes an example's proposer."""

    hide: Hide
    may_change: Callable[[str], bool]
    start: Callable[[Sentence, int], Propose]


def bae(tools: Tools) -> Recipe:
    """BAE-R (Garg & Ramakrishnan, EMNLP 2020, section 3 and algorithm 1).

    Ranking by deletion; candidates are the masked LM's top K at the masked word, in the current text. Differences from
    the paper: no sentence encoder (threshold .8) and no part-of-speech check; of several candidates that change the
    answer the likeliest is taken, in the paper the most similar; whole words by the tokenizer, not by GloVe.
    """
    assert tools.guesser is not None
    propose = masked(tools.guesser)
    return Recipe(Sentence.without_word, has_letter, lambda _sentence, _example: propose)


def bert_attack(tools: Tools) -> Recipe:
    """BERT-Attack (Li et al., EMNLP 2020, section 3 and algorithms 1 and 2).

    Ranking by [MASK]; candidates are the masked LM's top K at each word of the original text, which it reads once,
    unmasked; a word of several tokens gets the likeliest combinations of the guesses for its tokens; stop words are
    neither replaced nor proposed. Differences from the paper: combinations are ranked by the log-probabilities of that
    one pass, not by the perplexity of another pass (this ranking is exact; the released code looks at 4 guesses per
    token and 24 combinations); no antonym list, and no sentence encoder afterwards.
    """
    guesser, stop_words = tools.guesser, tools.stop_words
    assert guesser is not None

    def hide(sentence: Sentence, position: int) -> str:
        return sentence.with_word(position, str(guesser.tokenizer.mask_token)).text

    def start(original: Sentence, _example: int) -> Propose:
        guess = unmasked(guesser, original)

        def propose(sentence: Sentence, position: int) -> list[str]:
            return [word for word in guess(sentence, position) if word.casefold() not in stop_words]

        return propose

    return Recipe(hide, lambda word: has_letter(word) and word.casefold() not in stop_words, start)


def embedding(tools: Tools) -> Recipe:
    """TextFooler's search (Jin et al., AAAI 2020, section 3, algorithm 1) over the classifier's own embedding table.

    Ranking by deletion; candidates are the K nearest whole words by cosine. Differences from the paper: the
    classifier's input embeddings instead of counter-fitted vectors, which keep antonyms apart; no cosine threshold
    (.7), no part-of-speech check, no sentence encoder; ranking without the extra term for an answer that changes. A
    word that is not one token of the vocabulary is left as it is. It uses the weights, so it is not a black-box attack.
    """
    nearest = tools.nearest
    assert nearest is not None

    def propose(sentence: Sentence, position: int) -> list[str]:
        return nearest(sentence.words[position], tools.candidates)

    return Recipe(Sentence.without_word, has_letter, lambda _sentence, _example: propose)


def typos(tools: Tools) -> Recipe:
    """One misspelling per word: swap, drop, add, keyboard (Pruthi et al., ACL 2019, section 3), any other letter
    (DeepWordBug: Gao et al., 2018, section 4).

    Only inside words that take four keys or more to type (three kana); see characters.py for other scripts than Latin,
    and for Han, of which no word is misspelt. Differences from the papers: words are ranked by deletion (TextBugger: Li
    et al., NDSS 2019, section 3), while Pruthi et al. try every word; K misspellings per word, drawn from the seed; a
    share of the words may be edited, instead of one or two edits per text.
    """

    def may_change(word: str) -> bool:
        return has_letter(word) and characters.can_be_misspelt(word)

    def start(_sentence: Sentence, example: int) -> Propose:
        def propose(sentence: Sentence, position: int) -> list[str]:
            return characters.typos(sentence.words[position], tools.candidates, (tools.seed, example, position))

        return propose

    return Recipe(Sentence.without_word, may_change, start)


def case(tools: Tools) -> Recipe:
    """A word in another case, like TextFlint's WordCase (Gui et al., 2021, table of general transformations).

    WordCase changes the whole text at once; here the search chooses words. Only the words of some scripts have another
    case. A tokenizer that lower-cases undoes every
    change: a success rate of 0 then says nothing about the model's robustness.
    """

    def propose(sentence: Sentence, position: int) -> list[str]:
        return characters.cases(sentence.words[position])

    return Recipe(Sentence.without_word, has_letter, lambda _sentence, _example: propose)


RECIPES: dict[str, Callable[[Tools], Recipe]] = {
    "bae": bae,
    "bert_attack": bert_attack,
    "embedding": embedding,
    "typos": typos,
    "case": case,
}
