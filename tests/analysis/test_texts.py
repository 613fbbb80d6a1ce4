"""What a table says of the texts behind it, and that a table without such rows says nothing."""

from __future__ import annotations

import pandas as pd
import pytest

from adapt import results
from analysis import tables, texts
from analysis.caveats import caveats


def with_rows(table: pd.DataFrame, *rows: tuple[str, str, float, int], of: str | None = None, **more: object):
    """The table with these rows (split, metric, value, n) for each run, or for one."""
    runs = table.drop_duplicates("run_id")
    runs = runs if of is None else runs[runs["run_id"] == of]
    blank = {"attack": "none", "attack_epsilon": 0.0, "attack_steps": 0, **more}
    added = [runs.assign(split=split, metric=metric, value=value, n=n, **blank) for split, metric, value, n in rows]
    return results.typed(pd.concat([table, *added], ignore_index=True))


def test_a_table_of_older_code_says_nothing(table: pd.DataFrame) -> None:
    assert texts.texts_read(table) == "" and texts.notes(table) == []
    assert "Texts that were read" not in tables.format_summary(table)


def test_the_lines_by_hand(table: pd.DataFrame) -> None:
    told = with_rows(
        table,
        ("train", "examples", 500, 7320),
        ("dev", "examples", 200, 200),
        ("test", "examples", 300, 300),
        ("test", "truncated_texts", 12, 300),
        ("train", "unknown_tokens", 0.021, 9000),
        ("test", "byte_tokens", 0.4, 9000),
        ("text/corpus/train", "documents", 787, None),
        ("text/corpus/heldout", "documents", 13, None),
        ("text/corpus/train", "dropped_short", 273, None),
        ("text/corpus/train", "dropped_near_duplicate", 0, None),
        ("text/corpus/train", "unknown_tokens", 0.0, 60000),
    )
    told = told[told["model"] == "tiny"].assign(**{"finetune.max_length": 128})
    assert texts.texts_read(told).splitlines() == [
        "Texts that were read:",
        "  pydoc topic as tiny reads it: train 500 of 7,320 examples (task.max_examples.train), 2.1% of the tokens "
        "unknown; dev all 200 examples; test all 300 examples, 12 cut at 128 tokens, 40.0% of the tokens single bytes",
        "  text/corpus: documents: 787 to train on, 13 held out; left out: 273 short",
    ]
    assert texts.texts_read(told) in tables.format_summary(told)


def test_runs_of_different_sizes_stand_in_one_line(table: pd.DataFrame) -> None:
    one, other = table["run_id"].unique()[:2]
    small = with_rows(table, ("train", "examples", 32, 90), of=one)
    told = with_rows(small, ("train", "examples", 64, 90), of=other)
    assert "train 32 or 64 of 90 examples" in texts.texts_read(told)


NOTES = {
    "unknown": (
        ("test", "unknown_tokens", 0.12, 900),
        "Note: 12% of test of pydoc topic is unknown to the tokenizer of",
    ),
    "joined": (
        ("dev", "unknown_characters", 0.4, 90),
        "Note: 40% of dev of pydoc topic is unknown to the tokenizer of",
    ),
    "a corpus": (("text/corpus/train", "unknown_tokens", 0.08, 90), "Note: 8% of text/corpus (train) is unknown to"),
    "dev is test": (
        ("leaks/test", "in_dev", 90, 100),
        "Note: 90 of 100 test texts of pydoc topic stand in dev: checkp",
    ),
    "train is test": (
        ("leaks/test", "in_train", 100, 100),
        "Note: 100 of 100 test texts of pydoc topic stand in train: ",
    ),
    "dev in train": (("leaks/dev", "in_train", 6, 100), "Note: 6 of 100 dev texts of pydoc topic stand in train: "),
}


@pytest.mark.parametrize("name", NOTES)
def test_notes(table: pd.DataFrame, name: str) -> None:
    row, said = NOTES[name]
    spoiled = with_rows(table, row)
    notes = [note for note in caveats(spoiled) if note.startswith(said)]
    assert len(notes) == (spoiled["model"].nunique() if "unknown" in row[1] else 1)
    little = (*row[:2], row[2] / 100 if row[2] < 1 else 0.05 * row[3], row[3])
    assert caveats(with_rows(table, little)) == []


@pytest.mark.parametrize("recipe", ["typos", "case", "embedding"])
def test_an_attack_that_had_nothing_to_try_in_some_examples(table: pd.DataFrame, recipe: str) -> None:
    run = table["run_id"].iloc[0]
    spoiled = with_rows(table, ("test", "untried", 12, 50), of=run, attack=f"text:{recipe}", attack_epsilon=0.3)
    assert f"Note: text:{recipe} had nothing to try in 12 of 50 attacked examples, which count as robust." in caveats(
        spoiled
    )
