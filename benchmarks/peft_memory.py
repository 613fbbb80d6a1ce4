"""LoRA against training all weights, of RoBERTa-base's shape with random weights: gradients, optimizer state, time of a
step; and what the passes keep for the backward pass where only the top of the model is trained.

Times are those of rounds in which the two take turns. What passes keep is counted tensor by tensor, and beside it
stands the peak resident memory of a process of its own (VmHWM, reset by /proc/self/clear_refs: Linux alone).
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
KEPT = {  # name: overrides, whether an adversary asks for the gradient at the embeddings
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
    """Bytes of gradients and of AdamW's state, and the time of a step; full and LoRA in one process, by turns."""
    steps = {name: step_of(base, [f"peft={name}"]) for name in ("full", "lora")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    state: dict[str, int] = {}
    for number in range(ROUNDS + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            state[name] = step()
            if number:  # the first makes the optimizer's state
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
    """What each way to train keeps for its backward pass and the process's peak in the passes."""
    found = {name: child(base, name) for name in KEPT}
    whole = found["LoRA, all layers"]
    return [
        f"kept for the backward pass, {name}: {one['kept'] / 1e6:.1f} MB, {one['kept'] / whole['kept']:.0%} of LoRA on "
        f"all layers; peak of the passes {one['peak'] / 1e6:.0f} MB, {one['peak'] / whole['peak']:.0%}"
        for name, one in found.items()
    ]


def child(base: Path, name: str) -> dict[str, float]:
    """What a fresh process measures of one entry of KEPT."""
    command = [sys.executable, "-m", "benchmarks.peft_memory", str(base), name, str(torch.get_num_threads())]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(found.stdout.splitlines()[-1])


def measure(base: Path, name: str) -> dict[str, float]:
    """Bytes kept for the backward pass, and the peak that both passes add to what weights and gradients take."""
    from adapt.training.costs import forget_peak, peak_resident_bytes

    overrides, attacked = KEPT[name]
    model, batch = classifier(base, overrides), random_batch(ROWS, LENGTH)
    passes = partial(with_delta if attacked else plain, model)
    passes(random_batch(1, 8)).backward()  # now all gradients exist
    forget_peak()
    before = peak_resident_bytes()
    passes(batch).backward()
    peak = peak_resident_bytes() - before
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = passes(batch)
    del loss
    return {"kept": sum(kept.values()), "peak": max(peak, 1)}


def plain(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy."""
    return cross_entropy(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])


def with_delta(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The same at a delta of zeros that wants its gradient, as an adversary asks."""
    embedding = find_embedding(model, batch["input_ids"], lambda: plain(model, batch))
    delta = torch.zeros(*batch["input_ids"].shape, embedding.embedding_dim, requires_grad=True)
    with perturbed(embedding, delta, batch["attention_mask"].unsqueeze(-1)):
        return plain(model, batch)


def step_of(base: Path, overrides: list[str]) -> Callable[[], int]:
    """A training step with AdamW, which returns the bytes of gradients and of the optimizer's state."""
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
    """A classifier on the folder's encoder as fine-tuning begins with it, in training mode."""
    from adapt.adapters import stage
    from adapt.models import loading

    torch.manual_seed(0)
    model = loading.new_classifier(base, labels=LABELS, pooling="mean", dropout=0.1)
    stage.begin(model, option(overrides), base.parent / "out")
    return model.train()


def option(overrides: list[str]) -> PeftConfig:
    """An option of conf/peft for the layers of RoBERTa."""
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore

    from adapt.checks.run import check_values

    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return check_values(compose("config", overrides=["model=roberta-base", *overrides])).peft


def write_base(folder: Path) -> Path:
    """RoBERTa-base's shape with random weights."""
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
