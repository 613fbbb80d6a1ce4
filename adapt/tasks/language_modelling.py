"""The tasks of continued pretraining: predict masked tokens (encoders) or next tokens (decoders)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from torch import nn
from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError, PretrainConfig
from adapt.data.masking import anchors, marks
from adapt.data.masking import tokens as masking
from adapt.data.masking import words as word_masking
from adapt.data.masking.next_tokens import predict_next
from adapt.data.masking.strategies import SELECTIVE, STRATEGIES
from adapt.data.masking.tokens import Choose
from adapt.models import language, loading
from adapt.training.objectives import Batch, CausalLanguageModel, MaskedLanguageModel, Objective

KEY_NAME = "tasks.language_modelling"
VERSION = 1
HELD_OUT_SEED, HELD_OUT_RATE = 0, 0.15  # the same for every held-out loss, whatever strategy a model is trained with


@dataclass
class LanguageModelling:
    """A model, its objective, and the functions that choose its targets."""

    model: language.MaskedLM | language.CausalLM
    new_weights: list[str]
    objective: Objective
    targets: Callable[..., Batch]  # (batch, seed=, draw=) -> the batch with its targets
    held_out_targets: Callable[..., Batch]

    def prepare(self, batch: Batch, *, seed: int, draw: int) -> Batch:
        """The batch with training targets, which depend only on (seed, draw, example id)."""
        return self.targets(batch, seed=seed, draw=draw)

    def measure(self, batch: Batch) -> Batch:
        """The batch with the targets of every held-out loss: one fixed draw, whatever strategy the training uses."""
        return self.held_out_targets(batch, seed=HELD_OUT_SEED, draw=masking.HELD_OUT_DRAW)


def load(
    folder: Path,
    cfg: PretrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    inputs: dict[str, Path],
    *,
    adapted: bool = True,
) -> LanguageModelling:
    """The model of a folder, with the targets that ``cfg`` trains it on. adapted: False loads it without its adapters.

    inputs: the stage's inputs. Difference masking reads ``anchors`` and selective masking ``marks.<name>`` for each
    text. Raises ConfigError if the marks are missing.
    """
    task = modelling(folder, tokenizer, dropout=cfg.dropout, adapted=adapted)
    if isinstance(task.model, language.MaskedLM):
        choose = strategy(cfg, task.model, tokenizer, inputs)
        task.targets = partial(masking.mask_tokens, tokenizer=tokenizer, rate=cfg.masking.rate, choose=choose)
    return task


def load_for_measuring(folder: Path, tokenizer: PreTrainedTokenizerBase) -> LanguageModelling:
    """The model of a folder, without dropout, to measure held-out losses."""
    return modelling(folder, tokenizer, dropout=0.0)


def modelling(
    folder: Path, tokenizer: PreTrainedTokenizerBase, *, dropout: float, adapted: bool = True
) -> LanguageModelling:
    """The task for a folder's model: next tokens, or the masks of held-out losses, which are uniform single tokens."""
    model, new_weights = loading.load_language_model(folder, dropout=dropout, adapted=adapted)
    if isinstance(model, language.CausalLM):
        return LanguageModelling(model, new_weights, CausalLanguageModel(), next_tokens, next_tokens)
    fixed = partial(masking.mask_tokens, tokenizer=tokenizer, rate=HELD_OUT_RATE)
    return LanguageModelling(model, new_weights, MaskedLanguageModel(), fixed, fixed)


def next_tokens(batch: Batch, *, seed: int, draw: int) -> Batch:
    """``predict_next`` with the signature of ``targets``; it draws nothing."""
    return predict_next(batch)


def text_names(cfg: PretrainConfig) -> list[str]:
    """The names of the inputs with the stage's texts, in the order in which their sequences are numbered."""
    return ["text", *(f"mix.{name}" for name in sorted(cfg.mix))]


def strategy(
    cfg: PretrainConfig, model: language.MaskedLM, tokenizer: PreTrainedTokenizerBase, inputs: dict[str, Path]
) -> Choose:
    """The function that chooses tokens, as ``cfg.masking.strategy`` names it; ``validate`` refuses unknown names."""
    name = cfg.masking.strategy
    if name == "whole_word":
        return word_masking.whole_words
    if name == "span":
        return partial(word_masking.spans, span_length=cfg.masking.span_length)
    if name == SELECTIVE:
        return partial(marks.marked_tokens, marks=read_marks(cfg, inputs))
    if name == "difference":
        weigh = nearness(model, tokenizer, anchors.read_anchors(inputs["anchors"]))
        return partial(word_masking.weighted_words, weigh=weigh)
    return masking.single_tokens


def read_marks(cfg: PretrainConfig, inputs: dict[str, Path]) -> marks.Marks:
    """The marks of all texts of the stage. Raises ConfigError if one has none, as in a stage without a task."""
    names = [f"marks.{name}" for name in text_names(cfg)]
    for name in names:
        if name not in inputs:
            raise ConfigError(
                f"{cfg.name}.masking.strategy={SELECTIVE}: needs the marks of a task's classifier ({name}), and this "
                f"stage is trained without a task; possible are {', '.join(s for s in STRATEGIES if s != SELECTIVE)}"
            )
    return marks.Marks([inputs[name] / marks.FILE for name in names])


def nearness(model: language.MaskedLM, tokenizer: PreTrainedTokenizerBase, words: list[str]) -> anchors.Nearness:
    """How near words are to the anchors ``words``, each tokenised as if it followed a space."""
    ids = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    embedding = cast(nn.Embedding, model.encoder.get_input_embeddings())
    weight = embedding.weight.detach().cpu().float().numpy().copy()  # a copy: the model's own weights will change
    return anchors.Nearness(weight, [tokens for tokens in ids if tokens])
