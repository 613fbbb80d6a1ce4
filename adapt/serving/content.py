"""What a base consists of, whatever folder it lies in: its config, its encoder's weights, its vocabulary."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.config import ConfigError
from adapt.models import heads, loading
from adapt.store.sources import MODEL_CONFIGS, checked_folder, model_files

OF_A_HEAD = {"architectures", "id2label", "label2id", "num_labels", "problem_type", "classifier_dropout"}
OF_A_WRITER = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
WHOLE_NUMBERS = {"I64", "I32", "BOOL"}  # not weights: the position ids of old checkpoints
BLOCK = 2**20
TENSORS: dict[tuple[int, int, int, int], dict[str, str]] = {}  # a file's hashes, by device, inode, size and mtime
VOCABULARIES: dict[str, str] = {}  # by the hash of a tokenizer's files, because loading a tokenizer is slow


@dataclass(frozen=True)
class BaseContent:
    """A base's content. weights: sha256 of the encoder's tensors, by name; config: without heads, paths, dropout."""

    architecture: str
    config: dict[str, Any]
    weights: dict[str, str]
    vocabulary: str

    def mismatch(self, other: BaseContent) -> str | None:
        """How the other base differs, in words; None if it is the same base."""
        if other.architecture != self.architecture:
            return f"its architecture is {other.architecture}, that of the base is {self.architecture}"
        names = self.config.keys() | other.config.keys()
        keys = sorted(name for name in names if self.config.get(name) != other.config.get(name))
        if keys:
            shown = ", ".join(f"{key} ({other.config.get(key)}, not {self.config.get(key)})" for key in keys[:3])
            return f"its config differs in {shown}"
        if other.vocabulary != self.vocabulary:
            return "its tokenizer has another vocabulary"
        names = self.weights.keys() | other.weights.keys()
        unlike = sorted(name for name in names if self.weights.get(name) != other.weights.get(name))
        if unlike:
            return f"{len(unlike)} of its encoder's {len(names)} weights differ, such as {unlike[0]}"
        return None


def content_of(folder: Path, encoder: Any) -> BaseContent:
    """The content of the base in a model's folder, without adapters and heads.

    encoder: a model of the expected architecture, whose parts say which weights are compared. A file is hashed once as
    long as its device, inode, size and time of change stay the same, so that a hard link costs nothing. Raises
    ConfigError for a folder without config or safetensors.
    """
    checked_folder(folder, "serving")
    config = loading.config_with_dropout(folder, 0.0)
    settings = {key: value for key, value in config.to_dict().items() if key not in OF_A_HEAD | OF_A_WRITER}
    parts = {name for name, _ in encoder.named_children()} - {"pooler"}
    weights: dict[str, str] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        for name, value in tensor_hashes(file).items():
            inner = name.removeprefix(f"{encoder.base_model_prefix}.")
            if inner.partition(".")[0] in parts:
                weights[inner] = value
    return BaseContent(config.model_type, json.loads(json.dumps(settings)), weights, vocabulary(folder))


def tensor_hashes(file: Path) -> dict[str, str]:
    """sha256 of each tensor of a safetensors file, over its dtype, shape and bytes; cached."""
    about_it = file.stat()
    stamp = (about_it.st_dev, about_it.st_ino, about_it.st_size, about_it.st_mtime_ns)
    if stamp not in TENSORS:
        TENSORS[stamp] = read_hashes(file)
    return TENSORS[stamp]


def read_hashes(file: Path) -> dict[str, str]:
    """As ``tensor_hashes``, without the cache."""
    hashes = {}
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        for name, about in header.items():
            if name == "__metadata__" or about["dtype"] in WHOLE_NUMBERS:
                continue
            begin, end = about["data_offsets"]
            hashed = hashlib.sha256(json.dumps([about["dtype"], about["shape"]]).encode())
            stream.seek(8 + size + begin)
            for start in range(begin, end, BLOCK):
                hashed.update(stream.read(min(BLOCK, end - start)))
            hashes[name] = hashed.hexdigest()
    return hashes


def vocabulary(folder: Path) -> str:
    """sha256 of what a folder's tokenizer does, however its files say it; cached. Raises ConfigError without one."""
    other = {heads.HEAD_NOTE, "stage.json", "checksum.json", *MODEL_CONFIGS}
    files = [path for path in model_files(folder) if path.suffix != ".safetensors" and path.name not in other]
    together = hashlib.sha256()
    for path in sorted(files):
        together.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    spelt = together.hexdigest()
    if spelt not in VOCABULARIES:
        VOCABULARIES[spelt] = vocabulary_of(folder)
    return VOCABULARIES[spelt]


def vocabulary_of(folder: Path) -> str:
    """As ``vocabulary``, without the cache."""
    try:
        tokenizer = loading.load_tokenizer(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder}: its tokenizer cannot be read ({error})") from error
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    content: dict[str, Any] = {"tokens": tokenizer.get_vocab(), "special": special, "side": tokenizer.padding_side}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # normalisation, merges, template; not how the last call padded and truncated
        rules = json.loads(backend.to_str())
        content["rules"] = {name: rule for name, rule in rules.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
