"""LoRA against training all weights, for RoBERTa-base's shape with random weights: memory, and time per step.

Memory: gradients and optimizer state, and what is saved for the backward pass if only the top of the model is trained.
Saved tensors are counted one by one, and compared with the peak resident memory of a separate process (VmHWM, reset by
/proc/self/clear_refs: only on Linux). Times are from rounds in which the two take turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapt.config import Config, PeftConfig
from adapt.perturbation.embeddings import find_embedding, perturbed

ROWS, LENGTH, LABELS, ROUNDS = 8, 64, ["a", "b", "c", "d"], 7
MEMORY_TARGET, SPEED_TARGET = 0.05, 1.2
TOP = "peft.method.target_modules=[layer.10.*.*.query,layer.10.*.*.value,layer.11.*.*.query,layer.11.*.*.value]"
CASES = {  # name: overrides, whether an adversary asks for the gradient at the embeddings
    "all weights": (["peft=full"], False),
    "LoRA, all layers": (["peft=lora"], False),
    "LoRA, top two layers": (["peft=lora", TOP], False),
    "head only": (["peft=head_only"], False),
    "LoRA, top two layers, with a delta": (["peft=lora", TOP], True),
}


def run() -> list[str]:
    """Ratios to training all weights, and to LoRA on all layers, beside their targets."""
    with tempfile.TemporaryDirectory() as folder:
        base = write_base(Path(folder) / "base")
        return [*training(base), *activations(base)]


def training(base: Path) -> list[str]:
    """Bytes of gradients and of AdamW's state, and the time of a step; full and LoRA take turns in one process."""
    steps = {name: step_of(base, [f"peft={name}"]) for name in ("full", "lora")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    state: dict[str, int] = {}
    for number in range(ROUNDS + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            state[name] = step()
            if number:  # the first step creates the optimizer's state
                seconds[name].append(time.perf_counter() - started)
    ratio = float(np.median(np.array(seconds["full"]) / np.array(seconds["lora"])))
    share = state["lora"] / state["full"]
    return [
        f"gradients and optimizer state: LoRA {state['lora'] / 1e6:.1f} MB, all weights {state['full'] / 1e6:,.1f} MB: "
        f"{share:.2%} (target: at most {MEMORY_TARGET:.0%})",
        f"a step of {ROWS} x {LENGTH}, median of {ROUNDS} paired ratios: LoRA {ratio:.2f} times the speed of training "
        f"all weights (target: {SPEED_TARGET})",
    ]


def activations(base: Path) -> list[str]:
    """The bytes that each way to train saves for its backward pass, and the process's peak during the passes."""
    measured = {name: child(base, name) for name in CASES}
    whole = measured["LoRA, all layers"]
    return [
        f"saved for the backward pass, {name}: {one['saved'] / 1e6:.1f} MB, {one['saved'] / whole['saved']:.0%} of "
        f"LoRA on all layers; peak of the passes {one['peak'] / 1e6:.0f} MB, {one['peak'] / whole['peak']:.0%}"
        for name, one in measured.items()
    ]


def child(base: Path, name: str) -> dict[str, float]:
    """What ``measure`` returns for one entry of CASES, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.peft_memory", str(base), name, str(torch.get_num_threads())]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(finished.stdout.splitlines()[-1])


def measure(base: Path, name: str) -> dict[str, float]:
    """The bytes saved for the backward pass, and the peak of both passes beyond weights and gradients."""
    from adapt.training.costs import forget_peak, peak_resident_bytes

    overrides, attacked = CASES[name]
    model, batch = classifier(base, overrides), random_batch(ROWS, LENGTH)
    passes = partial(with_delta if attacked else plain, model)
    passes(random_batch(1, 8)).backward()  # creates all gradients
    forget_peak()
    before = peak_resident_bytes()
    passes(batch).backward()
    peak = peak_resident_bytes() - before
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = passes(batch)
    del loss
    return {"saved": sum(saved.values()), "peak": max(peak, 1)}


def plain(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy."""
    return cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])


def with_delta(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy at a delta of zeros that requires a gradient, as under an adversary."""
    embedding = find_embedding(model, batch["input_ids"], lambda: plain(model, batch))
    delta = torch.zeros(*batch["input_ids"].shape, embedding.embedding_dim, requires_grad=True)
    with perturbed(embedding, delta, batch["attention_mask"].unsqueeze(-1)):
        return plain(model, batch)


def step_of(base: Path, overrides: list[str]) -> Callable[[], int]:
    """A function that makes a training step with AdamW and returns the bytes of gradients and optimizer state."""
    from adapt.stages.finetune import head_of
    from adapt.training.optimization import decay_groups

    model, batch = classifier(base, overrides), random_batch(ROWS, LENGTH)
    optimizer = torch.optim.AdamW(decay_groups(model, head_of(model), None, layer_decay=1.0, learning_rate=1e-4))

    def step() -> int:
        plain(model, batch).backward()
        torch.nn.utils.clip_grad_norm_([weight for weight in model.parameters() if weight.requires_grad], 1.0)
        optimizer.step()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        moments = [value for state in optimizer.state.values() for value in state.values()]
        held = sum(tensor.numel() * tensor.element_size() for tensor in (*gradients, *moments))
        optimizer.zero_grad()
        return held

    return step


def classifier(base: Path, overrides: list[str]) -> nn.Module:
    """A classifier on the folder's encoder, as fine-tuning starts with it, in training mode."""
    from adapt.adapters import stage
    from adapt.models import loading

    torch.manual_seed(0)
    model = loading.new_classifier(base, labels=LABELS, pooling="mean", dropout=0.1)
    stage.begin(model, option(overrides), base.parent / "out")
    return model.train()


def option(overrides: list[str]) -> PeftConfig:
    """An option of conf/peft, for the layers of RoBERTa."""
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore

    from adapt.checks.run import check_values

    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return check_values(compose("config", overrides=["model=roberta-base", *overrides])).peft


def write_base(folder: Path) -> Path:
    """Write a model of RoBERTa-base's shape with random weights."""
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def random_batch(rows: int, length: int) -> dict[str, Tensor]:
    """Sequences of random tokens with random labels."""
    drawn = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 50265, (rows, length), generator=drawn)
    labels = torch.randint(0, len(LABELS), (rows,), generator=drawn)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
