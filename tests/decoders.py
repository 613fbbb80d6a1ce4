"""Random decoders of many architectures, 16 wide with 2 layers, as models and as folders with a byte-level BPE."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as token_models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from adapt.models import language

_SHAPE = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"max_position_embeddings": 160, "initializer_range": 0.3},
}
SHAPES: dict[str, dict[str, Any]] = {  # absolute positions, rotary ones, ALiBi; heads that share keys; tied or not
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 160},
    "gpt_neox": {},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
    "llama": {"num_key_value_heads": 1},
    "mistral": {"num_key_value_heads": 1, "sliding_window": 8},
    "qwen2": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "gemma": {"num_key_value_heads": 1, "head_dim": 8},
    "phi": {},
    "falcon": {"alibi": False},
    "bloom": {"n_layer": 2, "n_head": 2},
}
END = "<|endoftext|>"


def config(architecture: str, vocabulary: int, **more: Any) -> Any:
    """A config of the architecture that ends texts with token 0 and has, like GPT-2's, no padding token."""
    special = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    return AutoConfig.for_model(architecture, **{**_SHAPE, **special, **SHAPES.get(architecture, {}), **more})


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """The model with weights so large that no two of its answers are nearly the same; seeded."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def causal_lm(architecture: str, vocabulary: int = 60) -> language.CausalLM:
    """A causal language model of random weights."""
    return language.CausalLM(shaken(AutoModelForCausalLM.from_config(config(architecture, vocabulary))))


def byte_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes and some pairs; like GPT-2's it puts nothing before a text and has no padding token."""
    pairs = Tokenizer(token_models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=[END], show_progress=False)
    pairs.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token=END, bos_token=END, unk_token=END)


def write_decoder(folder: Path, texts: Iterable[str], architecture: str = "llama") -> Path:
    """A folder with a random decoder and its tokenizer."""
    tokenizer = byte_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    causal_lm(architecture, len(tokenizer)).model.save_pretrained(folder)
    return folder
