"""Two classification tasks over the docstrings of scientific packages, split by documented object.

topic: which subpackage of scipy or scikit-learn a passage documents. section: which section of a numpydoc docstring it
comes from. A dev passage must hold no text of test, and a train passage no text of dev or test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice

from adapt.config import ConfigError
from adapt.data.leakage import BannedTexts
from adapt.data.pydoc import corpus
from adapt.data.pydoc.docstrings import Docstring
from adapt.data.pydoc.sections import Block
from adapt.data.text import distinct, in_hash_order, sentences

KEY_NAME = "data.pydoc.tasks"
VERSION = 1

Labelled = tuple[str, str]  # text, label name
Passages = Callable[[Docstring, Iterable[Block]], Iterator[Labelled]]

TOPICS = (
    "scipy.fft", "scipy.integrate", "scipy.interpolate", "scipy.io", "scipy.linalg", "scipy.ndimage", "scipy.optimize",
    "scipy.signal", "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats",
    "sklearn.cluster", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics",
)  # fmt: skip
TOPIC_SECTIONS = ("summary", "description", "notes")  # other sections say how to call an object, not what it is about
TOPIC_WORDS = (10, 30)
# Not the extended description, which reads like Notes. An entry gives only its text, not its "name : type" line.
SECTIONS = ("summary", "parameters", "returns", "attributes", "notes", "examples")
SECTION_WORDS = (10, 40)
MOST_OF_ONE_OBJECT = 8  # passages with the same label


def check(question: str | None) -> None:
    """Raise ConfigError for an unknown question."""
    if question not in QUESTIONS:
        raise ConfigError(f"task.question={question}: no such question; possible: {', '.join(QUESTIONS)}")


def task(question: str | None) -> dict[str, list[Labelled]]:
    """The passages of train, dev and test for a question.

    Each split takes one passage of each label in turn, each label's passages by hash, so that the first n are as
    balanced as the labels allow, for every n. Raises ConfigError for an unknown question or if a package is not
    installed.
    """
    check(question)
    return {split: list(examples) for split, examples in _of_question(str(question)).items()}


@cache
def _of_question(question: str) -> dict[str, list[Labelled]]:
    examples: list[tuple[str, Labelled]] = []
    for split, later in (("test", ()), ("dev", ("test",)), ("train", ("dev", "test"))):
        examples += ((split, example) for example in _examples(QUESTIONS[question], split, corpus.banned_texts(*later)))
    different = list(distinct(examples, lambda item: item[1][0]))
    return {name: balanced(example for split, example in different if split == name) for name in corpus.SPLITS}


def _examples(passages_of: Passages, split: str, banned: BannedTexts) -> Iterator[Labelled]:
    """The passages of a split's objects that hold no banned text, at most MOST_OF_ONE_OBJECT per object and label."""
    taken: Counter[tuple[str, str]] = Counter()
    for docstring, parts in corpus.parsed("scientific"):
        if corpus.split_of(docstring.owner) == split:
            for text, label in passages_of(docstring, parts):
                if taken[docstring.owner, label] < MOST_OF_ONE_OBJECT and not banned.found_in(text):
                    taken[docstring.owner, label] += 1
                    yield text, label


def balanced(examples: Iterable[Labelled]) -> list[Labelled]:
    """The first example of each label by hash, then the second of each, and so on."""
    turn: Counter[str] = Counter()
    ranked = []
    for example in in_hash_order(examples, lambda example: example[0]):
        ranked.append((turn[example[1]], example))
        turn[example[1]] += 1
    return [example for _, example in sorted(ranked, key=lambda item: item[0])]


def _topic_passages(docstring: Docstring, parts: Iterable[Block]) -> Iterator[Labelled]:
    topic = ".".join(docstring.name.split(".")[:2])
    for part in parts:
        if topic in TOPICS and part.section in TOPIC_SECTIONS:
            yield from ((text, topic) for text in whole_sentences(corpus.unnamed(part.text, docstring), *TOPIC_WORDS))


def _section_passages(docstring: Docstring, parts: Iterable[Block]) -> Iterator[Labelled]:
    for part in parts:
        if part.section in SECTIONS:
            beginning = islice(whole_sentences(part.text, *SECTION_WORDS), 1)
            yield from ((text, part.section) for text in beginning)


def whole_sentences(text: str, shortest: int, longest: int) -> Iterator[str]:
    """Passages of whole sentences, of ``shortest`` to ``longest`` words.

    Never a part of a sentence: that could be in a corpus unnoticed, because corpora are compared sentence by sentence.
    """
    words: list[str] = []
    for sentence in [*sentences(text), ""]:
        new = sentence.split()
        if not new or len(words) + len(new) > longest:
            if shortest <= len(words) <= longest:
                yield " ".join(words)
            words = []
        words += new


QUESTIONS: dict[str, Passages] = {"topic": _topic_passages, "section": _section_passages}
