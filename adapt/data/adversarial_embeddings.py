"""The files of adversarial embeddings of training texts that a stage stores for a later one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

KEY_NAME = "data.adversarial_embeddings"
VERSION = 1
EMBEDDINGS, TEXTS = "embeddings.safetensors", "texts.jsonl"


def write_embeddings(folder: Path, embeddings: dict[int, Tensor], texts: list[dict[str, Any]]) -> None:
    """Write both files. embeddings: number of a training text -> [tokens, d] float32; texts: a line about each text."""
    save_file({str(number): embedding.contiguous() for number, embedding in embeddings.items()}, folder / EMBEDDINGS)
    (folder / TEXTS).write_text("".join(f"{json.dumps(text)}\n" for text in texts))


def load_embeddings(folder: Path) -> dict[int, Tensor]:
    """The stored embeddings [tokens, d] by the number of their training text."""
    return {int(number): embedding for number, embedding in load_file(folder / EMBEDDINGS).items()}
