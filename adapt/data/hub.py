"""Rows of a dataset on the hub, read as a stream: the dataset itself is not downloaded to this disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapt.config import ConfigError, CorpusConfig
from adapt.data.files import Row

KEY_NAME = "data.hub"
VERSION = 1


def rows(cfg: CorpusConfig, key: str) -> Iterator[Row]:
    """The rows of ``cfg.path`` (a hub name, or a folder that datasets can read), in order.

    Raises ConfigError with the setting under ``key``: corpus or general.
    """
    from datasets import load_dataset  # takes a second to import, and most corpora are files

    try:
        dataset = load_dataset(cfg.path, cfg.subset, split=cfg.split, revision=cfg.revision, streaming=True)
        yield from ((f"{cfg.path}, row {number}", row) for number, row in enumerate(dataset, start=1))
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such name, subset, split or revision
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{key}.path={cfg.path}: the hub did not give subset {cfg.subset}, split {cfg.split}, revision "
            f"{cfg.revision} ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"for text on this machine use {key}=files"
        ) from error


def local_files(cfg: CorpusConfig) -> list[Path]:
    """The files of a dataset that is a local folder, sorted; none for a dataset on the hub."""
    return sorted(file for file in Path(str(cfg.path)).rglob("*") if file.is_file())


def address(cfg: CorpusConfig) -> str:
    """What names a dataset on the hub: its path, subset, split and revision."""
    return f"{cfg.path} {cfg.subset} {cfg.split} {cfg.revision}"
