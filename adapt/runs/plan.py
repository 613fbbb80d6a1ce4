"""The dry run: the stages of a run, which of them the store holds, and roughly how long the others would take."""

from __future__ import annotations

import json
import statistics
import struct
from pathlib import Path
from typing import Any

from adapt.chain.stage import Source, Stage, ordered, without
from adapt.runs.pipeline import Pipeline
from adapt.store.entries import MANIFEST, Store

FLOPS_A_SECOND = 3e10  # a guess for one core; used until the store has built such a stage
UNKNOWN = 20.0  # seconds for a stage of a kind that was never built and whose amount of work is not known


def describe(pipeline: Pipeline) -> str:
    """One line per stage: state, key, estimated seconds; then one per text, as far as a look at it tells.

    Builds nothing; a key that needs unbuilt data is unknown.
    """
    lines, total, seen = ["The chain, from its first stage to its last:"], 0.0, set()
    for stage in ordered(pipeline.stages[-1]):
        key = pipeline.known_key(stage)
        if (stage.kind, key or stage.label) in seen:
            continue
        seen.add((stage.kind, key or stage.label))
        ready = key is not None and pipeline.store.find(stage.kind, key) is not None
        seconds = 0.0 if ready else estimate(pipeline, stage)
        total += seconds
        state = "in the store" if ready else f"to build, about {seconds:,.0f} s"
        lines.append(f"  {stage.kind:<10} {stage.label:<24} {key[:12] if key else 'key unknown':<13} {state}")
    from adapt.runs.foreseen import foreseen  # only now: the tokenizer needs transformers

    def built(stage: Stage) -> Path | None:
        key = pipeline.known_key(stage)
        entry = pipeline.store.find(stage.kind, key) if key is not None else None
        return entry.folder if entry is not None else None

    lines += foreseen(pipeline.cfg, pipeline.stages[-1], built)
    return "\n".join([*lines, f"Nothing was trained. The missing stages would take about {total / 60:.1f} minutes."])


def estimate(pipeline: Pipeline, stage: Stage) -> float:
    """Seconds: the median of similar stages in the store; else 6 x parameters x tokens (Kaplan et al., 2020, 2.1)."""
    similar = without(stage.config, "seed", "steps") if stage.role in ("adapts", "finetunes") else {}
    past = seconds_of(pipeline.store, stage.kind, similar)
    if past:
        return statistics.median(past)
    return 6 * parameters(stage) * stage.work / FLOPS_A_SECOND if stage.work else UNKNOWN


def seconds_of(store: Store, kind: str, config: dict[str, Any]) -> list[float]:
    """The seconds of each stage of this kind whose config has all the values of ``config``."""
    seconds = []
    for path in (store.root / kind).glob(f"*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        if all(manifest["config"].get(name) == value for name, value in config.items()):
            seconds.append(manifest["seconds"])
    return seconds


def parameters(stage: Stage) -> int:
    """The number of weights of the chain's base model, from the headers of its files."""
    given: Stage | Source = stage
    while isinstance(given, Stage):
        given = given.inputs["model"]
    return sum(count(file) for file in given.folder.glob("*.safetensors"))


def count(file: Path) -> int:
    """Number of scalar weights in a safetensors file, read from its header only."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    sizes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    total = 0
    for shape in sizes:
        product = 1
        for extent in shape:
            product *= extent
        total += product
    return total
