"""The kinds of tasks that a model can be fine-tuned for, by name."""

from __future__ import annotations

from adapt.tasks import classification, tagging
from adapt.tasks.kind import Kind

KEY_NAME = "tasks.kinds"
VERSION = 1

KINDS: dict[str, Kind] = {"classification": classification.KIND, "tagging": tagging.KIND}
