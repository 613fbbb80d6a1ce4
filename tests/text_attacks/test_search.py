"""The search against classifiers written by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from adapt.text_attacks.search import Limits, Outcome, attack
from adapt.text_attacks.words import Sentence, split

TEXT = "the old cat was near a river"  # 7 words


class Victim:
    """The probability of class 0 is ``score(text)``; records the texts that it was asked about."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self.score = score
        self.batches: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.batches.append(texts)
        return np.array([[self.score(text), 1 - self.score(text)] for text in texts])

    @property
    def asked(self) -> int:
        return sum(map(len, self.batches))


def by_word(weights: dict[str, float]) -> Callable[[str], float]:
    """The more of the known words the text has, the likelier class 0."""
    return lambda text: 0.05 + sum(weight for word, weight in weights.items() if word in text.split())


def run(
    victim: Victim,
    propose: Callable[[Sentence, int], Sequence[str]],
    *,
    label: int = 0,
    words: int = 7,
    queries: int = 1000,
    candidates: int = 50,
    text: str = TEXT,
    positions: Sequence[int] | None = None,
) -> Outcome:
    sentence = split(text)
    return attack(
        sentence,
        label,
        classify=victim,
        hide=Sentence.without_word,
        propose=propose,
        positions=range(len(sentence.words)) if positions is None else positions,
        limits=Limits(words, candidates, queries),
    )


def test_the_one_word_that_counts_is_found_in_1_plus_7_plus_3_queries() -> None:
    victim = Victim(by_word({"cat": 0.9}))
    outcome = run(victim, lambda sentence, position: ["x1", "x2", "x3"])
    assert outcome.status == "success"
    assert (outcome.queries, victim.asked, outcome.changed) == (11, 11, 1)
    assert outcome.text == "the old x1 was near a river"  # the first of the three that change the answer
    assert (outcome.original_score, outcome.score, outcome.predicted) == (pytest.approx(0.95), pytest.approx(0.05), 1)
    assert [len(batch) for batch in victim.batches] == [1, 7, 3]


def test_words_are_tried_by_importance_and_the_best_candidate_is_kept() -> None:
    weights = {"old": 0.3, "cat": 0.2, "river": 0.4, "mild": 0.1, "brook": 0.25, "rill": 0.1}
    others = {"old": ["new", "mild"], "river": ["brook", "rill"], "cat": ["dog"]}
    tried: list[str] = []

    def propose(sentence: Sentence, position: int) -> list[str]:
        tried.append(sentence.words[position])
        return others.get(sentence.words[position], [])

    outcome = run(Victim(by_word(weights)), propose)
    # .95 -> river becomes rill (.65) -> old becomes new (.35): wrong
    assert tried == ["river", "old"]
    assert outcome.text == "the new cat was near a rill"
    assert (outcome.status, outcome.changed, outcome.queries) == ("success", 2, 1 + 7 + 2 + 2)
    assert outcome.score == pytest.approx(0.35)


def test_a_candidate_that_helps_nothing_is_not_kept() -> None:
    outcome = run(Victim(lambda text: 0.9), lambda sentence, position: ["x"])
    assert (outcome.status, outcome.changed, outcome.text, outcome.queries) == ("failed", 0, TEXT, 1 + 7 + 7)


def test_the_budget_of_words_is_kept_exactly() -> None:
    victim = Victim(lambda text: 0.6 + 0.05 * sum(word in TEXT.split() for word in text.split()))
    for words in (1, 2, 5):
        outcome = run(victim, lambda sentence, position: ["x"], words=words)
        assert (outcome.status, outcome.changed) == ("failed", words)
        assert sum(word == "x" for word in outcome.text.split()) == words
        assert outcome.queries == 1 + 7 + words


@pytest.mark.parametrize("queries", range(1, 20))
def test_the_budget_of_queries_is_kept_exactly(queries: int) -> None:
    victim = Victim(lambda text: 0.9)
    outcome = run(victim, lambda sentence, position: ["x", "y", "z"], queries=queries)
    assert (outcome.status, outcome.queries, victim.asked) == ("failed", queries, queries)


def test_the_budget_of_candidates_is_kept_exactly() -> None:
    victim = Victim(by_word({"cat": 0.9}))
    outcome = run(victim, lambda sentence, position: [f"x{i}" for i in range(100)], candidates=4)
    assert (outcome.status, outcome.queries, len(victim.batches[-1])) == ("success", 1 + 7 + 4, 4)


def test_the_last_queries_still_count() -> None:
    """A word whose candidates the budget cuts short may still be the one that changes the answer."""
    outcome = run(Victim(by_word({"cat": 0.9})), lambda sentence, position: ["cat2", "x", "y"], queries=9)
    assert (outcome.status, outcome.queries, outcome.text) == ("success", 9, "the old cat2 was near a river")


def test_an_example_that_is_wrong_already_is_skipped_for_one_query() -> None:
    victim = Victim(by_word({"cat": 0.9}))
    outcome = run(victim, lambda sentence, position: ["x"], label=1)
    assert (outcome.status, outcome.queries, victim.asked, outcome.changed, outcome.predicted) == (
        "skipped",
        1,
        1,
        0,
        0,
    )


def test_the_original_word_and_doubles_cost_no_query() -> None:
    victim = Victim(lambda text: 0.9)
    outcome = run(victim, lambda sentence, position: [sentence.words[position], "x", "x"], positions=[2])
    assert (outcome.status, outcome.queries) == ("failed", 1 + 1 + 1)
    assert TEXT not in victim.batches[-1]


def test_a_text_without_a_word_to_change_fails_for_one_query() -> None:
    outcome = run(Victim(lambda text: 0.9), lambda sentence, position: ["x"], text="... 42", positions=[])
    assert (outcome.status, outcome.queries) == ("failed", 1)


@pytest.mark.parametrize("at", ["original", "candidate", "proposal", "not finite"])
def test_a_crash_ends_its_example_alone_and_says_where(at: str) -> None:
    def score(text: str) -> float:
        if (at == "original" and text == "bad text") or (at == "candidate" and "boom" in text):
            raise RuntimeError("the classifier broke")
        return float("nan") if at == "not finite" and "boom" in text else 0.9

    def propose(sentence: Sentence, position: int) -> list[str]:
        if at == "proposal" and sentence.text == "bad text":
            raise RuntimeError("the proposer broke")
        return ["boom"] if "bad" in sentence.text else ["x"]

    bad = run(Victim(score), propose, text="bad text")
    assert bad.status == "crashed"
    assert bad.error is not None and ("broke" in bad.error or "not finite" in bad.error)
    assert "search.py:" in bad.error and "/" not in bad.error  # frames without folders
    assert (bad.original_score is None) == (at == "original")
    assert run(Victim(score), propose, text="good text").status == "failed"


def test_an_interruption_is_no_crash() -> None:
    def score(text: str) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Victim(score), lambda sentence, position: ["x"])
