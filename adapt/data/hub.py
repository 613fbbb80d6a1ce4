"""Texts of a dataset on the hub, read as a stream: nothing of it but what is kept comes to this disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapt.config import ConfigError, CorpusConfig
from adapt.data.files import Row

KEY_NAME = "data.hub"
VERSION = 1


def rows(cfg: CorpusConfig, key: str) -> Iterator[Row]:
    """The rows of ``cfg.path`` (a hub name, or a folder that datasets can read), in their order.

    Raises ConfigError with the setting under ``key``: corpus or general.
    """
    from datasets import load_dataset  # costs a second, and most corpora are files

    try:
        read = load_dataset(cfg.path, cfg.subset, split=cfg.split, revision=cfg.revision, streaming=True)
        yield from ((f"{cfg.path}, row {number}", row) for number, row in enumerate(read, start=1))
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such name, subset, split or revision
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{key}.path={cfg.path}: the hub did not give subset {cfg.subset}, split {cfg.split}, revision "
            f"{cfg.revision} ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"text that is on this machine is read by {key}=files"
        ) from error


def local_files(cfg: CorpusConfig) -> list[Path]:
    """The files of a dataset that is a folder, sorted; none of one on the hub."""
    return sorted(file for file in Path(str(cfg.path)).rglob("*") if file.is_file())


def identity(cfg: CorpusConfig) -> str:
    """What a dataset on the hub is known by."""
    return f"{cfg.path} {cfg.subset} {cfg.split} {cfg.revision}"
