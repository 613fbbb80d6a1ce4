"""The folder of a fine-tuned model: where a run left it, what its head is, how many tokens it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapt import results
from adapt.config import ConfigError
from adapt.store.entries import MANIFEST, SUMS, Store, fault_of

MAX_LENGTH = 512
CLASSIFICATION = "classification"  # the task kind of a model whose head note names none


def finetuned_folder(model: str, root: Path) -> Path:
    """The folder of a fine-tuned model.

    model: that folder, or the id of the run that trained it, which may be shortened to a unique prefix.
    Raises ConfigError where it is neither, or where the model was removed.
    """
    from adapt.models import heads

    if (Path(model) / heads.HEAD_NOTE).exists():
        return whole(Path(model))
    runs = sorted((root / "runs").glob("*.json"))
    matching = [path for path in runs if path.stem.startswith(model)]
    if len(matching) != 1:
        what = "no run" if not matching else f"{len(matching)} runs"
        raise ConfigError(
            f"{model}: no folder with {heads.HEAD_NOTE}, and {what} in {root} whose id begins so; "
            f"runs: {', '.join(path.stem for path in runs[:5])} ..."
        )
    evaluation = results.evaluation(root, matching[0].stem)
    if not (evaluation / MANIFEST).exists():
        raise ConfigError(f"run {model}: its evaluation {evaluation} was removed; run it again")
    key = json.loads((evaluation / MANIFEST).read_text())["inputs"]["model"]
    folder = Store(root / "store").complete(key)
    if folder is None or not (folder / heads.HEAD_NOTE).exists():
        raise ConfigError(
            f"run {model}: its model {key[:32]} is not in {root / 'store'} (a TF-IDF baseline has none, or it was "
            "removed)"
        )
    return whole(folder)


def whole(folder: Path) -> Path:
    """The folder, if its files are as they were written. Raises ConfigError, which names the file that is not."""
    fault = fault_of(folder)
    if fault is not None:
        raise ConfigError(
            f"{folder}: {fault}, so its answers would be another model's; fine-tune, copy or export it again (if "
            f"a file of an export was changed on purpose, remove {SUMS})"
        )
    return folder


def head_note(folder: Path) -> dict[str, Any]:
    """The note on the head in a fine-tuned model's folder: labels, pooling. Raises ConfigError for a broken note."""
    from adapt.models import heads

    file = folder / heads.HEAD_NOTE
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file}: broken, not JSON ({error}); copy or fine-tune the model again") from error
    if not isinstance(note, dict) or not {"labels", "pooling"} <= set(note):
        raise ConfigError(f"{file}: broken, without labels and pooling; copy or fine-tune the model again")
    return note


def kind_of(note: dict[str, Any]) -> str:
    """The kind of task that a model was tuned for, from its head's note."""
    return note.get("kind", CLASSIFICATION)


def tokens_read(note: dict[str, Any], encoder: Any) -> int:
    """How many tokens of a text a fine-tuned model reads: as many as in its training and evaluation, by its note."""
    return int(note.get("max_length") or longest_input(encoder))


def longest_input(encoder: Any) -> int:
    """How many tokens of a text any model can read: as many as it has positions for, at most MAX_LENGTH."""
    from adapt.models.loading import most_tokens

    of_config = getattr(encoder.config, "max_position_embeddings", MAX_LENGTH)
    return min(MAX_LENGTH, of_config, most_tokens(encoder) or MAX_LENGTH)
