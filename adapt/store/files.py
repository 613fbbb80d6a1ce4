"""Writes files atomically, so that no reader ever sees a partial file."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def replace(path: Path, content: str | bytes) -> None:
    """Write a temporary file, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # not tempfile, whose files only their owner may read
    with temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
