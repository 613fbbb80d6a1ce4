"""Evaluation without dropout: scores on dev, test and the clean test examples, and accuracy under attack on test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import EvaluateConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.splits import REPORTED
from adapt.models import loading
from adapt.stages.leaks import clean_ids
from adapt.stages.robustness import attacked
from adapt.tasks.kinds import KINDS
from adapt.text_attacks.measure import text_attacks
from adapt.training import loop

KEY_NAME = "stages.evaluate"
VERSION = 3


def evaluate(
    cfg: EvaluateConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, max_length: int
) -> list[dict[str, Any]]:
    """Measure ``inputs["model"]`` (a fine-tuned folder) on ``inputs["task"]``; write its answers into ``out``.

    ``inputs["leaks"]`` lists the clean test examples (adapt/stages/leaks.py), which are scored as ``test_clean``.
    """
    task = tasks.load_task(inputs["task"])
    tokenizer = loading.load_tokenizer(inputs["model"])
    kind = KINDS[task.kind]
    model, _ = kind.load(inputs["model"])
    device = loop.device(runtime)
    model.to(device).eval()
    rows = []
    for split in task.measured:
        data = kind.split(tokenizer, task, split, max_length)
        answers = data.predict(model, cfg.batch_size, device)
        rows += data.measure(answers, clean_ids(inputs["leaks"], split) if split in REPORTED else None)
        data.write(answers, out)
    if cfg.attack is not None:
        rows += attacked(
            cfg.attack, model, tokenizer, task, batch_size=cfg.batch_size, max_length=max_length, device=device,
            out=out, runtime=runtime,
        )  # fmt: skip
    if cfg.text is not None:
        rows += text_attacks(
            cfg.text,
            task,
            model,
            tokenizer,
            inputs.get("masked_lm"),
            out,
            max_length=max_length,
            batch_size=cfg.batch_size,
            device=device,
            progress=runtime.progress,
        )
    return rows
