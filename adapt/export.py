"""A fine-tuned model as one transformers folder: ``python -m adapt.export <run_id or folder> <new folder>``.

Its adapters are folded into the base (``--kind merged``, the default), and then its layers may be put into 8 or 4 bits
(``int8``, ``nf4``; bitsandbytes). What that costs is printed as rows: the task's scores on dev
and test, before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from adapt.config import ConfigError

KINDS = ("merged", "int8", "nf4")
MEASURES = "export.jsonl"  # in the exported folder
MORE = """
Rows have the measurement columns of the results table, and "export": none (the model as it was) or the kind. They are
also kept in export.jsonl in the new folder. Of a run its task is measured; of a folder only with --task. Methods that
change no weight of the base (prompts, prefixes, bottlenecks, llama_adapter) cannot be folded into it, and are refused:
python -m adapt.predict --export copies them as they are, and python -m adapt.serving serves them.
The folder is read by adapt.predict and adapt.models, and by transformers' from_pretrained; 8 and 4 bits also need
bitsandbytes there.

examples:
  python -m adapt.export 1f3a9c exported/topic
  python -m adapt.export 1f3a9c exported/topic_nf4 --kind nf4
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m adapt.export", description=(__doc__ or "").strip(), epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("model", help="a run id (see the table), or a folder with a fine-tuned model")
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument(
        "--kind", choices=KINDS, default="merged", help="merged (default), or merged and then 8 or 4 bits"
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--task", type=Path, help="the task stage's folder to measure on (default: that of the run)")
    parser.add_argument("--batch-size", type=int, default=64, help="examples a pass while measuring (default: 64)")
    args = parser.parse_args(arguments)
    try:
        from adapt.predict import finetuned_folder

        folder = finetuned_folder(args.model, args.root)
        export(folder, args.target, args.kind)
        task, max_length = args.task, None
        run: dict[str, Any] = {}
        if task is None and folder != Path(args.model):
            task, max_length, run = task_of(args.model, args.root)
        if task is None:
            print("not measured: of a folder the task is not known; give --task", file=sys.stderr)
            return
        rows = [run | row for row in measures(folder, args.target, args.kind, task, max_length, args.batch_size)]
    except ConfigError as error:
        sys.exit(f"error: {error}")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (args.target / MEASURES).write_text(lines)
    print(lines, end="")


def export(folder: Path, target: Path, kind: str) -> None:
    """Write the folder's model, whole, into a new folder. Raises ConfigError where it cannot be folded or quantised."""
    from adapt import models
    from adapt.adapters import quantization, stage
    from adapt.token_classifier import load_tagger

    if kind not in KINDS:
        raise ConfigError(f"--kind={kind}: possible are {', '.join(KINDS)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: it is there, and is no empty folder")
    note = json.loads((folder / models.HEAD_NOTE).read_text())
    quantization.check("export", None if kind == "merged" else kind)
    model, labels = load_tagger(folder) if note.get("kind") == "tagging" else models.load_classifier(folder)
    try:
        stage.merge(model.model)
    except ConfigError as error:
        raise ConfigError(
            f"{folder}: its adapter changes no weight of the base, so that it cannot be folded into it; possible are "
            "python -m adapt.predict --export, which copies it as it is, and python -m adapt.serving"
        ) from error
    model.model.adaptation = None  # type: ignore[assignment]
    tokenizer = models.load_tokenizer(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:  # so that a kill leaves no part of a model in target
        if kind != "merged":
            model.model.save_pretrained(f"{work}/merged")
            model.model = in_bits(Path(work) / "merged", model.model, kind)
        model.save(Path(work) / "whole", tokenizer, labels)
        os.replace(Path(work) / "whole", target)


def in_bits(merged: Path, network: Any, kind: str) -> Any:
    """The network of a folder with the linear layers of its stack in 8 or 4 bits, as transformers does and keeps it.

    What is outside the stack stays: embeddings, their projections, poolers, heads.
    """
    import torch
    from torch import nn
    from transformers import BitsAndBytesConfig

    from adapt import models
    from adapt.adapters import bits

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
    kept = [name for name in linear if name not in inside]
    quantized = type(network).from_pretrained(
        merged, quantization_config=BitsAndBytesConfig(**settings, llm_int8_skip_modules=kept), **models.safe_loading()
    )
    return models.without_pooler(quantized) if quantized.base_model is quantized else quantized


def task_of(run: str, root: Path) -> tuple[Path, int, dict[str, str]]:
    """A run's task, the tokens at which texts are cut, and the whole id. Raises ConfigError where it was removed."""
    from adapt import results
    from adapt.store import MANIFEST

    (record,) = (path for path in (root / "runs").glob("*.json") if path.stem.startswith(run))
    config = json.loads(record.read_text())["config"]
    evaluation = json.loads((results.evaluation(root, record.stem) / MANIFEST).read_text())
    for manifest in sorted((root / "store" / "task").glob(f"*/{MANIFEST}")):
        if json.loads(manifest.read_text())["content"] == evaluation["inputs"]["task"]:
            return manifest.parent, int(config["finetune.max_length"]), {"run_id": record.stem}
    raise ConfigError(f"run {run}: its task was removed from {root / 'store' / 'task'}; run it again")


def measures(
    folder: Path, exported: Path, kind: str, task_folder: Path, max_length: int | None, batch_size: int
) -> list[dict[str, Any]]:
    """The rows of both models on dev and test, and the bytes of their weights."""
    from adapt import models
    from adapt.data import tasks
    from adapt.measurement import measurement
    from adapt.predict import longest_input
    from adapt.stages.kinds import KINDS as TASK_KINDS

    try:
        task = tasks.load_task(task_folder)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--task={task_folder}: no folder of a task stage ({error})") from error
    note = json.loads((folder / models.HEAD_NOTE).read_text())
    if note.get("kind", "classification") != task.kind or note["labels"] != task.labels:
        raise ConfigError(f"--task={task_folder}: has other labels than the model, {', '.join(note['labels'][:5])} ...")
    rows = []
    for name, place in (("none", folder), (kind, exported)):
        model = TASK_KINDS[task.kind].load(place).eval()
        tokenizer = models.load_tokenizer(place)
        for split in ("dev", "test"):
            length = max_length or longest_input(model.encoder.config)
            data = TASK_KINDS[task.kind].split(tokenizer, task, split, length)
            rows += [{**row, "export": name} for row in data.measure(data.predict(model, batch_size, model.device))]
        size = sum(file.stat().st_size for file in place.rglob("*.safetensors"))
        rows.append({**measurement("train", "checkpoint_bytes", size), "export": name})
    return rows


if __name__ == "__main__":
    main()
