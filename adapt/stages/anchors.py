"""The anchors of difference masking: words that are typical of a stage's text and not of general text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import ConfigError, RuntimeConfig
from adapt.data import corpora
from adapt.data.masking import anchors as difference

KEY_NAME = "stages.anchors"
VERSION = 1


def anchors(argument: int, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Write the ``argument`` words that are most typical of ``inputs["text"]`` compared with ``inputs["general"]``.

    Both are corpus folders; only their training text is read. Raises ConfigError if the text has fewer words.
    """
    text, general = (difference.count_words(corpora.load_corpus(inputs[name]).train) for name in ("text", "general"))
    if len(text) < argument:
        raise ConfigError(f"masking.anchors={argument}: the text has only {len(text)} different words")
    difference.write_anchors(out, difference.highest(difference.tf_icf(text, general), argument))
    return []
