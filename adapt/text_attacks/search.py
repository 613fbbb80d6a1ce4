"""Greedy search for a text that a classifier gets wrong: takes callables, returns one outcome; no model, no config.

BERT-Attack (Li et al., 2020, algorithm 1), BAE (Garg & Ramakrishnan, 2020, algorithm 1) and TextFooler (Jin et al.,
2020, algorithm 1) share this search: rank the words by how much the true class loses without them, then replace them in
this order. A query is one text that is classified; the original text and those for the ranking count too.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapt.text_attacks.words import Sentence

KEY_NAME = "text_attacks.search"
VERSION = 2

SUCCESS, FAILED, SKIPPED, CRASHED = "success", "failed", "skipped", "crashed"

Classify = Callable[[list[str]], np.ndarray]  # N texts -> probabilities [N, C]
Hide = Callable[[Sentence, int], str]  # the text without the information of one word
Propose = Callable[[Sentence, int], Sequence[str]]  # words for a position of the current text, best first


@dataclass(frozen=True)
class Limits:
    """The budget of one example."""

    words: int  # how many words may be changed
    candidates: int  # how many candidates are tried for a word
    queries: int  # how many texts may be classified


@dataclass(frozen=True)
class Outcome:
    """How the attack on one example ended.

    status: success, failed, skipped (wrong before the attack) or crashed. Scores are probabilities of the true class;
    None if the crash came before them. text: the current text of the search when it ended. tried: how many texts with
    another word were classified; 0 where no word has a candidate, or the queries did not last for one.
    """

    status: str
    queries: int
    changed: int
    text: str
    original_score: float | None
    score: float | None
    predicted: int | None
    tried: int = 0
    error: str | None = None


class BudgetSpent(Exception):
    """No query is left."""


@dataclass
class _State:
    """The current text of the search, and what the search has cost so far."""

    sentence: Sentence
    classify: Classify
    label: int
    left: int
    queries: int = 0
    changed: int = 0
    tried: int = 0
    original_score: float | None = None
    score: float | None = None
    predicted: int | None = None

    def ask(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the true class and answers for as many texts as queries are left. Raises BudgetSpent if none is."""
        texts = texts[: self.left]
        if not texts:
            raise BudgetSpent
        self.left -= len(texts)
        self.queries += len(texts)
        probabilities = self.classify(texts)
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("the classifier gave a probability that is not finite")
        return probabilities[:, self.label], probabilities.argmax(-1)

    def accept(self, position: int, word: str, score: float, predicted: int) -> None:
        """Put a word into the text."""
        self.sentence = self.sentence.with_word(position, word)
        self.changed += 1
        self.score, self.predicted = float(score), int(predicted)


def attack(
    sentence: Sentence,
    label: int,
    *,
    classify: Classify,
    hide: Hide,
    propose: Propose,
    positions: Sequence[int],
    limits: Limits,
) -> Outcome:
    """Attack one example; positions: of the words that may be changed.

    An error ends only this example: its outcome is crashed, with the error and where it was raised.
    """
    state = _State(sentence, classify, label, limits.queries)
    error = None
    try:
        status = _search(state, hide, propose, positions, limits)
    except BudgetSpent:
        status = FAILED
    except Exception as raised:  # a broken example must neither stop the others nor count as robust
        status, error = CRASHED, where(raised)
    return Outcome(
        status,
        state.queries,
        state.changed,
        state.sentence.text,
        state.original_score,
        state.score,
        state.predicted,
        state.tried,
        error,
    )


def _search(state: _State, hide: Hide, propose: Propose, positions: Sequence[int], limits: Limits) -> str:
    scores, answers = state.ask([state.sentence.text])
    state.original_score, state.score, state.predicted = float(scores[0]), float(scores[0]), int(answers[0])
    if state.predicted != state.label:
        return SKIPPED
    for position in _by_importance(state, hide, positions):
        if state.changed == limits.words:
            break
        if _replace(state, position, propose, limits.candidates):
            return SUCCESS
    return FAILED


def _by_importance(state: _State, hide: Hide, positions: Sequence[int]) -> list[int]:
    """The positions by how much the true class loses without their word, largest first; ties in the order of the text.

    Words that the query budget does not reach are left out. Cost: one query per word.
    """
    if not positions:
        return []
    scores, _ = state.ask([hide(state.sentence, position) for position in positions])
    return [positions[index] for index in np.argsort(scores, kind="stable")]


def _replace(state: _State, position: int, propose: Propose, candidates: int) -> bool:
    """Try the candidates for one word in one batch; returns whether the classifier is now wrong.

    If candidates make the answer wrong, the first of them is taken (the proposer's best); else the candidate with the
    lowest score, if that is lower than before.
    """
    proposed = dict.fromkeys(propose(state.sentence, position))
    words = [word for word in proposed if word != state.sentence.words[position]][:candidates]
    if not words:
        return False
    scores, answers = state.ask([state.sentence.with_word(position, word).text for word in words])
    state.tried += len(answers)
    wrong = np.flatnonzero(answers != state.label)
    best = int(wrong[0]) if len(wrong) else int(scores.argmin())
    if len(wrong) or scores[best] < state.score:
        state.accept(position, words[best], scores[best], answers[best])
    return len(wrong) > 0


def where(error: Exception) -> str:
    """The traceback and message of an error, with file names but no folders, which differ between machines."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*lines, *traceback.format_exception_only(error)]).strip()
