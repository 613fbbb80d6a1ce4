"""Files in the layouts in which corpora are published, read to the examples that each layout's own readers give.

The small files in published/ are our own text. What seqeval 1.2.2 finds in tags is recorded there (seqeval.jsonl).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from adapt.config import ConfigError, SplitSizes, TaskConfig
from adapt.data.files import find_files, read_rows
from adapt.data.formats.conll import read_conll
from adapt.data.kinds.tagging import TaggedExample
from adapt.data.tags import iob2, spans
from adapt.data.tasks import check_task, load_task, read_task, write_task

PUBLISHED = Path(__file__).with_name("published")
Config = Callable[..., TaskConfig]
TAGGING = {"kind": "tagging", "text_column": "tokens", "label_column": "tags", "metric": "span_f1", "format": "conll"}


def publish(name: str, folder: Path, ending: str | None = None) -> None:
    """A file of published/ as the train, dev and test split of a folder."""
    source = PUBLISHED / name
    for split in ("train", "dev", "test"):
        (folder / f"{split}{ending or source.suffix}").write_bytes(source.read_bytes())


def sentences(task: Any, split: str = "train") -> set[tuple[str, str]]:
    return {("|".join(example.tokens), task.answer(example)) for example in task.splits[split]}


def mine(folder: Path, **changes: Any) -> TaskConfig:
    values: dict[str, Any] = {"name": "mine", "kind": "classification", "format": "jsonl", "path": str(folder)}
    values |= {"question": None, "unlabelled": None, "entity_markers": "keep", "text_column": "text"}
    values |= {"text_pair_column": None, "label_column": "label", "metric": "macro_f1", "num_classes": None}
    return TaskConfig(**{**values, "max_examples": SplitSizes(None, None, None), **changes})


TAGGED: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "conll2003.txt": (
        {},
        {
            ("Ada|Lovelace|lives|in|London|.", "B-PER I-PER O O B-LOC O"),
            ("#|1|Kyoto", "O O B-LOC"),  # a sign at the start of a sentence, which is no comment
        },
    ),
    "jnlpba.iob2": (
        {},
        {
            ("of|FOXX1|and|c-fos|promoter", "O B-protein O B-DNA I-DNA"),
            ("T|cells", "B-cell_type I-cell_type"),
        },
    ),
    "klue.tsv": ({}, {("김| |군|은| |남| |산|에", "B-PS O O O O B-LC I-LC I-LC O"), ("네|.", "O O")}),
    "germeval.tsv": (
        {"text_column": "2", "label_column": "3"},
        {("Die|Bonner|Universität|Köln", "O B-LOCderiv B-ORG I-ORG"), ("Alan|Turing", "B-PER I-PER")},
    ),
    "own.conllu": (
        {"label_column": "misc.name"},
        {("Vamos|nos|a|el|mar|con|Ana|Ruiz|.", "O O O O O O B-PER I-PER O"), ("#|fin", "O O")},
    ),
    "uner.iob2": ({"text_column": "2", "label_column": "3"}, {("Oslo|er|stor", "B-LOC O O")}),
    "naver.tsv": (
        {"text_column": "2", "label_column": "3"},
        {("비토리오|양일|만에|영사관|감호", "B-PER B-DAT I-DAT B-ORG O"), ("로미오|잘가라", "B-PER O")},
    ),
    "msra.conll": ({}, {("王|小|明|在|京", "B-NAME I-NAME I-NAME O B-LOC")}),
}


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("form", ["as it is", "crlf", "bom", "gz"])
def test_a_published_corpus_of_tags(name: str, form: str, tmp_path: Path) -> None:
    changes, expected = TAGGED[name]
    publish(name, tmp_path)
    for file in [*tmp_path.iterdir()]:
        content = file.read_bytes()
        if form == "gz":
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content))
            file.unlink()
        else:
            file.write_bytes(
                {"crlf": content.replace(b"\n", b"\r\n"), "bom": b"\xef\xbb\xbf" + content}.get(form, content)
            )
    cfg = mine(tmp_path, **{**TAGGING, **changes})
    check_task(cfg)
    assert sentences(read_task(cfg)) == expected


def test_characters_with_spaces_read_as_running_text(tmp_path: Path) -> None:
    """What pretraining and the leak report read of a character corpus is its text, not its characters apart."""
    publish("klue.tsv", tmp_path)
    texts = {example.texts for example in read_task(mine(tmp_path, **TAGGING)).splits["test"]}
    assert texts == {("김 군은 남 산에",), ("네 .",)}
    assert TaggedExample(0, ("the", " ", "cat"), (0, 0, 0)).texts == ("the   cat",)  # words, and a stray space


def test_conllu_is_read_as_conllu_reads_it() -> None:
    conllu = pytest.importorskip("conllu", reason="conllu is not installed: pip install conllu, to compare with it")
    file = PUBLISHED / "own.conllu"
    theirs = [
        ([token["form"] for token in words], [token["misc"]["name"] for token in words])
        for sentence in conllu.parse(file.read_text(encoding="utf-8"))
        if (words := [token for token in sentence if isinstance(token["id"], int)])
    ]
    assert [(tokens, tags) for _, tokens, tags in read_conll(file, "form", "misc.name")] == theirs


REFUSED = {
    "no column named": ("germeval.tsv", {}, r"train\.tsv: its first column counts the tokens .*task\.text_column=2"),
    "the count of UNER": ("uner.iob2", {}, r"its first column counts the tokens of each sentence"),
    "no such column": ("germeval.tsv", {"text_column": "7"}, r"task\.text_column=7: its lines have 4 columns"),
    "no column of spans": ("own.conllu", {}, r"train\.conllu: CoNLL-U has no column of its own for spans"),
    "parts of speech": ("own.conllu", {"label_column": "upos"}, r":5: token 1 \(Vamos\) has the tag 'VERB'; possible"),
    "no such value": ("own.conllu", {"label_column": "misc.ner"}, r":5: MISC is 'name=O', without ner"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layout_that_needs_a_setting_says_so(case: str, tmp_path: Path) -> None:
    name, changes, message = REFUSED[case]
    publish(name, tmp_path)
    with pytest.raises(ConfigError, match=message):
        read_task(mine(tmp_path, **{**TAGGING, **changes}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("of\tO\n# a note\tx\ty\n", r"train\.conll:2: 3 columns"),  # no comment within a sentence
        ("a\tO\n\tB-X\n", r"token 2 is ''"),
        (" \tO\n \tO\n", r"token 1 is ' '"),
        ("a PER_B\nb PER_I\nc LOC-B\n", r"train\.conll:1: token 3 \(c\) has the tag 'LOC-B'"),
        ("a B_S\nb O\n", r"may begin or end with the letter of their scheme; write B-X"),
        ("a 3\nb 0\n", r"has the tag '3'; possible are .* of integers task\.label_names says the names"),
    ],
)
def test_lines_that_are_nothing_known(content: str, message: str, tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.conll").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_task(mine(tmp_path, **TAGGING))


# Tags ----------------------------------------------------------------------------------------------------------------


def test_spans_of_every_scheme_are_seqevals() -> None:
    """Of any tags in its default mode, of the schemes in its strict mode.

    Not compared: in IOE1 seqeval 1.2.2 finds no span of one token that is marked E at the start of a sentence or after
    O. By conlleval's rule it is one.
    """
    recorded = [json.loads(line) for line in (PUBLISHED / "seqeval.jsonl").read_text().splitlines()]
    assert {one["scheme"] for one in recorded} == {"any tags", "IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU"}
    for one in recorded:
        assert [list(span) for span in spans(one["tags"].split())] == one["spans"], one


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-A E-A E-A", "B-A I-A B-A"),  # IOE2
        ("E-A I-A O", "B-A B-A O"),  # IOE1
        ("B-A M-A M-A E-A S-A", "B-A I-A I-A I-A B-A"),  # BMES
        ("W-A B-A E-A W-C", "B-A B-A I-A B-C"),  # BMEWO
        ("U-A U-A B-A L-A I-A", "B-A B-A B-A I-A B-A"),  # BILOU
        ("S-A I-A E-C", "B-A B-A B-C"),
    ],
)
def test_a_span_ends_where_its_tag_says(tags: str, expected: str) -> None:
    assert iob2(tags.split()) == expected.split()


NAMES = ["O", "B-X", "I-X"]


def test_integer_tags_by_their_names(write: Callable, task_config: Config) -> None:
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", [{"tokens": ["a", "b", "c"], "tags": [1, 2, 0]}])
        write(f"{split}.conll", "a 1\nb 2\nc 0\n\n# 1\nd 0\n")
    tagging = {**TAGGING, "label_names": NAMES}
    assert sentences(read_task(task_config(**{**tagging, "format": "jsonl"}))) == {("a|b|c", "B-X I-X O")}
    assert sentences(read_task(task_config(**tagging))) == {("a|b|c", "B-X I-X O"), ("#|d", "B-X O")}
    with pytest.raises(ConfigError, match=r"tag 2; task\.label_names=.* has names for 0 to 1"):
        read_task(task_config(**{**tagging, "format": "jsonl", "label_names": NAMES[:2]}))
    with pytest.raises(ConfigError, match=r"holds 1; it must be a string, or an integer whose name task\.label_names"):
        read_task(task_config(**{**TAGGING, "format": "jsonl"}))


# Tables --------------------------------------------------------------------------------------------------------------


def labelled(task: Any, split: str = "train") -> set[tuple[Any, ...]]:
    return {(*example.texts, task.answer(example)) for example in task.splits[split]}


def test_snli_leaves_out_pairs_without_a_label_and_counts_them(tmp_path: Path) -> None:
    publish("snli.tsv", tmp_path)
    columns = {"text_column": "sentence1", "text_pair_column": "sentence2", "label_column": "gold_label"}
    with pytest.raises(ConfigError, match=r"train\.tsv:3: the label '-' .* task\.no_label=- leaves such examples out"):
        read_task(mine(tmp_path, format="csv", **columns))
    task = read_task(mine(tmp_path, format="csv", no_label="-", **columns))
    assert labelled(task) == {
        ('A man "sings".', "A man is on a stage.", "neutral"),
        ("Two cats sit.", "There are cats.", "entailment"),
    }
    assert task.no_label == {"train": 1, "dev": 1, "test": 1}
    (tmp_path / "kept").mkdir()
    write_task(task, tmp_path / "kept")
    assert load_task(tmp_path / "kept") == task


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["+", "-", "+"], None),  # signs: a class like the others
        (["good", "-", "bad"], "the label '-' says in SNLI"),
        (["good", "", "bad"], r"train\.jsonl:2: its label is empty"),
        (["good", " ", "bad"], r"train\.jsonl:2: its label is empty"),
    ],
)
def test_labels_that_are_none(write: Callable, task_config: Config, labels: list[str], message: str | None) -> None:
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)])
    if message is None:
        assert read_task(task_config()).labels == ["+", "-"]
        return
    with pytest.raises(ConfigError, match=message):
        read_task(task_config())
    if "-" in labels:
        assert read_task(task_config(label_names=["good", "-", "bad"])).labels == ["-", "bad", "good"]


def test_semicolons_a_byte_order_mark_and_quoted_lines(tmp_path: Path) -> None:
    publish("semicolon.csv", tmp_path)
    columns = {"text_column": "content", "label_column": "category", "format": "csv"}
    with pytest.raises(ConfigError, match=r"it has 'category;content'; is it several columns\? task\.delimiter"):
        check_task(mine(tmp_path, **columns))
    task = read_task(mine(tmp_path, delimiter="semicolon", **columns))
    theirs = pd.read_csv(PUBLISHED / "semicolon.csv", sep=";", encoding="utf-8-sig")
    ours = {(text.replace("\r\n", "\n"), label) for text, label in labelled(task)}
    assert ours == {
        (text.replace("\r\n", "\n"), label) for text, label in zip(theirs.content, theirs.category, strict=True)
    }


def test_a_json_array_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    file = PUBLISHED / "array.json"
    theirs = datasets.Dataset.from_json(str(file), cache_dir=str(tmp_path / "cache")).to_list()
    assert [columns for _, columns in read_rows(file)] == theirs
    assert [where.rpartition(":")[2] for where, _ in read_rows(file)] == ["2", "3"]
    publish("array.json", tmp_path)
    assert labelled(read_task(mine(tmp_path))) == {("one, two", "x"), ("three\nfour", "y")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n "text": "x"\n}', "neither a JSON array of objects nor one object per line"),
        ('[{"text": "x"}, 3]', r":1: 3: each element must be an object"),
        ('[\n{"text": "x"}\n{"text": "y"}]', r":3: not JSON: a comma or \] is missing"),
        ('[{"text": "x"}] []', "more text follows the array"),
        ('[{"text": "x"},\n{"text": "y", "text": "z"}]', r":2: the key 'text' is there twice in one object"),
    ],
)
def test_json_that_is_no_array_of_objects(write: Callable, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(read_rows(write("a.json", content)))
    assert list(read_rows(write("b.json", '{"text": "x"}\n{"text": "y"}\n'))) != []


def test_one_file_for_all_splits(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_bytes((PUBLISHED / "splits.csv").read_bytes())
    for path in (tmp_path, tmp_path / "splits.csv"):
        task = read_task(mine(path, format="csv", split_column="split"))
        assert labelled(task, "dev") == {("pear", "fruit"), ("kale", "vegetable")}
        assert labelled(task, "test") == {("plum", "fruit"), ("beet", "vegetable")}
    with pytest.raises(ConfigError, match=r"is a file; give a folder .* task\.split_column="):
        check_task(mine(tmp_path / "splits.csv", format="csv"))
    with open(tmp_path / "splits.csv", "a") as file:
        file.write("fig,fruit,unseen\n")
    with pytest.raises(ConfigError, match=r"splits\.csv:8: split 'unseen' .*possible are train, training, dev, valid"):
        read_task(mine(tmp_path, format="csv", split_column="split"))


ROWS = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(4)]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "devel"])
def test_the_dev_split_has_several_names(write: Callable, task_config: Config, name: str) -> None:
    for split in ("train", name, "test"):
        write(f"{split}.jsonl", ROWS)
    assert len(read_task(task_config()).splits["dev"]) == 4
    write("dev.jsonl.gz", gzip.compress(b""))
    with pytest.raises(ConfigError, match=rf"dev\.jsonl\.gz and {name}\.jsonl may each be the dev split; leave one"):
        check_task(task_config())


def saved(folder: Path, **changes: Any) -> datasets.DatasetDict:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    given = {"text": ["good film", "bad film", "no label"], "label": [1, 0, -1], **changes}
    made = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(given, features=features) for name in ("train", "validation", "test")}
    )
    made.save_to_disk(str(folder))
    return made


def test_a_saved_dataset_with_its_names(tmp_path: Path, task_config: Config) -> None:
    made = saved(tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"save_to_disk wrote this folder: task\.format=datasets"):
        check_task(task_config(path=str(tmp_path / "saved")))
    with pytest.raises(ConfigError, match=r"row 3: label None"):
        read_task(task_config(path=str(tmp_path / "saved"), format="datasets"))
    task = read_task(task_config(path=str(tmp_path / "saved"), format="datasets", no_label="-1"))
    names = made["train"].features["label"].int2str
    assert labelled(task, "dev") == {(row["text"], names(row["label"])) for row in made["train"] if row["label"] >= 0}
    made["train"].save_to_disk(str(tmp_path / "single"))
    with pytest.raises(ConfigError, match="is one dataset without splits"):
        check_task(task_config(path=str(tmp_path / "single"), format="datasets"))


def test_a_saved_dataset_as_a_corpus_and_settings_beside_texts(tmp_path: Path, write: Callable) -> None:
    saved(tmp_path / "saved")
    files = find_files("corpus.path", str(tmp_path / "saved"))
    assert [file.suffix for file in files] == [".arrow"] * 3
    assert [columns["label"] for _, columns in read_rows(files[0])] == ["pos", "neg", None]
    texts = write("texts/a.txt", "one two")
    write("texts/config.json", '{"a": 1}')
    write("texts/index.tsv", "a\tb\n")
    assert find_files("corpus.path", str(tmp_path / "texts")) == [texts]
    assert find_files("corpus.path", str(tmp_path / "texts" / "*.tsv")) == [tmp_path / "texts" / "index.tsv"]


def test_parquet_of_the_hub_in_parts_with_names(tmp_path: Path, task_config: Config) -> None:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=NAMES)),
        }
    )
    part = datasets.Dataset.from_dict({"tokens": [["a", "b"], ["c"]], "ner_tags": [[1, 2], [0]]}, features=features)
    for split in ("train", "validation", "test"):
        for number in (0, 1):
            part.select([number]).to_parquet(tmp_path / f"{split}-0000{number}-of-00002.parquet")
    cfg = task_config(**{**TAGGING, "format": "parquet", "label_column": "ner_tags"})
    assert sentences(read_task(cfg), "dev") == {("a|b", "B-X I-X"), ("c", "O")}
    (tmp_path / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(ConfigError, match=r"of 2 parts of the test split there are test-00000-of-00002\.parquet"):
        read_task(cfg)


def test_quotation_marks_that_quote_nothing(write: Callable, task_config: Config) -> None:
    """GLUE's .tsv files have no quotes: a mark at the start of a field would swallow the lines up to the next one."""
    content = 'text\tlabel\n"Good\tx\nso-so\ty\nfine"\tx\nbad\ty\n'
    for split in ("train", "dev", "test"):
        write(f"{split}.tsv", content)
    with pytest.raises(ConfigError, match=r"train\.tsv:2: a field in quotation marks goes over lines, to line 4"):
        check_task(task_config(format="csv"))
    task = read_task(task_config(format="csv", quotes=False))
    assert labelled(task) == {('"Good', "x"), ("so-so", "y"), ('fine"', "x"), ("bad", "y")}


# Names that are there twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label,text\na,b,c\n", r"a\.csv:1: columns 1 and 3 are both called 'text'"),
        ("a.tsv", "text\tlabel\tlabel\na\tb\tc\n", r"a\.tsv:1: columns 2 and 3 are both called 'label'"),
        ("a.jsonl", '{"text": "a"}\n{"text": "a", "text": "b"}\n', r"a\.jsonl:2: the key 'text' is there twice"),
        ("b.jsonl", '{"text": "a", "more": {"x": 1, "x": 2}}\n', r"b\.jsonl:1: the key 'x' is there twice"),
    ],
)
def test_a_name_that_is_there_twice(write: Callable, name: str, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(read_rows(write(name, content)))


def test_columns_without_a_name_may_be_several(write: Callable) -> None:
    (row,) = read_rows(write("a.csv", "text,label,,\na,b,,\n"))
    assert row[1] == {"text": "a", "label": "b", "": ""}


def test_two_parquet_columns_of_one_name(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table([["a"], ["b"]], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet: two columns are called 'text'"):
        list(read_rows(tmp_path / "a.parquet"))


def test_an_id_that_two_examples_have(write: Callable, task_config: Config) -> None:
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", [{"id": number, **row} for number, row in enumerate(ROWS)])
    assert len(read_task(task_config()).splits["train"]) == 4
    write("dev.jsonl", [{"id": number // 2, **row} for number, row in enumerate(ROWS)])
    with pytest.raises(ConfigError, match=r"dev\.jsonl:2: its id 0 is that of .*dev\.jsonl:1 too"):
        read_task(task_config())


def test_a_field_may_have_any_length(write: Callable) -> None:
    long = "solve vector " * 20_000
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        (row,) = read_rows(write(name, f"text{mark}label\n{long}{mark}x\n"))
        assert row[1]["text"] == long
