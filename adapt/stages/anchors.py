"""The anchors of difference masking: what words a stage's text is about and general text is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import ConfigError, RuntimeConfig
from adapt.data import corpora
from adapt.data.masking import anchors as difference

KEY_NAME = "stages.anchors"
VERSION = 1


def anchors(argument: int, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Write the ``argument`` words of ``inputs["text"]`` that ``inputs["general"]`` (corpus folders) has least of.

    Only training text is read. Raises ConfigError where the text has fewer words.
    """
    text, general = (difference.count_words(corpora.load_corpus(inputs[name]).train) for name in ("text", "general"))
    if len(text) < argument:
        raise ConfigError(f"masking.anchors={argument}: the text has {len(text)} words; at most as many")
    difference.write_anchors(out, difference.highest(difference.tf_icf(text, general), argument))
    return []
