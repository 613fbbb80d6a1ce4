"""Load an encoder, a head and a tokenizer from the folder of a base model, or from one that a stage has saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from adapt.adapters import folder as adapters
from adapt.adapters import quantization
from adapt.config import ConfigError
from adapt.models.decoders import is_causal
from adapt.models.heads import HEAD_FILE, HEAD_NOTE, Classifier, MeanHead
from adapt.models.language import CausalLM, MaskedLM
from adapt.models.packing import keeps_apart
from adapt.models.weights import opened

KEY_NAME = "models.loading"
VERSION = 2
transformers_logging.disable_progress_bar()  # one bar per file that is read or written would hide the training's own
transformers_logging.set_verbosity_error()  # new weights are recorded in the stage's manifest, not warned about


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; code in the folder is not run.

    A tokenizer without a padding token (GPT-2) pads with its end of text: nothing reads padding, and the vocabulary
    stays as it is.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_language_model(folder: Path, *, dropout: float, adapted: bool = True) -> tuple[MaskedLM | CausalLM, list[str]]:
    """The folder's masked-LM or causal-LM model, as its architecture requires, and the names of its new weights.

    adapted: False leaves out the folder's adapters, here and wherever a folder is loaded.
    """
    if is_causal(AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)):
        return load_causal_lm(folder, dropout=dropout, adapted=adapted)
    return load_masked_lm(folder, dropout=dropout, adapted=adapted)


def keeps_packed_apart(folder: Path) -> bool:
    """Whether the folder's language model gives packed texts the same states as unpacked ones; runs it to find out."""
    model, _ = load_language_model(folder, dropout=0.0)
    model.eval()
    return keeps_apart(model.encoder, lambda *given: model.encoder(**model.inputs(*given))[0])


def load_causal_lm(folder: Path, *, dropout: float, adapted: bool = True) -> tuple[CausalLM, list[str]]:
    """The causal-LM model of a folder, and the names of its weights that the folder lacks (new, random)."""
    model, new = opened(AutoModelForCausalLM, folder, config=config_with_dropout(folder, dropout))
    return CausalLM(model), adapters.restore(model, folder, new, adapted=adapted)


def load_masked_lm(folder: Path, *, dropout: float, adapted: bool = True) -> tuple[MaskedLM, list[str]]:
    """The masked-LM model of a folder, and the names of its weights that the folder lacks (new, random)."""
    model, new = opened(AutoModelForMaskedLM, folder, config=config_with_dropout(folder, dropout))
    return MaskedLM(model), adapters.restore(model, folder, new, adapted=adapted)


def load_encoder(folder: Path, *, dropout: float = 0.0, adapted: bool = True) -> PreTrainedModel:
    """The bare encoder of a folder, without BERT's pooler (masked-LM checkpoints have none)."""
    config = config_with_dropout(folder, dropout)
    model, _ = opened(AutoModel, folder, config=config, **quantization.no_new_pooler(config))
    adapters.restore(without_pooler(model), folder, [], adapted=adapted)
    return model


def new_classifier(
    folder: Path, *, labels: list[str], pooling: str, dropout: float, adapted: bool = True
) -> Classifier:
    """A classifier on the folder's encoder; its head is drawn from torch's current random state.

    The dense layer under a [CLS] head (BERT's pooler) is new in every chain. A checkpoint that comes from masked-LM
    training has none, so a chain that could reuse one would otherwise have an advantage over a chain that cannot.
    """
    if pooling == "mean":
        encoder = load_encoder(folder, dropout=dropout, adapted=adapted)
        return Classifier(encoder, MeanHead(encoder.config.hidden_size, len(labels), dropout))
    config = config_with_dropout(folder, dropout)
    config.num_labels = len(labels)
    model, _ = opened(AutoModelForSequenceClassification, folder, config=config)
    adapters.restore(model, folder, [], adapted=adapted)
    inside = {id(module) for module in model.base_model.modules()}
    fresh = [module for module in model.modules() if id(module) not in inside]
    pooler = getattr(model.base_model, "pooler", None)
    fresh += list(pooler.modules()) if pooler is not None else []
    for module in fresh:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return Classifier(model, None)


def load_classifier(folder: Path, *, dropout: float = 0.0) -> tuple[Classifier, list[str]]:
    """A classifier that :meth:`Classifier.save` wrote, and the names of its labels."""
    if not (folder / HEAD_NOTE).exists():
        raise ConfigError(f"{folder}: no fine-tuned model ({HEAD_NOTE} is missing)")
    note = json.loads((folder / HEAD_NOTE).read_text())
    if note["pooling"] == "cls":
        config = config_with_dropout(folder, dropout)
        config.num_labels = len(note["labels"])  # a folder with adapters has the base's config
        model, new = opened(AutoModelForSequenceClassification, folder, config=config)
        refuse_untrained(folder, adapters.restore(model, folder, new, adapted=True))
        return Classifier(model, None), note["labels"]
    encoder = load_encoder(folder, dropout=dropout)
    head = MeanHead(encoder.config.hidden_size, len(note["labels"]), dropout)
    head.load_state_dict(load_file(folder / HEAD_FILE))
    return Classifier(encoder, head), note["labels"]


def refuse_untrained(folder: Path, new: list[str]) -> None:
    """Raise ConfigError if a fine-tuned model's folder lacks weights; new: the names of those that it lacks."""
    if new:
        raise ConfigError(f"{folder}: its weights lack {len(new)} tensors of a fine-tuned model, such as {new[0]}")


def config_with_dropout(folder: Path, dropout: float) -> Any:
    """The folder's config with all dropout rates, whatever the architecture calls them, set to one value."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if config.model_type == "big_bird":
        # In block_sparse, the first batch that is too short for blocks switches the network to full attention for good
        # (transformers 5.23), so that an answer would depend on what came before it.
        config.attention_type = "original_full"
    for name, value in config.to_dict().items():
        rate = isinstance(value, float) or name == "classifier_dropout"
        if rate and ("dropout" in name or name.endswith("_pdrop")):
            setattr(config, name, dropout)
    return config


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """Drop a pooler whose output is not used: it would learn nothing, but count as trainable."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # type: ignore[assignment]  # None is how nn.Module unsets a submodule
    return encoder


def most_tokens(encoder: nn.Module) -> int | None:
    """How many tokens have a position embedding; None where positions are relative.

    RoBERTa-like models number the positions from the padding index + 1 on, so they hold fewer than their config says.
    """
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] in ("position_embeddings", "wpe") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
