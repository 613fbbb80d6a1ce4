from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adapt.config import ConfigError
from adapt.data.files import check_written_back, find_files, json_of_line, read_rows

CUT_ARCHIVE = gzip.compress(b'{"text": "x"}\n' * 99, mtime=0)[
    :-9
]  # with a time stamp, the test's name would change each second

Write = Callable[[str, Any], Path]


def rows(file: Path) -> list[dict[str, Any]]:
    return [columns for _, columns in read_rows(file)]


def test_every_format_gives_the_same_rows(write: Write, tmp_path: Path) -> None:
    expected = [{"text": 'a "b", c'}, {"text": "größe 東京"}]
    jsonl = write("a.jsonl", expected)
    csv = write("a.csv", 'text\n"a ""b"", c"\n\ngröße 東京\n')
    txt = write("a.txt", 'a "b", c\n\n  größe 東京')
    pd.DataFrame(expected).to_parquet(tmp_path / "a.parquet")
    for file in (jsonl, csv, txt, tmp_path / "a.parquet"):
        assert rows(file) == expected
    for file in (jsonl, csv, txt):
        packed = write(f"{file.name}.gz", gzip.compress(file.read_bytes()))
        assert rows(packed) == expected


def test_a_byte_order_mark_is_not_text(write: Write) -> None:
    assert rows(write("a.csv", b"\xef\xbb\xbftext\nx\n")) == [{"text": "x"}]


def test_a_csv_text_may_hold_line_breaks(write: Write) -> None:
    rows = list(read_rows(write("a.csv", 'text,label\n"one\ntwo",x\nthree,y\n')))
    assert [columns["text"] for _, columns in rows] == ["one\ntwo", "three"]
    assert rows[1][0].endswith("a.csv:4")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', r"a\.jsonl:3: not JSON: Expecting value at column 9"),
        ("a.jsonl", b'["x"]\n', r'a\.jsonl:1: \["x"\]: each line must be a JSON object, \{"text": "\.\.\.", \.\.\.\}'),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', r"a\.jsonl:2: not UTF-8 at byte 24 of the file \(0xe9\)"),
        (
            "a.jsonl",
            b'{"text": "x"}\n{"id": ' + b"7" * 5000 + b"}\n",
            r"a\.jsonl:2: holds an integer of more than 4300 dig",
        ),
        ("a.jsonl", b"[" * 99999 + b"\n", r"a\.jsonl:1: its JSON is nested too deep to be read"),
        ("a.txt", b"abc\n\xff\n", r"a\.txt:2: not UTF-8 at byte 4 of the file \(0xff\)"),
        ("a.csv", b"text,label\nx,1\ny\n", r"a\.csv:3: 1 values, but the header names 2 columns"),
        ("a.csv", b'text\n"x\n', r"a\.csv:2: cannot be read as CSV: unexpected end of data"),
        ("a.parquet", b"no parquet", r"a\.parquet: broken or not \.parquet"),
        ("a.jsonl.gz", b"no gzip", r"a\.jsonl\.gz: broken or not \.jsonl\.gz"),
        ("a.jsonl.gz", CUT_ARCHIVE, r"a\.jsonl\.gz: broken or not \.jsonl\.gz"),
        ("a.xml", b"<x>", r"a\.xml: unknown kind of file; readable are \.jsonl, \.csv and \.txt, each also as \.gz"),
    ],
)
def test_broken_files(write: Write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows(write(name, content))


def test_a_folder_a_file_and_a_glob(write: Write, tmp_path: Path) -> None:
    b, a, c = write("x/b.txt", "b"), write("x/a.jsonl.gz", b""), write("x/y/c.parquet", b"")
    write("x/readme.md", "no")
    assert find_files("key", str(tmp_path / "x")) == [a, b, c]
    assert find_files("key", str(b)) == [b]
    assert find_files("key", str(tmp_path / "x" / "*.txt")) == [b]
    assert find_files("key", str(tmp_path / "**" / "*.parquet")) == [c]


def test_a_path_without_files_says_what_is_there(write: Write, tmp_path: Path) -> None:
    write("x/readme.md", "no")
    with pytest.raises(ConfigError, match=f"key={tmp_path}/x: no readable file in this folder; readable are .jsonl"):
        find_files("key", f"{tmp_path}/x")
    with pytest.raises(ConfigError, match="no such file or folder; .*/x holds readme.md; readable are"):
        find_files("key", f"{tmp_path}/x/text.jsonl")
    with pytest.raises(ConfigError, match=re.escape(f"there is no folder {tmp_path}/y")):
        find_files("key", f"{tmp_path}/y/text.jsonl")


def test_json_of_a_line_is_whatever_it_says() -> None:
    assert json_of_line("x:1", ' [1, {"a": "\u2028"}]\r\n') == [1, {"a": "\u2028"}]
    with pytest.raises(ConfigError, match="^standard input:7: not JSON: Expecting value at column 1"):
        json_of_line("standard input:7", "cat")


@pytest.mark.parametrize(
    "value, message",
    [
        ("NaN", r"a\.jsonl:1: column 'id' cannot be written back as JSON \(Out of range float"),
        ("-Infinity", r"a\.jsonl:1: column 'id' cannot be written back"),
        ('[{"x": 1e999}]', r"a\.jsonl:1: column 'id' cannot be written back"),
        ('{"x": ["\\ud83d"]}', r"a\.jsonl:1: column 'id' holds half a character, '\\ud83d'; remove or repair it"),
    ],
)
def test_a_row_that_cannot_be_written_back(write: Write, value: str, message: str) -> None:
    """Reading is allowed, because a corpus may have such a column beside its text."""
    (row,) = read_rows(write("a.jsonl", f'{{"text": "x", "id": {value}}}'))
    assert row[1]["text"] == "x"
    with pytest.raises(ConfigError, match=message):
        check_written_back(row)


def test_half_a_character_in_a_name_and_a_date_cannot_be_written_back(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="x:1: column .* holds half a character"):
        check_written_back(("x:1", {"\ud83d": 1}))
    pd.DataFrame({"text": ["x"], "day": [pd.Timestamp("2020-01-01")]}).to_parquet(tmp_path / "a.parquet")
    (row,) = read_rows(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="a.parquet: row 1: column 'day' cannot be written back .*type datetime"):
        check_written_back(row)
    check_written_back(("x:1", {"text": "größe \U0001f600", "id": [1, None, {"a": 0.5}]}))
