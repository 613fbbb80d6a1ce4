"""A masked-LM step of the training loop against one of transformers' run_mlm.py, each with its own collator and loop.

The other side calls what the script calls: DataCollatorForLanguageModeling, BertForMaskedLM or RobertaForMaskedLM with
labels at every position (-100 where nothing is predicted), and Trainer with its default optimizer. Both read the same
sequences of full length, so that neither pads. The weights are random, which does not affect the times. Rounds of both
alternate within one run, and the median steps of the rounds are compared. Dropout is off, for equal losses.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    RobertaConfig,
    RobertaForMaskedLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from adapt.adversary.plain import PLAIN
from adapt.assets.architectures import BERT_TOKENS
from adapt.config import OptimizerConfig, RuntimeConfig
from adapt.data.masking import tokens
from adapt.data.tokens import batching
from adapt.models.language import MaskedLM
from adapt.training import loop
from adapt.training.objectives import MaskedLanguageModel
from adapt.training.optimization import decay_groups

RATE, LENGTH, ROUNDS = 0.15, 128, 5
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
RUNTIME = RuntimeConfig(device="cpu", checkpoint_seconds=1e9, progress=False, trackers=[])
OPTIMIZER = OptimizerConfig(
    learning_rate=5e-5, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0, schedule="linear", warmup_fraction=0.0,
    clip_norm=1.0, precision="no",
)  # fmt: skip  # Trainer's defaults


@dataclass(frozen=True)
class Shape:
    """A model, the size of the batch that it is timed on, and the target: how many times faster the step must be."""

    name: str
    model: type[PreTrainedModel]
    config: PretrainedConfig
    rows: int
    steps: int
    target: float


MINILM = BertConfig(
    vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, **NO_DROPOUT
)
ROBERTA = RobertaConfig(vocab_size=50265, max_position_embeddings=514, **NO_DROPOUT)
SHAPES = (
    Shape("MiniLM (6 x 384, 30,522 tokens)", BertForMaskedLM, MINILM, rows=16, steps=5, target=1.7),
    Shape("RoBERTa-base (12 x 768, 50,265 tokens)", RobertaForMaskedLM, ROBERTA, rows=4, steps=4, target=1.2),
)


def run() -> list[str]:
    """For each shape, the ratio of the step times, and the difference of the two losses under the same masks."""
    return [line for shape in SHAPES for line in compared(shape)]


def compared(shape: Shape) -> list[str]:
    """Lines on both loops, in turn on the same sequences and weights; each loop's first step is a warm-up."""
    torch.manual_seed(0)
    model = shape.model(shape.config)
    tokenizer = tokenizer_of(shape.config.vocab_size)
    ids = torch.randint(len(BERT_TOKENS), shape.config.vocab_size, (shape.rows * shape.steps, LENGTH)).tolist()
    apart = difference(model, tokenizer, ids[: shape.rows])
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(statistics.median(trainer_steps(model, tokenizer, ids, shape)))
        ours.append(statistics.median(our_steps(model, tokenizer, ids, shape)))
    ratio = statistics.median(one / other for one, other in zip(theirs, ours, strict=True))
    return [
        f"{shape.name}, {shape.rows * LENGTH:,} tokens per step: run_mlm.py's {statistics.median(theirs):.2f} s, "
        f"ours {statistics.median(ours):.2f} s: {ratio:.2f} times faster",
        f"target: at least {shape.target}; losses under equal masks differ by {apart:.1e}",
    ]


def tokenizer_of(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of that many tokens for the collators, which use only its special tokens."""
    special = list(BERT_TOKENS.values())
    words = dict.fromkeys([*special, *(f"t{number}" for number in range(size - len(special)))])
    backend = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **BERT_TOKENS)


def difference(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ids: list[list[int]]) -> float:
    """The absolute difference of the script's loss and ours, under the masks that its collator draws."""
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATE)([{"input_ids": row} for row in ids])
    positions = (batch["labels"].flatten() != -100).nonzero().flatten()
    targets = batch["labels"].flatten()[positions]
    with torch.no_grad():
        dense = model.eval()(**batch).loss
        given = {"input_ids": batch["input_ids"], "attention_mask": torch.ones_like(batch["input_ids"])}
        sparse = MaskedLM(model)(**given, positions=positions, targets=targets).mean()
    return abs(dense.item() - sparse.item())


class Clock(TrainerCallback):
    """Notes when each step of a Trainer ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time at which a step ended."""
        self.times.append(time.perf_counter())


def trainer_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ids: list[list[int]], shape: Shape
) -> list[float]:
    """Seconds of each of the Trainer's steps except the first: collating, forward, backward, clipping, update."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=shape.rows, max_steps=shape.steps, save_strategy="no",
            report_to="none", use_cpu=True, disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATE)
        examples = [{"input_ids": row} for row in ids]
        trainer = Trainer(model, arguments, collator, examples, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [later - earlier for earlier, later in zip(clock.times, clock.times[1:], strict=False)]


def our_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ids: list[list[int]], shape: Shape
) -> list[float]:
    """Seconds of each of our loop's steps except the first, with the same parts."""
    encoded, begins = batching.Encoded(ids, None), []

    def collate(indices: list[int], step: int) -> loop.Batch:
        begins.append(time.perf_counter())
        return tokens.mask_tokens(
            batching.collate(tokenizer, encoded, indices), tokenizer, rate=RATE, seed=0, draw=step
        )

    language_model = MaskedLM(model)
    batches = [list(range(first, first + shape.rows)) for first in range(0, len(ids), shape.rows)]
    with tempfile.TemporaryDirectory() as folder:
        loop.train(
            language_model,
            name="bench",
            objective=MaskedLanguageModel(),
            plan=loop.Plan(lambda epoch: batches, collate, shape.steps, shape.rows),
            adversary=PLAIN,
            optimizer_config=OPTIMIZER,
            parameter_groups=decay_groups(language_model, None, None),
            best_checkpoint=loop.BestCheckpoint(lambda: begins.append(time.perf_counter()) or 0.0, shape.steps, "max"),
            seed=0,
            folder=Path(folder),
            runtime=RUNTIME,
        )
    begins = begins[1:]  # the first measurement is before the first step; the last ends the last step
    return [later - earlier for earlier, later in zip(begins, begins[1:], strict=False)][1:]
