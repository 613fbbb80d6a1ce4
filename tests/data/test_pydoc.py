"""The embedded corpora and tasks, in one file because reading the docstrings takes a quarter of a minute per process.

The general corpus takes half a minute more: whole in ``make test-all`` (marker ``full``), else of a few packages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import combinations

import pytest

from adapt.config import ConfigError, CorpusConfig, SplitSizes, TaskConfig
from adapt.data.corpora import check_corpus, corpus_files, read_corpus
from adapt.data.kinds.tagging import iob2, spans
from adapt.data.leakage import BannedTexts
from adapt.data.pydoc import corpus as pydoc
from adapt.data.pydoc import entities as pydoc_entities
from adapt.data.pydoc import tasks as pydoc_tasks
from adapt.data.pydoc.docstrings import Docstring
from adapt.data.pydoc.sections import Block
from adapt.data.tasks import check_task, read_task
from adapt.data.text import normalise, sentences
from adapt.table.metrics import count_spans

Passages = dict[str, list[str]]
Questions = dict[str, dict[str, list[pydoc_tasks.Labelled]]]


FEW_PACKAGES = ("networkx", "jinja2", "regex", "tqdm", "joblib", "huggingface_hub")


@pytest.fixture(scope="module")
def passages() -> Passages:
    """The embedded corpora, the general one of a few packages only."""
    scientific = pydoc.corpus("scientific")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pydoc.DOMAINS, "general", FEW_PACKAGES)
        patch.setattr(pydoc, "parsed", pydoc.parsed.__wrapped__)  # else it would keep this for the whole domain
        return {"scientific": scientific, "general": pydoc.corpus("general")}


@pytest.fixture(scope="module")
def general() -> list[str]:
    """The whole general corpus."""
    return pydoc.corpus("general")


@pytest.fixture(scope="module")
def questions() -> Questions:
    return {question: pydoc_tasks.task(question) for question in pydoc_tasks.QUESTIONS}


def test_shares_of_the_splits() -> None:
    split = Counter(pydoc.split_of(f"numpy.module.function{number}") for number in range(10_000))
    assert sum(split.values()) == 10_000
    for name, share in pydoc.SPLITS.items():
        assert abs(split[name] / 10_000 - share) < 0.02


def is_prose(passages: list[str]) -> None:
    lengths = [len(passage.split()) for passage in passages]
    assert max(lengths) <= 120
    assert sum(length >= 30 for length in lengths) > 0.6 * len(lengths)
    text = "".join(passages)
    assert sum(map(str.isalpha, text)) > 0.75 * sum(not character.isspace() for character in text)
    assert "\n" not in text
    assert sum(">>>" in passage for passage in passages) < 0.002 * len(lengths)


def test_the_scientific_corpus_is_prose_of_the_promised_size(passages: Passages) -> None:
    assert len(passages["scientific"]) > 15_000
    is_prose(passages["scientific"])


@pytest.mark.full
def test_the_general_corpus_is_prose_of_the_promised_size(general: list[str]) -> None:
    assert len(general) > 50_000
    is_prose(general)


def test_the_embedded_corpus(corpus_config: Callable[..., CorpusConfig], passages: Passages) -> None:
    config = corpus_config(format="pydoc", path=None, domain="scientific", min_words=8, heldout_fraction=0.02)
    check_corpus(config)
    assert corpus_files(config) == []
    corpus = read_corpus(config, [passages["scientific"][0]])
    assert corpus.dropped["banned"] == 1
    assert len(corpus.train) > 13_000 and 0.01 < len(corpus.heldout) / len(corpus.train) < 0.03


@pytest.mark.full
def test_the_help_topics_of_python_are_in_the_general_corpus(general: list[str]) -> None:
    assert any("Assert statements are a convenient way to insert" in passage for passage in general)


def held_out_in(passages: list[str], questions: Questions) -> list[str]:
    held_out = [text for splits in questions.values() for split in ("dev", "test") for text, _ in splits[split]]
    tasks, objects = BannedTexts(held_out, threshold=None), pydoc.banned_texts("dev", "test")
    return [passage for passage in passages if tasks.found_in(passage) or objects.found_in(passage)]


def test_no_dev_or_test_text_in_any_corpus(passages: Passages, questions: Questions) -> None:
    assert passages["scientific"] and passages["general"]
    assert held_out_in([*passages["scientific"], *passages["general"]], questions) == []


@pytest.mark.full
def test_no_dev_or_test_text_in_the_whole_general_corpus(general: list[str], questions: Questions) -> None:
    assert held_out_in(general, questions) == []


def test_the_check_above_would_find_a_leak(questions: Questions) -> None:
    text, _ = questions["section"]["test"][0]
    assert pydoc.banned_texts("test").found_in(f"As someone said: {text.upper()} And so on.")


def test_a_sentence_of_a_held_out_object_is_cut_out_of_another_one() -> None:
    banned = BannedTexts(["The input array, which is never copied."], pydoc.MIN_SHARED_WORDS, threshold=None)
    block = Block("parameters", "x : array", "Some data. The Input array which is NEVER copied. More data.")
    assert pydoc.without(block, banned) == Block("parameters", "x : array", "Some data. More data.")
    assert pydoc.without(Block("notes", "", "The input array, which is never copied."), banned) is None
    assert pydoc.without(Block("see also", "f : the input array which is never copied", ""), banned) is None
    harmless = Block("see also", "f : something else", "")
    assert pydoc.without(harmless, banned) == harmless


def test_own_names_and_paths_are_removed() -> None:
    docstring = Docstring("scipy", "scipy.linalg._basic.solve", "scipy.linalg._basic.solve", "")
    text = "The solve function, unlike resolve or scipy.linalg.inv, is np.ndarray friendly. solve_banded is not."
    unnamed = " ".join(pydoc.unnamed(text, docstring).split())
    assert unnamed == "The function, unlike resolve or , is friendly. solve_banded is not."


def test_no_text_stands_in_two_splits(questions: Questions) -> None:
    for splits in questions.values():
        forms = {split: [normalise(text) for text, _ in examples] for split, examples in splits.items()}
        assert all(len(set(texts)) == len(texts) for texts in forms.values())
        for one, other in combinations(forms.values(), 2):
            assert set(one).isdisjoint(other)


def test_no_training_text_holds_a_long_sentence_of_a_test_object(questions: Questions) -> None:
    held_out = pydoc.banned_texts("test")
    for splits in questions.values():
        assert not [text for split in ("train", "dev") for text, _ in splits[split] if held_out.found_in(text)]
        recognised = sum(held_out.found_in(text) for text, _ in splits["test"])
        assert recognised > 0.999 * len(splits["test"])  # all but a few, which consist of very short sentences


def test_classes_are_balanced_in_every_beginning(questions: Questions) -> None:
    for question, classes in (("topic", 16), ("section", len(pydoc_tasks.SECTIONS))):
        splits = questions[question]
        assert len({label for _, label in splits["train"]}) == classes
        for size in (classes, 250, 500):
            counts = Counter(label for _, label in splits["train"][:size])
            assert max(counts.values()) - min(counts.values()) <= 1
        assert len(splits["dev"]) >= 300 and len(splits["test"]) >= 600
        for split, size in (("dev", 300), ("test", 600)):
            assert {label for _, label in splits[split][:size]} == {label for _, label in splits["train"]}


def test_passages_have_the_promised_length_and_are_whole_sentences(questions: Questions) -> None:
    limits = {"topic": pydoc_tasks.TOPIC_WORDS, "section": pydoc_tasks.SECTION_WORDS}
    for question, (shortest, longest) in limits.items():
        for text, _ in questions[question]["test"]:
            assert shortest <= len(text.split()) <= longest
    cut = pydoc_tasks.whole_sentences
    assert list(cut("One two. Three four five. Six.", 2, 4)) == ["One two.", "Three four five. Six."]
    assert list(cut("One two three four five. Six seven. Eight nine ten.", 2, 4)) == ["Six seven.", "Eight nine ten."]


def test_a_topic_passage_does_not_name_its_object_or_a_subpackage(questions: Questions) -> None:
    for examples in questions["topic"].values():
        assert not [text for text, _ in examples if re.search(r"\b(scipy|sklearn)\.\w", text)]


def test_a_pydoc_task_keeps_its_balance_when_cut(task_config: Callable[..., TaskConfig], questions: Questions) -> None:
    config = task_config(format="pydoc", path=None, question="topic", max_examples=SplitSizes(160, 32, 16))
    check_task(config)
    task = read_task(config)
    assert len(task.labels) == 16 and set(task.counts["train"].values()) == {10}
    assert [example.text for example in task.splits["train"]] == [text for text, _ in questions["topic"]["train"][:160]]


def test_balanced_takes_one_of_each_label_in_turn() -> None:
    examples = [(f"text {number}", "ab"[number > 1]) for number in range(5)]
    taken = pydoc_tasks.balanced(examples)
    assert [{label for _, label in taken[start : start + 2]} for start in (0, 2)] == [{"a", "b"}] * 2
    assert sorted(taken) == sorted(examples)
    assert taken == pydoc_tasks.balanced(reversed(examples))


ONE_PACKAGE = """
import hashlib, json
from adapt.data.pydoc import corpus, tasks
corpus.DOMAINS["scientific"] = tuple(PACKAGES)
for value in (corpus.corpus("scientific"), {q: tasks.task(q) for q in tasks.QUESTIONS}):
    print(len(value), hashlib.sha256(json.dumps(value).encode()).hexdigest())
"""


@pytest.mark.parametrize(
    "packages", [("sklearn",), pytest.param(pydoc.DOMAINS["scientific"], marks=pytest.mark.full)], ids=["one", "all"]
)
def test_same_bytes_in_another_process(packages: tuple[str, ...]) -> None:
    """Whatever the order of its sets, which differs from process to process."""
    script = ONE_PACKAGE.replace("PACKAGES", repr(packages))
    printed = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        printed.add(subprocess.check_output([sys.executable, "-c", script], text=True, env=environment))
    (said,) = printed
    assert int(said.split()[0]) > 1000


def test_importing_reads_no_package() -> None:
    script = "import sys, adapt.data.tasks, adapt.data.corpora; print({'torch', 'scipy', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_fingerprint_follows_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = pydoc.fingerprint.__wrapped__  # it is kept: no version changes within a process
    before = fingerprint()
    assert before == pydoc.fingerprint()
    monkeypatch.setattr(pydoc, "version", lambda name: "0" if name == "scikit-learn" else "1")
    first = fingerprint()
    monkeypatch.setattr(pydoc, "version", lambda name: "1")
    assert len({before, first, fingerprint()}) == 3


def test_unknown_domain_and_question() -> None:
    with pytest.raises(ConfigError, match="corpus.domain=medical: no such domain; possible: scientific, general"):
        pydoc.corpus("medical")
    with pytest.raises(ConfigError, match="task.question=colour: no such question; possible: topic, section"):
        pydoc_tasks.task("colour")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pydoc.DOMAINS, "scientific", ("numpy", "no_such_package"))
    with pytest.raises(ConfigError, match="package no_such_package: not installed"):
        pydoc.check("scientific")


def test_sentences_of_a_passage_are_those_that_are_compared() -> None:
    text = "Compute it. Then: 3 more. e.g. this one"
    assert " ".join(sentences(text)) == text


@pytest.fixture(scope="module")
def entities() -> dict[str, list[pydoc_entities.Tagged]]:
    return pydoc_entities.task()


def test_the_tagging_task_is_large_and_of_four_types(entities: dict) -> None:
    sizes = {split: len(examples) for split, examples in entities.items()}
    assert sizes["train"] > 4000 and sizes["dev"] > 500 and sizes["test"] > 1000
    for split, examples in entities.items():
        counts = count_spans(*[[spans(tags) for _, tags in examples]] * 2)
        assert counts.keys() == {"", "CLASS", "CODE", "FUNCTION", "PARAMETER"}
        assert all(count.gold >= 20 for count in counts.values()), split


def test_no_markup_is_left_in_the_tagging_task(entities: dict) -> None:
    markup = re.compile(r"[`\ue000-\uf8ff]|: ?\w+ ?: ?`|\* ?\*|: :")
    for tokens, tags in (example for examples in entities.values() for example in examples):
        assert not markup.search(" ".join(tokens)), tokens
        assert len(tokens) == len(tags) and iob2(tags) == tags and any(tag != "O" for tag in tags)


def test_splits_of_the_tagging_task_share_no_sentence_and_no_object(entities: dict) -> None:
    texts = {split: {" ".join(tokens) for tokens, _ in examples} for split, examples in entities.items()}
    assert not texts["train"] & (texts["dev"] | texts["test"]) and not texts["dev"] & texts["test"]
    assert not [text for text in texts["train"] if pydoc.banned_texts("dev", "test").found_in(text)]
