"""The only training loop, on accelerate. Pretraining and fine-tuning call it; it knows no training method by name.

Resuming is exact: the data order, the masks and the dropout noise of a step depend only on (seed, step). A checkpoint
of weights, optimizer and step number is therefore enough to end with the weights of an uninterrupted run.

Where several processes share the training (adapt/training/processes.py), each runs this loop on its part of every
step's examples. Gradients are averaged over the processes after each backward pass, so all of them hold the same
weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from adapt.config import OptimizerConfig, RuntimeConfig
from adapt.training import preemption, processes
from adapt.training.checkpoint import Checkpoint, Progress
from adapt.training.method import Adversary
from adapt.training.objectives import Batch, Objective
from adapt.training.optimization import learning_rate_shape
from adapt.training.retention import Pull
from adapt.training.sharding import gathered, is_sharded
from adapt.training.step import Step

KEY_NAME = "training.loop"
VERSION = 4
AfterMeasurement = Callable[[int], None]
AfterUpdate = Callable[[int, dict[str, Any]], None]
SIXTEEN_BITS = {"bf16": torch.bfloat16, "fp16": torch.float16}
PROCESS_STRIDE = 2**40  # offset between the random seeds of two processes: they never share dropout noise


class NonFiniteLoss(RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite. The message has stage, step and last finite loss."""


@dataclass
class Plan:
    """What to train on: ``epoch(e)`` lists each step's example indices, ``collate(indices, step)`` makes a batch."""

    epoch: Callable[[int], Sequence[list[int]]]
    collate: Callable[[list[int], int], Batch]
    steps: int
    micro_batch_size: int

    def from_step(self, step: int) -> Iterator[list[int]]:
        """The example indices of steps ``step``, ``step + 1``, ... up to the last, over as many epochs as needed."""
        per_epoch = len(self.epoch(0))
        for epoch in range(step // per_epoch, math.ceil(self.steps / per_epoch)):
            batches = self.epoch(epoch)
            for position in range(step % per_epoch if epoch == step // per_epoch else 0, per_epoch):
                if epoch * per_epoch + position < self.steps:
                    yield batches[position]

    def micro_batches(self, indices: list[int], step: int) -> tuple[list[Batch], int]:
        """This process's micro-batches of a step, padded with dummy batches, and the number of dummies.

        Every process must run the same number of backward passes. A dummy batch holds the step's first example.
        """
        mine, size = processes.share(indices), self.micro_batch_size
        cuts = [mine[start : start + size] for start in range(0, len(mine), size)]
        most = math.ceil(math.ceil(len(indices) / processes.count()) / size)
        dummies = most - len(cuts)
        return [self.collate(cut, step) for cut in cuts + dummies * [indices[:1]]], dummies


@dataclass
class BestCheckpoint:
    """The best checkpoint has the highest (mode: max) or lowest (min) ``measure()``, taken every ``every`` steps.

    patience: training stops after this many measurements in a row that are not better; None: it never stops early.
    after_measurement: called after each measurement with the number of steps that the model has been trained for.
    """

    measure: Callable[[], float]
    every: int
    mode: str
    patience: int | None = None
    after_measurement: AfterMeasurement | None = None


def train(
    model: nn.Module,
    *,
    name: str,
    objective: Objective,
    plan: Plan,
    adversary: Adversary,
    optimizer_config: OptimizerConfig,
    parameter_groups: list[dict[str, Any]],
    best_checkpoint: BestCheckpoint,
    seed: int,
    folder: Path,
    runtime: RuntimeConfig,
    stored: Mapping[int, Tensor] | None = None,
    pull: Pull | None = None,
    after_update: AfterUpdate | None = None,
) -> Progress:
    """Train ``model`` in place and leave it with the weights that were measured best.

    folder: the stage's output folder; checkpoints live in ``folder/checkpoint`` until the stage removes them.
    stored: embeddings by example id, for a training method that reads stored perturbations (``View.stored``).
    pull: adds to the gradients of each update a term that pulls the weights back (``retention.toward_start``).
    after_update(number, memory): called after each update that fp16 does not skip, before the gradients are zeroed.
    Raises NonFiniteLoss with the step and the last finite loss.
    """
    accelerator = make_accelerator(optimizer_config.precision, runtime, folder, name)
    optimizer = torch.optim.AdamW(
        parameter_groups,
        lr=optimizer_config.learning_rate,
        betas=(optimizer_config.betas[0], optimizer_config.betas[1]),
        eps=optimizer_config.eps,
        weight_decay=optimizer_config.weight_decay,
        fused=True,  # one pass over the weights; on a CPU torch would otherwise take them operation by operation
    )
    scheduler = LambdaLR(optimizer, learning_rate_shape(optimizer_config, plan.steps))
    optimizer = accelerator.prepare(optimizer)
    model = accelerator.prepare_model(model, evaluation_mode=True)  # sets its precision; ``shared`` distributes it
    everywhere = shared(model)
    trainable = [parameter for group in parameter_groups for parameter in group["params"]]
    checkpoint = Checkpoint(folder / "checkpoint", name)
    memory: dict[str, Any] = {}
    progress = checkpoint.load(model, optimizer, scheduler, memory) or Progress()
    save = partial(checkpoint.save, model, optimizer, scheduler, progress, memory)

    def update() -> None:
        scale = None if accelerator.scaler is None else accelerator.scaler.get_scale()
        if pull is not None and accelerator.sync_gradients:
            pull(scale or 1.0)
        if accelerator.sync_gradients and optimizer_config.clip_norm is not None:
            norm = gathered(accelerator.clip_grad_norm_(trainable, optimizer_config.clip_norm))
            if scale is None and not torch.isfinite(norm):
                raise NonFiniteLoss(
                    f"{name}, step {progress.step + 1}: the gradient is not finite; {last_finite(progress)}"
                )
        optimizer.step()
        # GradScaler lowers its scale when it skips an update; accelerate does not see that under fused AdamW.
        skipped = scale is not None and accelerator.scaler.get_scale() < scale
        if after_update is not None and not skipped:
            after_update(progress.step + 1, memory)
        optimizer.zero_grad()

    bar = tqdm(
        total=plan.steps, initial=progress.step, desc=name, leave=False, unit="step",
        disable=not (runtime.progress and processes.leads()),
    )  # fmt: skip
    started, saved = time.monotonic() - progress.seconds, time.monotonic()
    model.train()

    def steps() -> Iterator[Any]:
        if progress.step == 0 and progress.best is None:
            measure(model, best_checkpoint, progress, checkpoint, started)
        yield from plan.from_step(progress.step)

    for indices in preemption.saving(steps(), save):
        if progress.stopped_early:
            break
        torch.manual_seed(seed * 1_000_003 + progress.step + processes.rank() * PROCESS_STRIDE)
        micro, dummies = plan.micro_batches(indices, progress.step)
        micro = [{key: value.to(accelerator.device) for key, value in batch.items()} for batch in micro]
        step = Step(
            everywhere,
            objective,
            micro,
            dummies=dummies,
            precision=SIXTEEN_BITS.get(optimizer_config.precision),
            adversary=adversary,
            seed=seed,
            step_number=progress.step,
            update=update,
            elapsed=progress.step / plan.steps,
            memory=memory,
            stored=stored,
        )
        total = torch.zeros((), device=accelerator.device)
        with closing(adversary.method(step)) as losses:
            for loss in losses:
                total += loss.detach()
                accelerator.backward(loss)
        mean = processes.total(total.item())[0] / processes.count()
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"{name}, step {progress.step + 1}: the loss is {mean}; {last_finite(progress)}")
        step.update()
        scheduler.step()
        advance(progress, step, mean, time.monotonic() - started)
        bar.update()
        bar.set_postfix_str(f"loss {mean:.3f}, {progress.tokens / max(progress.seconds, 1e-9):,.0f} tokens/s")
        accelerator.log({f"{name}/loss": mean}, step=progress.step)
        if progress.step % best_checkpoint.every == 0 or progress.step == plan.steps:
            measure(model, best_checkpoint, progress, checkpoint, started)
            accelerator.log({f"{name}/{key}": value for key, value in progress.history[-1].items()}, step=progress.step)
        if processes.total(time.monotonic() - saved >= runtime.checkpoint_seconds)[0]:  # one process's clock is enough
            save()
            saved = time.monotonic()
    bar.close()
    for tracker in accelerator.trackers:  # not end_training(), which would also end the process group
        tracker.finish()
    checkpoint.load_best(model)
    finite = (torch.isfinite(gathered(parameter.norm())) for parameter in trainable)
    if not all(finite):  # there is no loss after the last update to show it
        raise NonFiniteLoss(f"{name}, step {progress.best_step}: the weights are not finite; {last_finite(progress)}")
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # takes the autocast wrapper off ``forward`` again
    model.eval()
    return progress


def shared(model: nn.Module) -> nn.Module:
    """The model wrapped so that its gradients are averaged over all processes of the training.

    Buffers are not broadcast before each pass: in encoders they are only constants, and writing to them between two
    passes of one loss would break its backward pass.
    """
    if processes.count() == 1 or is_sharded(model):
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)


def device(runtime: RuntimeConfig) -> torch.device:
    """The accelerator of this machine, or the CPU if there is none or the runtime asks for the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True) if runtime.device != "cpu" else None
    return accelerator or torch.device("cpu")


def make_accelerator(precision: str, runtime: RuntimeConfig, folder: Path, name: str) -> Accelerator:
    """An accelerator in ``precision`` (no, bf16, fp16), with the runtime's trackers started under ``name``."""
    AcceleratorState._reset_state(reset_partial_state=True)  # the singleton would refuse a second precision
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=runtime.device == "cpu",
        log_with=list(runtime.trackers) or None,
        project_dir=folder,
    )
    if precision == "fp16" and accelerator.device.type == "cpu":  # where accelerate (1.15) computes in float32 unasked
        accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu")
    if runtime.trackers:
        accelerator.init_trackers(name.replace("/", "-"))
    return accelerator


def last_finite(progress: Progress) -> str:
    """The clause of an error message that gives the last finite loss, or says that there was none."""
    losses = [entry["loss"] for entry in progress.history if "loss" in entry]
    return f"the last finite loss was {losses[-1]:.4g}" if losses else "no step before it had a finite loss"


def advance(progress: Progress, step: Step, loss: float, seconds: float) -> None:
    """Add a finished step's tokens, passes and loss to ``progress``; ``seconds``: the training time so far."""
    examples, tokens = processes.total(step.examples, step.tokens)
    progress.step += 1
    progress.seconds = seconds
    progress.examples += int(examples)
    progress.tokens += int(tokens)
    for name, count in {**asdict(step.counts), **step.adversary_report()}.items():
        progress.counts[name] = progress.counts.get(name, 0.0) + count
    progress.history.append({"step": progress.step, "loss": loss})


def measure(
    model: nn.Module, best_checkpoint: BestCheckpoint, progress: Progress, checkpoint: Checkpoint, started: float
) -> None:
    """Measure; save the weights if they are the best so far, else count one more measurement without improvement."""
    model.eval()
    value = processes.agreed(best_checkpoint.measure())
    if best_checkpoint.after_measurement is not None:
        best_checkpoint.after_measurement(progress.step)
    model.train()
    progress.seconds = time.monotonic() - started
    progress.history.append({"step": progress.step, "measured": value})
    highest = best_checkpoint.mode == "max"
    better = progress.best is None or (value > progress.best if highest else value < progress.best)
    if better:
        progress.best, progress.best_step, progress.stale = value, progress.step, 0
        checkpoint.save_best(model)
    else:
        progress.stale += 1
        progress.stopped_early = best_checkpoint.patience is not None and progress.stale >= best_checkpoint.patience
