"""A model's progress during a pretraining stage: its loss on each domain, and a linear probe of the run's task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import DomainsConfig, RuntimeConfig
from adapt.data import tasks
from adapt.models import loading
from adapt.stages.baseline import fit_probe
from adapt.stages.domains import measured
from adapt.table.measurement import measurement
from adapt.training import loop

KEY_NAME = "stages.trajectory"
VERSION = 1


def trajectory(
    cfg: DomainsConfig,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    batch_size: int,
    max_length: int,
) -> list[dict[str, Any]]:
    """Rows for each snapshot in ``inputs["model"]``, the folder of a pretraining stage.

    Splits ``<step>/<text>`` have losses as ``domains`` measures them. Split ``<step>/dev`` has probe_<metric>: logistic
    regression on frozen mean-pooled states, fitted on the task's training split. Its regularisation is chosen on the
    same dev split, so it shows the shape of the curve and is not a score of the model. Only classification tasks have a
    probe.
    """
    task = tasks.load_task(inputs["task"])
    device = loop.device(runtime)
    rows = []
    for step, folder in snapshots(inputs["model"]):
        rows += measured(folder, cfg, inputs, batch_size=batch_size, device=device, split=f"{step}/")
        if not tasks.KINDS[task.kind].classifies:
            continue
        model = loading.new_classifier(folder, labels=task.labels, pooling="mean", dropout=0.0).to(device).eval()
        _, _, score = fit_probe(model, loading.load_tokenizer(folder), task, max_length, device)
        rows.append(measurement(f"{step}/dev", f"probe_{task.metric}", score, n=len(task.splits["dev"])))
    return rows


def snapshots(folder: Path) -> list[tuple[int, Path]]:
    """The snapshots of a pretraining stage by ascending step: the step, and the model folder ``snapshots/step_<n>``."""
    folders = (folder / "snapshots").glob("step_*")
    return sorted((int(path.name.removeprefix("step_")), path) for path in folders)
