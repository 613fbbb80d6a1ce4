"""Continued pretraining of a model on tokenised text, for DAPT and TAPT: masked or causal language modelling."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapt.adapters import stage as adapters
from adapt.adversary.plain import PLAIN
from adapt.config import AdversaryConfig, ConfigError, OptimizerConfig, PeftConfig, PretrainConfig, RuntimeConfig
from adapt.data.tokens import batching
from adapt.data.tokens.mixing import MixedSteps, Mixture
from adapt.data.tokens.tokens import Tokens, load_tokens, vocabulary_digest
from adapt.models import loading
from adapt.table.measurement import measurement
from adapt.tasks import language_modelling
from adapt.tasks.heldout import HeldOut, Losses
from adapt.tasks.language_modelling import LanguageModelling
from adapt.training import fit, loop, processes, sharding
from adapt.training.method import Adversary
from adapt.training.objectives import MaskedLanguageModel

KEY_NAME = "stages.pretrain"
VERSION = 4
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Text:
    """The texts of a stage by the names of its inputs: ``text`` first, then each ``mix.<name>``; shares sum to 1."""

    sources: dict[str, Tokens]
    shares: dict[str, float]
    tokenizer: PreTrainedTokenizerBase


def pretrain(
    cfg: PretrainConfig,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    adversary: AdversaryConfig,
    snapshots: bool,
    peft: PeftConfig = adapters.FULL,
    unquantized: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Train ``inputs["model"]`` on ``inputs["text"]`` and ``inputs["mix.<name>"]`` (tokens); save it into ``out``.

    Only weights and tokenizer come from the parent, never its optimizer, schedule or step count.
    Returns the stage's measurements: held-out loss on fixed targets before and after, the size of its texts, and the
    cost. snapshots: the model at each evaluation is saved as a model folder, ``out/snapshots/step_<n>``.
    peft: which weights are trained, and what happens to the parent's adapter. unquantized: modules (heads) that are not
    quantised when the base is loaded in 4 or 8 bits.
    """
    torch.manual_seed(cfg.seed)
    text = read_text(cfg, inputs)
    task = language_modelling.load(inputs["model"], cfg, text.tokenizer, inputs, adapted=peft.inherit != "drop")
    model = task.model
    of_adapters = adapters.begin(model, peft, out, new_weights=task.new_weights, unquantized=unquantized)
    held_out = HeldOut.fixed(
        task, text.tokenizer, text.sources["text"].heldout, limit=cfg.heldout_sequences, batch_size=cfg.micro_batch_size
    )
    device = loop.device(runtime)
    model.to(device)
    if cfg.head_steps and task.new_weights:
        warm_head(task, text, cfg, held_out, out, runtime)
    before = held_out.losses(task, device).finite(f"{cfg.name}: held-out text before training")
    steps = max(1, round(cfg.steps * adversary.length))
    fitted = fit.fit(
        model,
        of_adapters,
        name=cfg.name,
        objective=task.objective,
        plan=plan(task, text, cfg, steps),
        best_checkpoint=lowest_loss(task, held_out, device, cfg, steps),
        adversary=Adversary.of(adversary),
        optimizer=cfg.optimizer,
        retention=cfg.retention,
        seed=cfg.seed,
        folder=out,
        runtime=runtime,
        new=lambda: model.head_parameters() if task.new_weights else [],
        snapshot=partial(snapshot, text, out) if snapshots else None,
    )
    after = held_out.losses(task, device).finite(f"{cfg.name}: held-out text after training")

    def save(trained: Any) -> None:
        trained.save(out, text.tokenizer)
        if snapshots:
            shutil.move(out / "checkpoint" / SNAPSHOTS, out / SNAPSHOTS)

    cost = fit.write(fitted, out, save, before=before.token, after=after.token, new_weights=task.new_weights)
    return measurements(task, text, before, after, cost)


def read_text(cfg: PretrainConfig, inputs: dict[str, Path]) -> Text:
    """The stage's texts. Raises ConfigError if their tokens are not of the model's vocabulary."""
    tokenizer = loading.load_tokenizer(inputs["model"])
    sources = {name: load_tokens(inputs[name]) for name in language_modelling.text_names(cfg)}
    vocabulary = vocabulary_digest(tokenizer)
    for name, source in sources.items():
        if source.vocabulary != vocabulary:
            raise ConfigError(
                f"pretrain.{cfg.name}: the tokens of {name} are of another vocabulary than the model's "
                f"({len(tokenizer)} tokens); tokenise the text with the tokenizer of the stage's own model"
            )
    shares = {"text": 1 - sum(cfg.mix.values()), **{f"mix.{name}": cfg.mix[name] for name in sorted(cfg.mix)}}
    return Text(sources, shares, tokenizer)


def warm_head(
    task: LanguageModelling, text: Text, cfg: PretrainConfig, held_out: HeldOut, out: Path, runtime: RuntimeConfig
) -> None:
    """Train only a new language-model head: the gradients of a random head would first damage the encoder."""
    constant = OptimizerConfig(
        **{**vars(cfg.optimizer), "learning_rate": cfg.head_learning_rate, "schedule": "constant"}
    )
    frozen = [parameter for parameter in task.model.encoder.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    loop.train(
        task.model,
        name=f"{cfg.name}-head",
        objective=task.objective,
        plan=plan(task, text, cfg, cfg.head_steps),
        adversary=PLAIN,
        optimizer_config=constant,
        parameter_groups=[{"params": task.model.head_parameters()}],
        best_checkpoint=lowest_loss(task, held_out, loop.device(runtime), cfg, cfg.head_steps),
        seed=cfg.seed + 1,
        folder=out,
        runtime=runtime,
    )
    for parameter in frozen:
        parameter.requires_grad_(True)


def plan(task: LanguageModelling, text: Text, cfg: PretrainConfig, steps: int) -> loop.Plan:
    """``steps`` steps over shuffles of the text, or over the mixture of texts; each step draws new targets."""
    sequences = Mixture([source.train for source in text.sources.values()])
    mixed = MixedSteps(sequences, tuple(text.shares.values()), cfg.batch_size, steps, cfg.seed)

    def epoch(number: int) -> list[list[int]] | MixedSteps:
        if cfg.mix:
            return mixed
        return batching.shuffled_batches(sequences.lengths, cfg.batch_size, seed=cfg.seed, epoch=number)

    def collate(indices: list[int], step: int) -> loop.Batch:
        return task.prepare(batching.collate(text.tokenizer, sequences, indices), seed=cfg.seed, draw=step)

    return loop.Plan(epoch, collate, steps, cfg.micro_batch_size)


def lowest_loss(
    task: LanguageModelling, held_out: HeldOut, device: torch.device, cfg: PretrainConfig, steps: int
) -> loop.BestCheckpoint:
    """The checkpoint with the lowest held-out loss; measured about ``cfg.evaluations`` times, at most once per step."""
    every = max(1, steps // cfg.evaluations)
    return loop.BestCheckpoint(lambda: held_out.losses(task, device).token, every, "min", cfg.patience)


def snapshot(text: Text, out: Path, restore: sharding.Restore, step: int) -> None:
    """Save the model as it is now, beside the checkpoints, where a resumed stage finds its earlier snapshots."""
    model = restore()
    if processes.leads():
        model.save(out / "checkpoint" / SNAPSHOTS / f"step_{step}", text.tokenizer)


def measurements(
    task: LanguageModelling, text: Text, before: Losses, after: Losses, cost: dict[str, float]
) -> list[dict[str, Any]]:
    """Rows with the held-out losses before and after, the sizes of the texts, and the cost.

    The pipeline adds the stage's name before the split.
    """
    kind = "mlm" if isinstance(task.objective, MaskedLanguageModel) else "clm"
    rows = []
    for suffix, losses in (("_before", before), ("", after)):
        rows.append(measurement("heldout", f"{kind}_loss{suffix}", losses.token, n=losses.tokens))
        rows.append(measurement("heldout", f"{kind}_document_loss{suffix}", losses.document, n=losses.documents))
    for name, source in text.sources.items():
        train = source.train
        sizes = {"documents": train.document_count, "sequences": len(train), "tokens": train.lengths.sum()}
        sizes |= {"bytes": train.bytes_on_disk}
        rows += [measurement(name, metric, float(size)) for metric, size in sizes.items()]
        rows.append(measurement(name, "share", text.shares[name]))
    return rows + [measurement("train", metric, value) for metric, value in cost.items()]
