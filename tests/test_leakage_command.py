"""adapt leakage, on a task whose leaks were planted by hand."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt import leakage
from adapt.data.leaks.overlap import clean_examples

REPOSITORY = Path(__file__).parents[1]
LONG = "we measured the uptake of iron by the small fish under the old bridge"  # 14 words
SPLITS = {
    "train": [("Gold is old.", "metal"), ("A cat.", "animal"), ("Tin and ore!", "metal"), ("tin and ore", "animal")],
    "dev": [("gold IS old", "animal"), ("A dog.", "animal"), ("A new forge.", "metal")],
    "test": [("A cat.", "animal"), ("Tin & ore", "metal"), ("A dog.", "metal"), (LONG, "animal"), ("Rust.", "metal")],
}
CORPUS = ["Nothing of interest.", f"In spring, {LONG.upper()}. Then we left.", "A new forge."]


def write(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, examples in SPLITS.items():
        write(tmp_path / "task" / f"{split}.jsonl", [{"text": text, "label": label} for text, label in examples])
    write(tmp_path / "corpus" / "all.jsonl", [{"text": text} for text in CORPUS])
    return tmp_path


def words(folder: Path, corpus: bool = True) -> list[str]:
    given = ["task=jsonl", f"task.path={folder / 'task'}", "runtime.progress=false"]
    return given + ["corpus=files", f"corpus.path={folder / 'corpus'}"] * corpus


def rows(text: str, after: str) -> list[list[str]]:
    """The cells of the Markdown table whose header begins with a word."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {after} |"):
            return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table_lines(lines)][1:]
    raise AssertionError(f"no table of {after} in {text}")


def table_lines(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def test_the_planted_leaks_are_counted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    leakage.main(words(folder))
    out = capsys.readouterr().out
    assert rows(out, "split") == [
        ["train", "4", "4", "3", "1"],  # tin and ore: a metal and an animal
        ["dev", "3", "3", "3", "0"],
        ["test", "5", "5", "5", "0"],
    ]
    cells = {(row[0], row[2], row[3]): row[4:] for row in rows(out, "source")}
    assert len(cells) == 5 * 3
    # texts, distinct, hits, share, distinct hits, same, other, both, no single text
    assert cells["train", "dev", "exact"] == ["3", "3", "0", "0.0", "0", "0", "0", "0", "0"]
    assert cells["train", "dev", "normalised"] == ["3", "3", "1", "0.3333", "1", "0", "1", "0", "0"]
    assert cells["train", "test", "exact"] == ["5", "5", "1", "0.2", "1", "1", "0", "0", "0"]
    assert cells["train", "test", "contained"] == ["5", "5", "1", "0.2", "1", "1", "0", "0", "0"]
    assert cells["dev", "test", "exact"] == ["5", "5", "1", "0.2", "1", "0", "1", "0", "0"]
    assert cells["corpus", "dev", "exact"] == ["3", "3", "1", "0.3333", "1", "", "", "", "0"]
    assert cells["corpus", "test", "normalised"] == ["5", "5", "0", "0.0", "0", "", "", "", "0"]
    assert cells["corpus", "test", "contained"] == ["5", "5", "1", "0.2", "1", "", "", "", "0"]
    clean = {(row[0], row[1]): row[2:] for row in rows(out, "target")}
    assert clean["test", "exact"] == ["5", "4", "4"] and clean["test", "contained"] == ["5", "4", "3"]
    test = [text for text, _ in SPLITS["test"]]
    assert sum(clean_examples(test, [text for text, _ in SPLITS["train"]], CORPUS)) == 3


def test_without_a_word_on_the_corpus_only_the_splits_are_compared(folder: Path, capsys: pytest.CaptureFixture) -> None:
    leakage.main(words(folder, corpus=False))
    out = capsys.readouterr().out
    assert {row[0] for row in rows(out, "source")} == {"train", "dev"}
    assert "corpus" not in out
    assert {len(row) for row in rows(out, "target")} == {4}


def test_the_report_holds_table_hits_and_page(folder: Path, capsys: pytest.CaptureFixture) -> None:
    report = folder / "new" / "report"
    leakage.main([*words(folder), "--report", str(report), "--examples", "1"])
    out = capsys.readouterr().out
    assert (report / "leakage.md").read_text() == out
    with open(report / "leakage.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [list(row.values()) for row in table] == rows(out, "source")
    hits = [json.loads(line) for line in (report / "hits.jsonl").read_text().splitlines()]
    assert len(hits) == sum(int(row["hits"]) for row in table if row["level"] == "contained") == 5
    of_corpus = [hit for hit in hits if hit["source"] == "corpus" and hit["target"] == "test"]
    assert of_corpus == [
        {
            "target": "test", "number": of_corpus[0]["number"], "level": "contained", "share": 1.0, "label": "animal",
            "text": LONG, "source": "corpus", "source_number": 1, "source_labels": [], "passage": LONG,
        }
    ]  # fmt: skip
    other = next(hit for hit in hits if hit["source"] == "dev")
    assert (other["label"], other["source_labels"], other["level"]) == ("metal", ["animal"], "exact")
    assert "## test in corpus, contained" in out and f"`{LONG}`" in out


def test_examples_are_as_many_as_asked_for(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder / "corpus" / "more.jsonl", [{"text": "A dog."}, {"text": "Rust."}, {"text": "A cat."}])
    shown = {}
    for number in (0, 1, 2):
        leakage.main([*words(folder), "--examples", str(number)])
        shown[number] = (
            capsys.readouterr().out.partition("## test in corpus, exact")[2].partition("##")[0].count("- te")
        )
    assert shown == {0: 0, 1: 1, 2: 2}


def test_words_and_threshold_are_settings(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder / "corpus" / "half.jsonl", [{"text": " ".join(LONG.split()[:9])}])  # 6 of 11 4-grams, .545
    (folder / "corpus" / "all.jsonl").unlink()
    for threshold, expected in (("0.54", "1"), ("0.55", "0")):
        leakage.main([*words(folder), "--words", "4", "--threshold", threshold])
        cells = {(row[0], row[2], row[3]): row[6] for row in rows(capsys.readouterr().out, "source")}
        assert cells["corpus", "test", "contained"] == expected


def test_the_splits_are_whole_whatever_the_budget(folder: Path, capsys: pytest.CaptureFixture) -> None:
    leakage.main([*words(folder, corpus=False), "budget=smoke", "budget.eval_examples=1"])
    assert [row[1] for row in rows(capsys.readouterr().out, "split")] == ["4", "3", "5"]
    leakage.main([*words(folder, corpus=False), "task.max_examples.test=2"])
    assert [row[1] for row in rows(capsys.readouterr().out, "split")] == ["4", "3", "2"]


def test_both_texts_of_a_pair_count(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for split, pair in {"train": "one", "dev": "two", "test": "ONE"}.items():
        examples = [{"text": "same", "text_pair": f"{pair} {label}", "label": label} for label in "ab"]
        write(folder / "task" / f"{split}.jsonl", examples)
    leakage.main([*words(folder, corpus=False), "task.text_pair_column=text_pair"])
    cells = {(row[0], row[2], row[3]): row[6] for row in rows(capsys.readouterr().out, "source")}
    assert cells["train", "dev", "contained"] == "0" and cells["train", "test", "normalised"] == "2"


def test_a_packed_corpus_of_several_files_is_read(folder: Path, capsys: pytest.CaptureFixture) -> None:
    with gzip.open(folder / "corpus" / "zz.txt.gz", "wt") as stream:
        stream.write("Rust.\nNothing.\n")
    leakage.main(words(folder))
    cells = {(row[0], row[2], row[3]): (row[1], row[6]) for row in rows(capsys.readouterr().out, "source")}
    assert cells["corpus", "test", "exact"] == ("5", "1")


BAD: dict[str, list[str]] = {
    "task=jsonl": ["task.path has no value", "task.path=<where it is>"],
    "task=jsonll": ["task=jsonll: no such option", "did you mean jsonl?"],
    "task=jsonl task.path=FOLDER/none": ["FOLDER/none: no train.jsonl or train.jsonl.gz"],
    "taks=jsonl": ["taks=jsonl: no such key", "did you mean task?"],
    "+task.pth=x": ["task.pth: no such key", "did you mean path?"],
    "GOOD corpus=files": ["corpus.path has no value", "corpus.path=<where it is>"],
    "GOOD corpus=files corpus.path=null": ["corpus.path has no value; corpus=files needs one"],
    "GOOD corpus=files corpus.path=FOLDER/none": ["corpus.path=FOLDER/none: no such file or folder"],
    "GOOD corpus=files corpus.path=FOLDER/corpus corpus.text_column=body": ["no column 'body'", "it has 'text'"],
    "GOOD corpus=[pydoc,files]": ["corpus=[pydoc,files]: give one option"],
    "GOOD --words 0": ["words=0: must be 1 or more"],
    "GOOD --threshold 1.5": ["threshold=1.5: must be more than 0 and at most 1"],
    "GOOD --examples -1": ["--examples -1: must be 0 or more"],
    "GOOD --report FOLDER/task/dev.jsonl": ["dev.jsonl: is a file; give a folder"],
}


@pytest.mark.parametrize("given", BAD)
def test_bad_input_is_refused_in_one_sentence(folder: Path, given: str, capsys: pytest.CaptureFixture) -> None:
    good = ["task=jsonl", "task.path=FOLDER/task"]
    arguments = [part for word in given.split() for part in (good if word == "GOOD" else [word])]
    with pytest.raises(SystemExit) as refused:
        leakage.main([word.replace("FOLDER", str(folder)) for word in arguments])
    for expected in BAD[given]:
        assert expected.replace("FOLDER", str(folder)) in str(refused.value)
    assert str(refused.value).startswith("error: ") and "Traceback" not in str(refused.value)
    assert capsys.readouterr().out == ""


def test_a_broken_line_of_the_corpus_is_named(folder: Path) -> None:
    with open(folder / "corpus" / "all.jsonl", "a") as stream:
        stream.write('{"text": \n')
    with pytest.raises(SystemExit, match=r"all.jsonl:4: not JSON"):
        leakage.main(words(folder))


def test_help_explains_and_no_torch_is_imported(folder: Path) -> None:
    code = (
        "import sys\nfrom adapt import leakage\nleakage.main(sys.argv[1:])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words(folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0 and "| train | 4 | test | exact |" in ran.stdout, ran.stderr
    told = subprocess.run(
        [sys.executable, "-m", "adapt.leakage", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0
    for word in ("--report", "--threshold", "task.path", "corpus.path"):
        assert word in told.stdout
