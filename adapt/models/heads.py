"""Encoders with a head, and the folder that such a model is saved to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapt.adapters import folder as adapters
from adapt.models.decoders import decoder_inputs, is_decoder, last_token, last_token_head
from adapt.models.segments import readable

KEY_NAME = "models.heads"
VERSION = 2
HEAD_FILE = "head.safetensors"  # beside the encoder's model.safetensors, so that AutoModel opens the folder
HEAD_NOTE = "head.json"


class MeanHead(nn.Module):
    """Mean of the hidden states of real tokens, dropout, one linear layer."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, num_classes)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """hidden [B, L, H], attention_mask [B, L] -> logits [B, C]."""
        return self.out(self.dropout(mean_pool(hidden, attention_mask)))


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Average [B, L, H] over the positions where attention_mask [B, L] is 1."""
    weights = attention_mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)


class HeadedEncoder(nn.Module):
    """An encoder with a head for a task: the head that transformers has for it (``head`` is None), or one of ours."""

    def __init__(self, model: PreTrainedModel, head: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.head = (
            head if head is None else head.to(model.device)
        )  # transformers puts quantised models on a GPU itself

    problem_type: Any = None  # of the saved config: what transformers' pipeline makes of the logits

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        return self.model.device

    @property
    def encoder(self) -> PreTrainedModel:
        """The transformers base model, whose embedding output is what an adversary perturbs."""
        return self.model.base_model  # type: ignore[return-value]  # transformers annotates it as nn.Module

    @property
    def pooling(self) -> str:
        """``cls`` (the architecture's own head) or ``mean`` (ours)."""
        return "cls" if self.head is None else "mean"

    def save(
        self,
        folder: Path,
        tokenizer: PreTrainedTokenizerBase,
        labels: list[str],
        *,
        max_length: int | None = None,
        **more: str,
    ) -> None:
        """Write a plain transformers folder, plus our head's file.

        max_length: how many tokens of a text the model was trained and measured on, which every later reader of the
        folder must cut at too; more: both are in the head's note. Of a base that was fine-tuned for something else, the
        config keeps nothing by which transformers' pipelines would answer otherwise (``problem_type``).
        """
        self.model.config.problem_type = self.problem_type
        self.model.config.task_specific_params = None
        self.model.config.id2label = dict(enumerate(labels))
        self.model.config.label2id = {label: index for index, label in enumerate(labels)}
        if self.head is None and is_decoder(self.model.config) and self.model.config.pad_token_id is None:
            self.model.config.pad_token_id = tokenizer.pad_token_id  # by this id, transformers finds the last token
        adapters.save(self.model, folder)
        save_tokenizer(tokenizer, folder, max_length)
        length = {} if max_length is None else {"max_length": max_length}
        note = {**more, **length, "pooling": self.pooling, "labels": labels}
        (folder / HEAD_NOTE).write_text(json.dumps(note, indent=1) + "\n")
        if self.head is not None:
            save_file({name: value.contiguous() for name, value in self.head.state_dict().items()}, folder / HEAD_FILE)
        make_relocatable(folder)


class Classifier(HeadedEncoder):
    """An encoder with a classification head: MeanHead, or the architecture's own (BERT's: [CLS], dense, tanh, linear).

    A decoder's own head is a linear layer on the state of the last real token. transformers finds that token by the
    padding id, which may also occur in a text; here the attention mask says which it is, with padding on either side.
    """

    head: MeanHead | None
    problem_type = "single_label_classification"  # a softmax, as in adapt predict

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        """Logits [B, C] in float32."""
        more = readable(self.encoder, more)
        if is_decoder(self.model.config):
            more |= decoder_inputs(self.encoder, attention_mask)
            if self.head is None:
                hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)[0]
                return last_token_head(self.model)(last_token(hidden, attention_mask)).float()
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)
        if self.head is None:
            return output.logits.float()
        return self.head(output.last_hidden_state, attention_mask).float()


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int | None) -> None:
    """Save a tokenizer that says how many tokens its model reads, but neither cuts nor pads unless it is asked to."""
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]  # only fast tokenizers have it
        backend.no_truncation()
        backend.no_padding()
    before = tokenizer.model_max_length
    tokenizer.model_max_length = before if max_length is None else max_length
    tokenizer.save_pretrained(folder)
    tokenizer.model_max_length = before


def make_relocatable(folder: Path) -> None:
    """Drop the path that the weights were loaded from, so that equal weights give equal bytes everywhere."""
    for name in ("config.json", "tokenizer_config.json"):
        file = folder / name
        if file.exists():
            content = json.loads(file.read_text())
            content.pop("_name_or_path", None)
            content.pop("name_or_path", None)
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
