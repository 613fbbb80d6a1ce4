"""A task's training texts as a corpus: without duplicates and without banned texts (dev and test texts)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from adapt.config import ConfigError
from adapt.data.corpora import Corpus
from adapt.data.leakage import BannedTexts
from adapt.data.splits import DEV, MEASURED, REPORTED, TRAIN
from adapt.data.tasks import Task
from adapt.data.text import distinct, normalise

KEY_NAME = "data.task_text"
VERSION = 1

# Relation-extraction data marks the two entities of a sentence so: << aspirin >> inhibits [[ COX-1 ]].
_MARKED = (re.compile(r"<< (.*?) >>"), re.compile(r"\[\[ (.*?) \]\]"))


def without_markers(text: str) -> str:
    """The text with ``<< ... >>`` and ``[[ ... ]]`` around its entities removed."""
    for marked in _MARKED:
        text = marked.sub(r"\1", text)
    return text


def texts_of(task: Task, *splits: str) -> list[str]:
    """The distinct texts of these splits, as other texts could hold them: each text, and the two of a pair joined."""
    examples = [example for split in splits for example in task.splits.get(split, [])]
    return list(dict.fromkeys(text for e in examples for text in (*e.texts, "\n".join(e.texts))))


def task_text(
    task: Task, more: Iterable[str], *, examples: int | None, markers: str, banned: Task | None, name: str
) -> Corpus:
    """The texts of the first ``examples`` training examples (None: all) and ``more``, with the dev texts held out.

    Texts without a letter or digit (``blank``) and duplicates in normalised form (``duplicate``) are left out of both
    parts, and counted for training. Training texts that hold a dev or test text of ``banned``, at any level of the leak
    report, are left out too. Held-out texts, by which a checkpoint may be chosen, may hold a dev text but no test text.
    markers: keep, or strip for without_markers. Raises ConfigError, which calls the task ``name``, when no text to
    train on remains.
    """
    edit = without_markers if markers == "strip" else str
    read = [text for example in task.splits[TRAIN][:examples] for text in example.texts]
    texts = [edit(text) for text in (*read, *more)]
    worded = [text for text in texts if normalise(text)]
    different = list(distinct(worded, str))
    train = clean(different, banned, edit, MEASURED)
    if not train:
        blank = len(texts) - len(worded)
        raise ConfigError(
            f"task={name}: no text to train on: {blank} of {len(texts)} training texts are blank, all {len(different)} "
            "others hold dev or test text of the run's task; leaks=keep on the stage trains on them"
        )
    known = {normalise(text) for text in train} | {""}
    dev = distinct((edit(text) for example in task.splits[DEV] for text in example.texts), str)
    heldout = clean([text for text in dev if normalise(text) not in known], banned, edit, REPORTED)
    dropped = {
        "blank": len(texts) - len(worded),
        "duplicate": len(worded) - len(different),
        "banned": len(different) - len(train),
    }
    return Corpus(train, heldout, dropped)


def clean(texts: list[str], banned: Task | None, edit: Callable[[str], str], splits: Sequence[str]) -> list[str]:
    """The texts that hold no text of these splits of ``banned``, neither unedited nor edited."""
    if banned is None:
        return texts
    forbidden = BannedTexts(form for text in texts_of(banned, *splits) for form in (text, edit(text)))
    return [text for text in texts if not forbidden.found_in(text)]
