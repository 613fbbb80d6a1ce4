"""Whether an encoder and its tokenizer can do what a run asks of them, asked before anything is trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)

from adapt.config import Config, ConfigError
from adapt.text_attacks.names import MASKED_LM


def check_model(cfg: Config, folder: Path) -> None:
    """Refuse a folder that no class of transformers reads, or whose model lacks a head, a token or positions.

    Raises ConfigError that names the folder or the key, what was given and what is possible.
    """
    config = read_config(folder)
    heads = {"finetune.pooling=cls": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING} if cfg.finetune.pooling == "cls" else {}
    heads |= {f"pretrain={name}": MODEL_FOR_MASKED_LM_MAPPING for name in cfg.pretrain}
    guessing = [name for name in cfg.evaluate.text.recipes if name in MASKED_LM] if cfg.evaluate.text else []
    heads |= {f"evaluate.text.recipes={name}": MODEL_FOR_MASKED_LM_MAPPING for name in guessing}
    for need, mapping in heads.items():
        if type(config) not in mapping:
            raise ConfigError(f"{need}: {folder} is a {config.model_type}, for which transformers has no head for it")
    tokenizer = read_tokenizer(folder)
    if len(tokenizer) > config.vocab_size:
        raise ConfigError(f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model only {config.vocab_size}")
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{folder}: its tokenizer has no padding token; name one in tokenizer_config.json")
    if cfg.pretrain and tokenizer.mask_token_id is None:
        raise ConfigError(
            f"pretrain={next(iter(cfg.pretrain))}: the tokenizer of {folder} has no mask token to predict"
        )
    if guessing:
        check_masked_lm(f"evaluate.text.recipes={guessing[0]}", folder, tokenizer, bool(cfg.pretrain))
    lengths = {f"pretrain.{name}": stage.max_length for name, stage in cfg.pretrain.items()}
    most = most_tokens(config)
    for part, length in {**lengths, "finetune": cfg.finetune.max_length}.items():
        pair = part == "finetune" and cfg.task.text_pair_column is not None
        least = tokenizer.num_special_tokens_to_add(pair=pair) + 1
        if length < least:
            raise ConfigError(f"{part}.max_length={length}: leaves no room for text; must be {least} or more")
        if most is not None and length > most:
            raise ConfigError(f"{part}.max_length={length}: {folder} has positions for {most} tokens; at most {most}")


def check_masked_lm(need: str, folder: Path, tokenizer: PreTrainedTokenizerBase, pretrained: bool) -> None:
    """Refuse a folder whose model cannot guess words: no mask token, no offsets of tokens, or a head never trained."""
    if tokenizer.mask_token_id is None:
        raise ConfigError(f"{need}: the tokenizer of {folder} has no mask token; leave out {' and '.join(MASKED_LM)}")
    if not tokenizer.is_fast:
        raise ConfigError(f"{need}: the tokenizer of {folder} does not tell where its tokens are in a text")
    if pretrained:  # a head that the folder lacks is trained by then
        return
    _, info = AutoModelForMaskedLM.from_pretrained(
        folder, output_loading_info=True, use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    if info["missing_keys"]:
        raise ConfigError(
            f"{need}: {folder} has no trained masked-LM head (it lacks {sorted(info['missing_keys'])[0]}), so it would "
            f"propose words at random; add pretrain=[dapt], or leave out {' and '.join(MASKED_LM)}"
        )


def read_config(folder: Path) -> PretrainedConfig:
    """The folder's config, of a type that has an encoder in this version of transformers."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"{folder / 'config.json'}: transformers cannot read it: {first_line(error)}") from error
    if type(config) not in MODEL_MAPPING:
        raise ConfigError(f"{folder}: transformers has no encoder for model_type={config.model_type}")
    return config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer; transformers gives an empty one where its files are missing."""
    needed = "a model folder holds tokenizer.json, or the vocabulary files of its tokenizer"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON, a missing package for the format: each raises its own kind
        raise ConfigError(f"{folder}: its tokenizer cannot be read ({first_line(error)}); {needed}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ConfigError(f"{folder}: there is no tokenizer in it; {needed}")
    return tokenizer


def most_tokens(config: PretrainedConfig) -> int | None:
    """How many tokens have a position embedding; None where positions are relative.

    RoBERTa and its kin number the positions from the padding index + 1 on, so theirs hold fewer than their config says.
    """
    with torch.device("meta"):  # shapes alone, no memory
        encoder = AutoModel.from_config(config, trust_remote_code=False)
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] in ("position_embeddings", "wpe") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
