"""Refuse a model or tokenizer that cannot do what a run needs, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)

from adapt.adapters.check import check_method
from adapt.checks.peft import OF_HEADS, target
from adapt.checks.tokenizers import check_extension, check_first_token, check_ids, check_segments
from adapt.config import Config, ConfigError, SamplesConfig, first_line
from adapt.data.masking.strategies import OF_WORDS, SELECTIVE
from adapt.models import language, loading
from adapt.models.decoders import is_causal, is_decoder, last_token_head
from adapt.models.loading import most_tokens
from adapt.models.packing import PACKABLE
from adapt.models.padding import SOUND, dependence, embedded_otherwise, reads_context
from adapt.models.weights import check_weights
from adapt.tasks.generation import check_room
from adapt.tasks.kinds import KINDS
from adapt.text_attacks.names import MASKED_LM
from adapt.training.retention import check_frozen


def check_model(cfg: Config, folder: Path) -> None:
    """Refuse a folder that transformers cannot read, or whose model lacks a head, a special token or positions.

    Raises ConfigError, which names the folder or the key, what was given and what is possible.
    """
    config = read_config(folder)
    kind = KINDS[cfg.task.kind]
    guessing = [name for name in cfg.evaluate.text.recipes if name in MASKED_LM] if cfg.evaluate.text else []
    check_own_heads(cfg, folder, config, guessing)
    tokenizer = read_tokenizer(folder)
    check_ids(folder, config, tokenizer)
    if tokenizer.pad_token_id is None:
        check_padding(cfg, folder, config, tokenizer)
    if kind.needs_offsets and not tokenizer.is_fast:
        raise ConfigError(
            f"task.kind={cfg.task.kind}: the tokenizer of {folder} does not tell where its tokens are in a text"
        )
    if cfg.pretrain:
        check_objective(cfg, folder, config, tokenizer)
    if guessing:
        check_masked_lm(f"evaluate.text.recipes={guessing[0]}", folder, tokenizer, bool(cfg.pretrain))
    lengths = {f"pretrain.{name}": stage.max_length for name, stage in cfg.pretrain.items()}
    if cfg.evaluate.domains is not None:
        refuse_no_language_model("evaluate.domains", folder, config, tokenizer, "evaluate=clean")
        lengths["evaluate.domains"] = cfg.evaluate.domains.max_length
    if cfg.evaluate.samples is not None:
        check_writer(folder, config, tokenizer, cfg.evaluate.samples)
    encoder = skeleton(config)
    most = most_tokens(encoder)
    for part, length in {**lengths, "finetune": cfg.finetune.max_length}.items():
        pair = part == "finetune" and cfg.task.text_pair_column is not None
        least = tokenizer.num_special_tokens_to_add(pair=pair) + 1
        if length < least:
            raise ConfigError(f"{part}.max_length={length}: leaves no room for text; must be {least} or more")
        if most is not None and length > most:
            raise ConfigError(f"{part}.max_length={length}: {folder} has positions for {most} tokens; at most {most}")
    check_segments(cfg, folder, encoder, tokenizer)
    check_first_token(cfg, folder, config, tokenizer)
    check_layers(cfg, encoder)
    check_method("peft", cfg.peft, encoder)
    if cfg.pretrain:
        check_method("pretrain_peft", cfg.pretrain_peft, skeleton(config))
        check_head(cfg, config)
    check_loading(cfg, folder, config)
    check_states(cfg, folder, config)


def check_loading(cfg: Config, folder: Path, config: PretrainedConfig) -> None:
    """Refuse weights that do not fit a network that the run opens: pretraining's, and that of fine-tuning."""
    own_head = getattr(transformers, KINDS[cfg.task.kind].head.opens_own)
    check_weights(own_head if cfg.finetune.pooling == "cls" else AutoModel, folder)
    if cfg.pretrain and (type(config) in MODEL_FOR_MASKED_LM_MAPPING or is_decoder(config)):
        kind = AutoModelForCausalLM if is_decoder(config) else AutoModelForMaskedLM
        check_weights(kind, folder)
        check_extension(cfg, folder, skeleton(config, kind))


def check_states(cfg: Config, folder: Path, config: PretrainedConfig) -> None:
    """Refuse a network whose answers depend on more than the text, and perturbations where it pads inside."""
    if config.model_type in SOUND:
        return
    perturbs = cfg.adversary.ball is not None or (bool(cfg.pretrain) and cfg.pretrain_adversary.ball is not None)
    try:
        encoder = loading.load_encoder(folder, adapted=False).eval()

        def states(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return encoder(input_ids=ids, attention_mask=mask)[0]

        on, in_context = dependence(encoder, states), reads_context(encoder, states)
        otherwise = embedded_otherwise(encoder, states)
    except ConfigError:
        raise
    except Exception as error:  # each architecture fails in its own way
        raise ConfigError(
            f"{folder}: a {config.model_type} cannot be used: its network does not run on token ids and a mask only "
            f"({type(error).__name__}: {first_line(error)}); take another architecture"
        ) from error
    if on:
        raise ConfigError(
            f"{folder}: what a {config.model_type} says of a text depends on {on}; its scores would be those of "
            "an order of batches. Take another architecture"
        )
    if not in_context:
        raise ConfigError(
            f"{folder}: in a {config.model_type} on this machine no token sees another: its attention computes "
            "nothing, as where the kernel that it needs is missing. Take another architecture"
        )
    if (perturbs or cfg.evaluate.attack is not None) and otherwise:
        need = "adversary" if perturbs else "evaluate.attack"
        raise ConfigError(
            f"{need}: a {config.model_type} ({folder}) {otherwise}, so that a perturbation of the input has no place; "
            "set adversary=none and evaluate=clean, or take another model"
        )


def check_own_heads(cfg: Config, folder: Path, config: PretrainedConfig, guessing: list[str]) -> None:
    """Refuse an architecture for which transformers lacks a head that the run needs.

    guessing: the recipes that need a masked-LM head.
    """
    own_head = KINDS[cfg.task.kind].head.architectures
    heads = {"finetune.pooling=cls": own_head} if cfg.finetune.pooling == "cls" else {}
    if cfg.finetune.pooling == "cls":
        marking = [name for name, stage in cfg.pretrain.items() if stage.masking.strategy == SELECTIVE]
        need = "pretrain.{}.masking.strategy=selective with finetune.pooling=cls"
        heads |= {need.format(name): MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING for name in marking}
    heads |= {f"evaluate.text.recipes={name}": MODEL_FOR_MASKED_LM_MAPPING for name in guessing}
    for need, mapping in heads.items():
        if type(config) not in mapping:
            raise ConfigError(f"{need}: {folder} is a {config.model_type}, for which transformers has no head for it")
    if own_head is MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING and cfg.finetune.pooling == "cls" and is_decoder(config):
        last_token_head(skeleton(config, AutoModelForSequenceClassification))


def refuse_no_language_model(
    need: str, folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, instead: str = ""
) -> bool:
    """Whether the model predicts next tokens rather than masked ones. Raises ConfigError where it can do neither.

    need: the setting that needs a language model; instead: a setting that does not.
    """
    try:
        causal = is_causal(config)
    except ConfigError as error:
        raise ConfigError(f"{need}: {folder}: {error}" + (f"; or {instead}" if instead else "")) from error
    if not causal and tokenizer.mask_token_id is None:
        message = f"{need}: the tokenizer of {folder} has no mask token to predict"
        raise ConfigError(message + (f"; {instead}" if instead else ""))
    return causal


def check_writer(
    folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, asked: SamplesConfig
) -> None:
    """Refuse samples from an encoder, and answers so long that the prompt, at one token per word, has no room."""
    if not is_decoder(config):
        raise ConfigError(
            f"evaluate.samples: {folder} is a {config.model_type}, which writes no text; use a decoder, such as "
            "model=tiny_decoder, or evaluate=adaptation"
        )
    check_room(config, tokenizer.num_special_tokens_to_add() + asked.prompt_words, asked.max_new_tokens)


def check_layers(cfg: Config, encoder: nn.Module) -> None:
    """Refuse to freeze more layers than the model has."""
    frozen = {f"pretrain.{name}": stage.retention.frozen_layers for name, stage in cfg.pretrain.items()}
    for part, layers in {**frozen, "finetune": cfg.finetune.retention.frozen_layers}.items():
        if layers:
            check_frozen(f"{part}.", layers, encoder)


def check_head(cfg: Config, config: PretrainedConfig) -> None:
    """Refuse head-only training of a language model whose head has no weights of its own."""
    if target(cfg.pretrain_peft) != OF_HEADS:
        return
    causal = loading.is_causal(config)
    with torch.device("meta"):
        kind = AutoModelForCausalLM if causal else AutoModelForMaskedLM
        network = kind.from_config(config, trust_remote_code=False)
    if not (language.CausalLM if causal else language.MaskedLM)(network).head_parameters():
        raise ConfigError(
            f"pretrain_peft={cfg.pretrain_peft.name}: the head of a {config.model_type} is its embeddings, and there "
            "is nothing else to train; possible are lora, bitfit, ia3"
        )


def check_padding(cfg: Config, folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer without a padding token, unless it is a decoder's, which pads with the end-of-text token."""
    if tokenizer.eos_token_id is None or type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        raise ConfigError(f"{folder}: its tokenizer has no padding token; name one in tokenizer_config.json")


def check_objective(cfg: Config, folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model without a language-model head, and masking or packing that it or its tokenizer cannot do."""
    first = f"pretrain={next(iter(cfg.pretrain))}"
    causal = refuse_no_language_model(first, folder, config, tokenizer)
    for name, stage in cfg.pretrain.items():
        key = f"pretrain.{name}"
        chosen = stage.masking.strategy
        if causal and chosen != "token":
            raise ConfigError(
                f"{key}.masking.strategy={chosen}: {folder} is a {config.model_type}, which predicts next tokens and "
                "masks none; set it to token, which a decoder ignores"
            )
        if causal and stage.max_length < 2:
            raise ConfigError(f"{key}.max_length={stage.max_length}: leaves no next token to predict; at least 2")
        if chosen in OF_WORDS and not tokenizer.is_fast:
            raise ConfigError(
                f"{key}.masking.strategy={chosen}: the tokenizer of {folder} does not tell where its tokens are in a "
                "text, so whole words cannot be masked; set it to token"
            )
    packing = [name for name, stage in cfg.pretrain.items() if stage.packing]
    if packing and not loading.keeps_packed_apart(folder):
        raise ConfigError(
            f"pretrain.{packing[0]}.packing=true: in {folder}, a {config.model_type}, packed texts would see each "
            f"other; set it to false, or take one of {', '.join(PACKABLE)}"
        )


def check_masked_lm(need: str, folder: Path, tokenizer: PreTrainedTokenizerBase, pretrained: bool) -> None:
    """Refuse a model that cannot propose words: no mask token, no token offsets, or an untrained masked-LM head."""
    if tokenizer.mask_token_id is None:
        raise ConfigError(f"{need}: the tokenizer of {folder} has no mask token; leave out {' and '.join(MASKED_LM)}")
    if not tokenizer.is_fast:
        raise ConfigError(f"{need}: the tokenizer of {folder} does not tell where its tokens are in a text")
    if pretrained:  # pretraining trains the head if the folder has none
        return
    if new := check_weights(AutoModelForMaskedLM, folder):
        raise ConfigError(
            f"{need}: {folder} has no trained masked-LM head (it lacks {new[0]}), so it would "
            f"propose words at random; add pretrain=[dapt], or leave out {' and '.join(MASKED_LM)}"
        )


def read_config(folder: Path) -> PretrainedConfig:
    """The folder's config. Raises ConfigError where this version of transformers has no encoder of its type."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"{folder / 'config.json'}: transformers cannot read it: {first_line(error)}") from error
    if type(config) not in MODEL_MAPPING:
        raise ConfigError(f"{folder}: transformers has no encoder for model_type={config.model_type}")
    return config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer. Raises ConfigError where there is none: transformers would give an empty one."""
    needed = "a model folder holds tokenizer.json, or the vocabulary files of its tokenizer"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # broken JSON and missing packages raise many types
        raise ConfigError(f"{folder}: its tokenizer cannot be read ({first_line(error)}); {needed}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ConfigError(f"{folder}: there is no tokenizer in it; {needed}")
    return tokenizer


def skeleton(config: PretrainedConfig, kind: Any = AutoModel) -> nn.Module:
    """A model of this config on the meta device: modules and shapes without memory. kind: the Auto class."""
    with torch.device("meta"):
        return kind.from_config(config, trust_remote_code=False)
