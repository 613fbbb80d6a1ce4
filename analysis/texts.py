"""The texts behind a table: how many examples and documents were used, how much of them was unknown, cut or repeated.

Tables whose rows do not tell it (of older code) say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from adapt.results import reading
from analysis import cells

MENTIONED = 0.05  # the share of a split that stands in another from which on a note says so
SPLITS = ("train", "dev", "test")  # of a task
_PARTS = {"train": "to train on", "heldout": "held out"}
_OVERLAP = {
    ("test", "train"): "its scores are of texts that were trained on",
    ("test", "dev"): "checkpoints and settings were chosen on them",
    ("dev", "train"): "checkpoints and settings were chosen on texts that were trained on",
}


def texts_read(table: pd.DataFrame) -> str:
    """One line for each task and each pretraining text: what was used of it, left out, cut and unknown; or ''."""
    lines = []
    for _, rows in table[table["metric"] == reading.EXAMPLES].groupby(["task", "model"], sort=True):
        task, model = rows[["task", "model"]].iloc[0]
        mine = table[(table["task"] == task) & (table["model"] == model)]
        splits = [f"{split} {_of_split(mine[mine['split'] == split], split)}" for split in SPLITS]
        lines.append(f"{cells.display(task)} as {cells.display(model)} reads it: {'; '.join(splits)}")
    known = table[(table["metric"] == reading.UNKNOWN) & ~table["split"].isin(SPLITS)]
    for text in sorted({split.rpartition("/")[0] for split in known["split"]}):
        lines.append(f"{text}: {_of_text(table[table['split'].str.rpartition('/')[0] == text])}")
    return "\n".join(["Texts that were read:", *(f"  {line}" for line in lines)]) if lines else ""


def notes(table: pd.DataFrame) -> list[str]:
    """Notes on texts that are mostly unknown or repeated, and on attacks that had nothing to try."""
    return [*_unknown(table), *_overlaps(table), *_untried(table)]


def _of_split(rows: pd.DataFrame, split: str) -> str:
    """A task's split: '500 of 7,320 examples (task.max_examples.train), 12 cut at 128 tokens, 2% unknown'."""
    examples = rows[rows["metric"] == reading.EXAMPLES]
    used, given = _numbers(examples["value"]), _numbers(examples["n"])
    said = [f"all {given} examples" if used == given else f"{used} of {given} examples (task.max_examples.{split})"]
    cut = rows[(rows["metric"] == reading.TRUNCATED) & (rows["value"] > 0)]
    if len(cut):
        lengths = _numbers(cut["finetune.max_length"]) if "finetune.max_length" in cut.columns else "max_length"
        said.append(f"{_numbers(cut['value'])} cut at {lengths} tokens")
    return ", ".join([*said, *_shares(rows)])


def _of_text(rows: pd.DataFrame) -> str:
    """A pretraining text: '787 documents to train on, 13 held out; left out: 273 short; 2% unknown'."""
    part = rows["split"].str.rpartition("/")[2]
    documents = rows[rows["metric"] == "documents"]
    used = [
        f"{_numbers(documents.loc[part[documents.index] == name, 'value'])} {said}" for name, said in _PARTS.items()
    ]
    dropped = rows[rows["metric"].str.startswith("dropped_") & (rows["value"] > 0)]
    left_out = [
        f"{_numbers(of['value'])} {str(reason).removeprefix('dropped_').replace('_', ' ')}"
        for reason, of in dropped.groupby("metric", sort=True)
    ]
    said = [f"documents: {', '.join(used)}"] if len(documents) else []
    said += [f"left out: {', '.join(left_out)}"] if left_out else []
    return "; ".join([*said, *_shares(rows)])


def _shares(rows: pd.DataFrame) -> list[str]:
    """What the tokenizer does not know of some rows' texts, and what it spells in bytes; the largest shares."""
    said = []
    for metric, words in (
        (reading.UNKNOWN, "of the tokens unknown"),
        (reading.UNKNOWN_CHARACTERS, "of the characters unknown"),
        (reading.BYTES, "of the tokens single bytes"),
    ):
        most = rows.loc[rows["metric"] == metric, "value"].max()
        said += [f"{most:.1%} {words}"] if most > 0 else []
    return said


def _unknown(table: pd.DataFrame) -> list[str]:
    rows = table[table["metric"].isin([reading.UNKNOWN, reading.UNKNOWN_CHARACTERS]) & (table["value"] > reading.WARN)]
    worst = rows.sort_values("value", ascending=False).drop_duplicates(["task", "model", "split"]).sort_index()
    return [
        f"Note: {row['value']:.0%} of {_text(row['split'], row['task'])} is unknown to the tokenizer of "
        f"{cells.display(row['model'])}."
        for _, row in worst.iterrows()
    ]


def _overlaps(table: pd.DataFrame) -> list[str]:
    said = []
    for (split, other), why in _OVERLAP.items():
        rows = table[(table["split"] == f"leaks/{split}") & (table["metric"] == reading.contained_in(other))]
        rows = rows[rows["value"] > MENTIONED * rows["n"].astype("float64")]
        for row in rows.drop_duplicates(["task", "value", "n"]).itertuples():
            said.append(
                f"Note: {row.value:,.0f} of {row.n:,} {split} texts of {cells.display(row.task)} stand in {other}: "
                f"{why}."
            )
    return said


def _untried(table: pd.DataFrame) -> list[str]:
    rows = table[(table["metric"] == "untried") & (table["value"] > 0)]
    return [
        f"Note: {attack} had nothing to try in {of['value'].sum():,.0f} of {of['n'].sum():,} attacked examples, which "
        "count as robust."
        for attack, of in rows.groupby("attack", sort=True)
    ]


def _text(split: str, task: str) -> str:
    """What a split is called in a sentence: 'test of pydoc topic', 'text/corpus (train)'."""
    text, _, part = split.rpartition("/")
    return f"{text} ({part})" if text else f"{split} of {cells.display(task)}"


def _numbers(values: Iterable[float]) -> str:
    """The different numbers, smallest first: '32 or 500'."""
    return " or ".join(f"{value:,.0f}" for value in sorted(set(values)))
