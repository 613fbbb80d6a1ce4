"""The tokenizers and random models that the embedded base models start from; tokenizers are learned from a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

WORD_PIECES = 8192
BERT_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
BERT_SHAPE: dict[str, Any] = {
    **{"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768},
    "max_position_embeddings": 128,
}

BYTE_PAIRS = 4096  # half of WORD_PIECES: the parameters that this saves pay for two more layers
LLAMA_TOKENS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
LLAMA_SHAPE: dict[str, Any] = {
    **{"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 512},
    **{"max_position_embeddings": 256, "tie_word_embeddings": True},
}


def word_pieces(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer (Devlin et al., 2019) of WORD_PIECES tokens, learned from ``texts``."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=WORD_PIECES, special_tokens=list(BERT_TOKENS.values()), show_progress=False
        ),
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", pieces.token_to_id("[CLS]")), ("[SEP]", pieces.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=128, **BERT_TOKENS)


def byte_pairs(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Radford et al., 2019, section 2.2) of BYTE_PAIRS tokens, learned from ``texts``.

    Decoding restores every text byte for byte. A text begins with ``<s>``, from which its first token is predicted.
    """
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    pairs.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=BYTE_PAIRS,
            special_tokens=list(LLAMA_TOKENS.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    begin = LLAMA_TOKENS["bos_token"]
    pairs.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin} $B",
        special_tokens=[(begin, pairs.token_to_id(begin))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pairs,
        model_max_length=LLAMA_SHAPE["max_position_embeddings"],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **LLAMA_TOKENS,
    )


def random_bert(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A BERT of BERT_SHAPE with random weights, drawn from torch's current random state."""
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **BERT_SHAPE))


def random_llama(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A Llama (Touvron et al., 2023) of LLAMA_SHAPE with random weights, drawn from torch's current random state."""
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **special, **LLAMA_SHAPE))
