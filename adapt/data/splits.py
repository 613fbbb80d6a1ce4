"""The splits of a task, and what each is used for.

The parts of a text corpus are called ``train`` and ``heldout`` (adapt/data/corpora.py).
"""

from __future__ import annotations

KEY_NAME = "data.splits"
VERSION = 1

TRAIN, DEV, TEST = "train", "dev", "test"  # TEST is the one that attacks run on and studies compare

# trains: models are fitted to it. chooses: checkpoints and settings are chosen by it. reports: claims rest on it, so
# its clean examples are also scored separately, and held-out text must not contain its texts either.
# Every split that does not train is scored, and no training text may contain its texts.
USES = {TRAIN: "trains", DEV: "chooses", TEST: "reports"}

SPLITS = tuple(USES)
# What the files, folders and values that hold a split are called where data are published.
NAMES: dict[str, tuple[str, ...]] = {split: (split,) for split in SPLITS}
NAMES[DEV] = (DEV, "validation", "valid", "val", "devel", "development")
NAMES[TRAIN] = (TRAIN, "training")
MEASURED = tuple(name for name, use in USES.items() if use != "trains")
REPORTED = tuple(name for name, use in USES.items() if use == "reports")


def split_called(name: str) -> str | None:
    """The split that data call so, in lower or upper case; None for no split."""
    return next((split for split, names in NAMES.items() if name.strip().lower() in names), None)


def clean_part(split: str) -> str:
    """The name, in rows, of the examples of a split that are in no training text."""
    return f"{split}_clean"
