"""Tags into spans, spans into scores, and files into sentences."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.config import ConfigError, SplitSizes
from adapt.data import tasks
from adapt.data.kinds import tagging
from adapt.data.kinds.tagging import TaggedExample, iob2, spans
from adapt.data.pydoc.docstrings import Docstring
from adapt.data.pydoc.entities import tagged_sentences
from adapt.data.pydoc.sections import blocks
from adapt.table.metrics import SpanCounts, count_spans

TAGS = st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"])
SEQUENCES = st.lists(st.lists(TAGS, max_size=8), max_size=6)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-A I-A O", [(0, 2, "A")]),
        ("B-A B-A", [(0, 1, "A"), (1, 2, "A")]),
        ("B-A I-B I-B", [(0, 1, "A"), (1, 3, "B")]),  # another type begins another span
        ("O I-A I-A O I-A", [(1, 3, "A"), (4, 5, "A")]),  # after O: conlleval begins a span
        ("I-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),  # IOB1
        ("B-cell-type I-cell-type", [(0, 2, "cell-type")]),
    ],
)
def test_spans_are_those_of_conlleval(tags: str, expected: list) -> None:
    assert spans(tags.split()) == expected


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("IOB1", "I-A I-A B-A O I-B", "B-A I-A B-A O B-B"),
        ("BIOES", "S-A B-A I-A E-A O S-B B-B E-B", "B-A B-A I-A I-A O B-B B-B I-B"),
        ("BILOU", "U-A B-A I-A L-A O U-B", "B-A B-A I-A I-A O B-B"),
    ],
)
def test_other_schemes_become_iob2(scheme: str, tags: str, expected: str) -> None:
    assert iob2(tags.split()) == expected.split(), scheme


@given(tags=st.lists(TAGS, max_size=12))
def test_conversion_keeps_spans_and_leaves_iob2_as_it_is(tags: list[str]) -> None:
    converted = iob2(tags)
    assert spans(converted) == spans(tags)
    assert iob2(converted) == converted
    outside = {place for place in range(len(tags)) if converted[place] == "O"}
    inside = {place for start, end, _ in spans(tags) for place in range(start, end)}
    assert outside | inside == set(range(len(tags))) and not outside & inside


def test_scores_by_hand() -> None:
    gold = [tags.split() for tags in ("B-A I-A O B-B", "O B-A O", "B-B O")]
    predicted = [tags.split() for tags in ("B-A I-A O B-A", "O B-A I-A", "B-B O")]
    counts = count_spans(map(spans, gold), map(spans, predicted))
    assert counts == {"": SpanCounts(4, 4, 2), "A": SpanCounts(2, 3, 1), "B": SpanCounts(2, 1, 1)}
    assert (counts[""].precision, counts[""].recall, counts[""].f1) == (0.5, 0.5, 0.5)
    assert (counts["A"].precision, counts["A"].recall, counts["A"].f1) == (1 / 3, 1 / 2, 2 / 5)
    assert (counts["B"].precision, counts["B"].recall, counts["B"].f1) == (1.0, 1 / 2, 2 / 3)


def test_no_span_anywhere_scores_zero() -> None:
    found = count_spans([spans(["O"])], [spans(["O"])])
    assert found == {"": SpanCounts(0, 0, 0)}
    assert (found[""].precision, found[""].recall, found[""].f1) == (0.0, 0.0, 0.0)


@given(gold=SEQUENCES, seed=st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_scores_are_seqevals(gold: list[list[str]], seed: int) -> None:
    """Of any tags in its default mode, which follows conlleval, and of whole IOB2 in its strict mode."""
    reason = "seqeval is not installed: pip install seqeval, to compare with it"
    metrics = pytest.importorskip("seqeval.metrics", reason=reason)
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    choose = random.Random(seed)
    sentences = [sentence for sentence in gold if sentence]
    predicted = [[choose.choice([tag, "O", "I-A", "B-B"]) for tag in sentence] for sentence in sentences]
    if not (any(map(spans, sentences)) and any(map(spans, predicted))):
        return
    ours = count_spans(map(spans, sentences), map(spans, predicted))[""].f1
    assert ours == pytest.approx(metrics.f1_score(sentences, predicted, zero_division=0))
    strict = [list(map(iob2, tags)) for tags in (sentences, predicted)]
    assert ours == pytest.approx(metrics.f1_score(*strict, mode="strict", scheme=scheme, zero_division=0))


SENTENCES = [(["Anna", "went", "to", "New", "York"], ["B-PER", "O", "O", "B-LOC", "I-LOC"]), (["Yes", "."], ["O", "O"])]


@pytest.fixture
def config(task_config: Callable) -> Callable:
    def made(**changes: object) -> object:
        values = {"kind": "tagging", "text_column": "tokens", "label_column": "tags", "metric": "span_f1"}
        return task_config(**{**values, **changes})

    return made


def write_all(write: Callable, kind: str, sentences: list = SENTENCES) -> None:
    for split in tasks.SPLITS:
        if kind == "conll":
            lines = [[f"{token} NN {tag}" for token, tag in zip(*pair, strict=True)] for pair in sentences]
            write(f"{split}.conll", "-DOCSTART- -X- O\n\n" + "\n\n".join(map("\n".join, lines)) + "\n")
        elif kind == "jsonl":
            write(f"{split}.jsonl", [{"tokens": tokens, "tags": tags} for tokens, tags in sentences])
        else:
            tokens, tags = zip(*sentences, strict=True)
            table = pyarrow.table({"tokens": list(tokens), "tags": list(tags)})
            pyarrow.parquet.write_table(table, write(f"{split}.parquet", b""))


@pytest.mark.parametrize("kind", ["conll", "jsonl", "parquet"])
def test_all_formats_give_the_same_task_and_it_is_kept(
    config: Callable, write: Callable, tmp_path: Path, kind: str
) -> None:
    write_all(write, kind)
    cfg = config(format=kind)
    tasks.check_task(cfg)
    task = tasks.read_task(cfg)
    assert task.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert {example.tokens: example.tags for example in task.splits["train"]} == {
        ("Anna", "went", "to", "New", "York"): (3, 0, 0, 1, 2),
        ("Yes", "."): (0, 0),
    }
    assert [example.id for example in task.splits["dev"]] == [0, 1]
    assert ("Anna went to New York",) in [example.texts for example in task.splits["test"]]
    assert {task.answer(example) for example in task.splits["test"]} == {"B-PER O O B-LOC I-LOC", "O O"}
    assert task.counts["train"] == {"O": 4, "B-LOC": 1, "I-LOC": 1, "B-PER": 1, "I-PER": 0}
    (tmp_path / "kept").mkdir()
    tasks.write_task(task, tmp_path / "kept")
    assert tasks.load_task(tmp_path / "kept") == task


def test_the_first_sentences_by_hash_do_not_depend_on_the_files_order(config: Callable, write: Callable) -> None:
    many = [([f"word{number}", "Rome"], ["O", "B-LOC"]) for number in range(20)]
    cfg = config(max_examples=SplitSizes(5, None, None))
    write_all(write, "jsonl", many)
    first = tasks.read_task(cfg)
    write_all(write, "jsonl", many[::-1])
    assert tasks.read_task(cfg) == first
    assert [len(examples) for examples in first.splits.values()] == [5, 20, 20]


def test_tabs_may_enclose_a_token_with_a_space(config: Callable, write: Callable) -> None:
    for split in tasks.SPLITS:
        write(f"{split}.conll", "3 %\tCD\tB-X\nof\tIN\tO\n")
    (example,) = tasks.read_task(config(format="conll")).splits["train"]
    assert example.tokens == ("3 %", "of")


@pytest.mark.parametrize(
    ("kind", "train", "message"),
    [
        ("conll", "Anna B-PER\nwent\n", r"train\.conll:2: 'went' has no tag"),
        ("conll", "Anna NNP B-PER\nwent O\n", r"train\.conll:2: 2 columns, but the first token of the file has 3"),
        ("conll", "Yes O\n\nAnna PERSON\n", r"train\.conll:3: token 1 \(Anna\) has the tag 'PERSON'; possible are O"),
        ("conll", "Anna B-\n", r"train\.conll:1: token 1 \(Anna\) has the tag 'B-'"),
        ("conll", "Yes O\n", r"the training split tags no span"),
        ("conll", "-DOCSTART- O\n\n", r"train\.conll: the train split of task=mine has no examples"),
        ("conll", b"Anna\xff O\n", r"train\.conll:1: not UTF-8"),
        ("jsonl", [{"tokens": ["a", "b"], "tags": ["O"]}], r"train\.jsonl:1: 2 tokens but 1 tags"),
        ("jsonl", [{"tokens": "a b", "tags": ["O"]}], r"train\.jsonl:1: column 'tokens' .* must be a list of strings"),
        ("jsonl", [{"tokens": ["a"], "tags": [3]}], r"train\.jsonl:1: column 'tags' .* holds 3; it must be a string"),
        ("jsonl", [{"tokens": [" "], "tags": ["O"]}], r"train\.jsonl:1: token 1 is ' '"),
        (
            "jsonl",
            [{"words": ["a"], "tags": ["O"]}],
            r"train\.jsonl:1: no column 'tokens' \(task\.text_column",
        ),
    ],
)
def test_bad_files_are_refused_with_their_line(
    config: Callable, write: Callable, kind: str, train: object, message: str
) -> None:
    write_all(write, kind)
    write(f"train.{kind}", train)
    with pytest.raises(ConfigError, match=message):
        tasks.read_task(config(format=kind))


def test_a_type_that_training_lacks_and_a_wrong_count_are_refused(config: Callable, write: Callable) -> None:
    write_all(write, "conll")
    with pytest.raises(ConfigError, match=r"task\.num_classes=3: the training split has 2 types of spans: LOC, PER"):
        tasks.read_task(config(format="conll", num_classes=3))
    write("test.conll", "IBM S-ORG\n")
    with pytest.raises(ConfigError, match=r"test\.conll:1: tag 'B-ORG' in test: its type does not occur in train"):
        tasks.read_task(config(format="conll"))


def test_a_table_of_texts_is_no_format_of_tagged_sentences(config: Callable) -> None:
    with pytest.raises(ConfigError, match=r"task\.format=csv: possible are pydoc, jsonl, parquet, conll"):
        tasks.check_task(config(format="csv"))


def test_an_empty_file_is_refused_before_training(config: Callable, write: Callable) -> None:
    write_all(write, "conll")
    write("dev.conll", "\n\n")
    with pytest.raises(ConfigError, match=r"dev\.conll: this split has no examples"):
        tasks.check_task(config(format="conll"))


def test_an_example_reads_as_its_words() -> None:
    assert TaggedExample(0, ("a", "b"), (0, 1)).texts == ("a b",)


# What markup names ----------------------------------------------------------------------------------------------------

DOCUMENTED = """Fit `x_data` with :func:`scipy.optimize.curve_fit` and ``method='lm'`` until *tol* is met.

Returns the :class:`~numpy.ndarray` of the fit when ``x_data`` is long. It raises `unknown_thing` in such cases.
The value of :math:`x_1` is never read by the routine at all. *Never* pass a negative ``n_jobs``s to the function.

Parameters
----------
x_data, y_data : array_like
    Points of the curve that is fitted to them.
tol : float
    Where to stop.
"""


def test_each_markup_becomes_its_type() -> None:
    docstring = Docstring("p", "p.f", "p.f", DOCUMENTED)
    found = [
        " ".join(token if tag == "O" else f"{token}/{tag}" for token, tag in zip(*example, strict=True))
        for example in tagged_sentences(docstring, tuple(blocks(DOCUMENTED)))
    ]
    assert found == [
        "Fit x_data/B-PARAMETER with scipy/B-FUNCTION ./I-FUNCTION optimize/I-FUNCTION ./I-FUNCTION "
        "curve_fit/I-FUNCTION and method/B-CODE =/I-CODE '/I-CODE lm/I-CODE '/I-CODE until tol/B-PARAMETER is met .",
        "Returns the ndarray/B-CLASS of the fit when x_data/B-PARAMETER is long .",
    ]  # left out: a name of no told type, a formula, and a span that ends within a word


def test_an_unknown_question_is_refused(config: Callable) -> None:
    with pytest.raises(ConfigError, match=r"task\.question=topic: .*possible: entities"):
        tasks.check_task(config(format="pydoc", question="topic"))


def test_rows_for_prediction_need_tokens_alone() -> None:
    assert tagging.read_tokens(("f:1", json.loads('{"tokens": ["a", "b"]}'))) == ["a", "b"]
    with pytest.raises(ConfigError, match="f:1: no column 'tokens'"):
        tagging.read_tokens(("f:1", {"text": "a b"}))
