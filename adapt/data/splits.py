"""The splits of a task, and what each is for.

A text corpus has two parts of its own, ``train`` and ``heldout`` (adapt/data/corpora.py).
"""

from __future__ import annotations

KEY_NAME = "data.splits"
VERSION = 1

TRAIN, DEV, TEST = "train", "dev", "test"  # TEST is the one that attacks run on and studies compare

# trains: models are fitted to it. chooses: checkpoints and settings are chosen by it. reports: claims rest on it, so
# that its clean examples are scored apart, and that held-out text must not hold its texts either.
# All that do not train are scored, and no text to train on may hold theirs.
USES = {TRAIN: "trains", DEV: "chooses", TEST: "reports"}

SPLITS = tuple(USES)
MEASURED = tuple(name for name, use in USES.items() if use != "trains")
REPORTED = tuple(name for name, use in USES.items() if use == "reports")


def clean_part(split: str) -> str:
    """What rows call the examples of a split that no text trained on holds."""
    return f"{split}_clean"
