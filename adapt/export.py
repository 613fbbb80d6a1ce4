"""A fine-tuned model as one transformers folder: ``adapt export <run_id or folder> <new folder>``.

Its adapters are merged into the base (``--kind merged``, the default). With ``int8`` or ``nf4`` its linear layers are
then quantised to 8 or 4 bits (bitsandbytes). The task's scores on dev and test are printed as rows, before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt.config import ConfigError
from adapt.store.entries import write_sums

if TYPE_CHECKING:
    from adapt.data.tasks import Task

KINDS = ("merged", "int8", "nf4")
MEASURES = "export.jsonl"  # in the exported folder
MORE = """
Each row has the measurement columns of the results table and "export": none (the model as it was) or the kind. Rows of
a run also have its id and factors (task, model, peft, seed ...). The rows are also written to export.jsonl in the new
folder.
A run is measured on its own task, a folder only with --task. Methods that change no weight of the base (prompts,
prefixes, bottlenecks, llama_adapter) cannot be merged and are refused: adapt predict --export copies such a model as it
is, and adapt serve serves it.
adapt predict, adapt.models and transformers' from_pretrained can open the folder; 8 and 4 bits need bitsandbytes there.

examples:
  adapt export 1f3a9c exported/topic
  adapt export 1f3a9c exported/topic_nf4 --kind nf4
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt export", description=(__doc__ or "").strip(), epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("model", help="a run id (see the table), or a folder with a fine-tuned model")
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument(
        "--kind", choices=KINDS, default="merged", help="merged (default), or merged and then quantised to 8 or 4 bits"
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--task", type=Path, help="the folder of a task stage, to measure on (default: the run's task)")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="examples per forward pass when measuring (default: 64)"
    )
    args = parser.parse_args(arguments)
    try:
        from adapt.runs.finetuned import finetuned_folder

        folder = finetuned_folder(args.model, args.root)
        run: dict[str, Any] = {}
        place, max_length = args.task, None
        if place is None and folder != Path(args.model):
            place, max_length, run = task_of(args.model, args.root)
        task = None if place is None else load_task(place, folder)
        if task is None:
            print("not measured: the task of a folder is not known; give --task", file=sys.stderr)

        def measured(exported: Path) -> str:
            rows = [] if task is None else measures(folder, exported, args.kind, task, max_length, args.batch_size)
            return "".join(json.dumps(run | row) + "\n" for row in rows)

        print(export(folder, args.target, args.kind, measured), end="")
    except ConfigError as error:
        sys.exit(f"error: {error}")


def export(folder: Path, target: Path, kind: str, measured: Callable[[Path], str] = lambda exported: "") -> str:
    """Write the folder's model, with the rows that ``measured`` returns for it, into a new folder: whole or not at all.

    Returns these rows. Raises ConfigError where the model cannot be merged or quantised.
    """
    if kind not in KINDS:
        raise ConfigError(f"--kind={kind}: possible are {', '.join(KINDS)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: exists already, and is not an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:  # so that a kill leaves no part of a model in target
        whole = Path(work) / "whole"
        write(folder, whole, kind)
        lines = measured(whole)
        if lines:
            (whole / MEASURES).write_text(lines)
        write_sums(whole)
        os.replace(whole, target)
    return lines


def write(folder: Path, whole: Path, kind: str) -> None:
    """Write the exported model into ``whole``. Before quantisation it is saved merged in a folder beside ``whole``."""
    from adapt.adapters import quantization, stage
    from adapt.models import loading
    from adapt.runs.finetuned import head_note, kind_of
    from adapt.tasks.kinds import KINDS as TASK_KINDS

    note = head_note(folder)
    quantization.check("export", None if kind == "merged" else kind)
    model, labels = TASK_KINDS[kind_of(note)].load(folder)
    try:
        stage.merge(model.model)
    except ConfigError as error:
        raise ConfigError(
            f"{folder}: its adapter changes no weight of the base, so it cannot be merged; possible are "
            "adapt predict --export, which copies it as it is, and adapt serve"
        ) from error
    model.model.adaptation = None  # type: ignore[assignment]
    if kind != "merged":
        merged = whole.with_name("merged")
        model.model.save_pretrained(merged)
        model.model = in_bits(merged, model.model, kind)
    model.save(whole, loading.load_tokenizer(folder), labels, max_length=note.get("max_length"))


def in_bits(merged: Path, network: Any, kind: str) -> Any:
    """The network in the folder ``merged``, the linear layers of its blocks in 8 or 4 bits by transformers.

    Modules outside the blocks keep their precision: embeddings, their projections, poolers, heads.
    """
    import torch
    from torch import nn
    from transformers import BitsAndBytesConfig

    from adapt.adapters import bits
    from adapt.models import loading, weights

    inside = bits.linear_layers(network)
    if not inside:
        raise ConfigError(f"--kind={kind}: a {network.config.model_type} has no nn.Linear in its layers to quantise")
    settings: dict[str, Any] = {"load_in_8bit": True}
    if kind == "nf4":
        settings = {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": torch.bfloat16,
        }  # fmt: skip
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    outside = [name for name in linear if name not in inside]
    quantized = type(network).from_pretrained(
        merged,
        quantization_config=BitsAndBytesConfig(**settings, llm_int8_skip_modules=outside),
        **weights.safe_loading(),
    )
    return loading.without_pooler(quantized) if quantized.base_model is quantized else quantized


def task_of(run: str, root: Path) -> tuple[Path, int, dict[str, Any]]:
    """The folder of a run's task, its token limit, and its columns in rows: the whole run id and the factors.

    Raises ConfigError where the task was removed.
    """
    from adapt import results
    from adapt.store.entries import MANIFEST

    (file,) = (path for path in (root / "runs").glob("*.json") if path.stem.startswith(run))
    record = json.loads(file.read_text())
    evaluation = json.loads((results.evaluation(root, file.stem) / MANIFEST).read_text())
    for manifest in sorted((root / "store" / "task").glob(f"*/{MANIFEST}")):
        if json.loads(manifest.read_text())["content"] == evaluation["inputs"]["task"]:
            factors = {"run_id": file.stem, **record["factors"]}
            return manifest.parent, int(record["config"]["finetune.max_length"]), factors
    raise ConfigError(f"run {run}: its task was removed from {root / 'store' / 'task'}; run it again, or give --task")


def load_task(place: Path, folder: Path) -> Task:
    """The task to measure on. Raises ConfigError where there is none, or its kind or labels are not the model's."""
    from adapt.data import tasks
    from adapt.runs.finetuned import head_note, kind_of

    try:
        task = tasks.load_task(place)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--task={place}: no folder of a task stage ({error})") from error
    note = head_note(folder)
    if kind_of(note) != task.kind or note["labels"] != task.labels:
        raise ConfigError(f"--task={place}: has other labels than the model, {', '.join(note['labels'][:5])} ...")
    return task


def measures(
    folder: Path, exported: Path, kind: str, task: Task, max_length: int | None, batch_size: int
) -> list[dict[str, Any]]:
    """The rows of both models: scores on dev and test, and the bytes of the weights."""
    from adapt.models import loading
    from adapt.runs.finetuned import head_note, tokens_read
    from adapt.table.measurement import measurement
    from adapt.tasks.kinds import KINDS as TASK_KINDS

    rows = []
    for name, place in (("none", folder), (kind, exported)):
        model = TASK_KINDS[task.kind].load(place)[0].eval()
        tokenizer = loading.load_tokenizer(place)
        for split in task.measured:
            length = max_length or tokens_read(head_note(folder), model.encoder)
            data = TASK_KINDS[task.kind].split(tokenizer, task, split, length)
            rows += [{**row, "export": name} for row in data.measure(data.predict(model, batch_size, model.device))]
        size = sum(file.stat().st_size for file in place.rglob("*.safetensors"))
        rows.append({**measurement("train", "checkpoint_bytes", size), "export": name})
    return rows


if __name__ == "__main__":
    main()
