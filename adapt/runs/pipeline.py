"""Run a chain of stages over the store: build what is missing, reuse what is there, write the run's rows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapt import results
from adapt.chain.compose import chain_of
from adapt.chain.stage import Source, Stage
from adapt.chain.text import pretraining_sources
from adapt.config import Config, RuntimeConfig, TaskConfig
from adapt.runs.answers import answers
from adapt.runs.labels import adaptation, labelled, picked, prefix, pretrain_label, science, task_label
from adapt.store import keys, provenance
from adapt.store.entries import Entry, Store
from adapt.store.keys import digest, key_of
from adapt.store.sources import FileHashes
from adapt.table import samples

log = logging.getLogger(__name__)
Call = Callable[[Stage, dict[str, Path], Path, RuntimeConfig], list[dict[str, Any]]]


class Pipeline:
    """The stages of one run over one store.

    call(stage, inputs, folder, runtime): builds a stage into a folder and returns its rows; by default here and now.
    """

    def __init__(self, cfg: Config, named_task: Callable[[str], TaskConfig], call: Call = Stage.call) -> None:
        self.cfg = cfg
        self.call = call
        root = Path(cfg.runtime.root) / "store"
        self.store = Store(root)
        self.stages = chain_of(cfg, named_task, FileHashes(root / "file_hashes.json"))
        self._keys: dict[int, str] = {}  # by id(stage): a key never changes within a run

    def key(self, stage: Stage) -> str:
        """The stage's key. Builds the data stages it depends on, because it needs the hash of their output."""
        if id(stage) not in self._keys:
            inputs = {name: self.identity(given) for name, given in stage.inputs.items()}
            versions = dict(keys.source_version(module) for module in stage.modules)
            self._keys[id(stage)] = key_of(stage.kind, versions, stage.config, inputs)
        return self._keys[id(stage)]

    def known_key(self, stage: Stage) -> str | None:
        """The stage's key if everything that it needs for it is built."""
        if id(stage) in self._keys:
            return self._keys[id(stage)]
        for given in stage.inputs.values():
            if isinstance(given, Stage):
                key = self.known_key(given)
                if key is None or (given.by_content and self.store.find(given.kind, key) is None):
                    return None
        return self.key(stage)

    def finished(self) -> bool:
        """Whether the run's last stage is in the store. Builds nothing."""
        last = self.stages[-1]
        key = self.known_key(last)
        return key is not None and self.store.find(last.kind, key) is not None

    def identity(self, given: Stage | Source) -> str:
        """What a child's key knows an input by: its content's hash (sources; data stages, built for it) or its key."""
        if isinstance(given, Source):
            return given.content
        return self.build(given).content if given.by_content else self.key(given)

    def build(self, stage: Stage) -> Entry:
        """The stage's entry; where it is missing, it is built after its inputs."""
        key = self.key(stage)
        found = self.store.find(stage.kind, key)
        if found is not None:
            return found
        inputs = {
            name: given.folder if isinstance(given, Source) else self.build(given).folder
            for name, given in stage.inputs.items()
        }

        def make(folder: Path) -> dict[str, Any]:
            log.info("%s: %s", stage.label, folder.name.strip(".").partition(".")[0][:8])
            device, threads = prepare_process(self.cfg.runtime)
            rows = self.call(stage, inputs, folder, self.cfg.runtime)
            sharing = self.cfg.runtime.processes if stage.trains else 1
            notes = {"rows": rows, "provenance": provenance.provenance(device, threads, sharing)}
            return {**notes, "ancestors": self.ancestors(stage, {})} if stage is self.stages[-1] else notes

        identity = {
            "config": stage.config,
            "inputs": {name: self.identity(given) for name, given in stage.inputs.items()},
        }
        return self.store.get_or_build(stage.kind, key, identity, make)

    def ancestors(self, stage: Stage, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """What a run's rows need of the stages before its evaluation: their rows and whether their tree was dirty.

        known: by key, what an evaluation noted of the stages that led to it when it was built. Those need not be there
        any more. A stage that it does not know is data that gave the same text in another way, and is in the store.
        """
        found: dict[str, dict[str, Any]] = {}
        for given in stage.inputs.values():
            if isinstance(given, Stage):
                found |= {one["key"]: one for one in self.ancestors(given, known)}
                key = self.key(given)
                noted = known[key] if key in known else picked(self.build(given))
                found[key] = {**noted, "kind": given.kind, "prefix": prefix(given), "key": key}
        return list(found.values())  # what two stages are made from counts once

    def run(self) -> str:
        """Build the whole chain, write its rows, return its run id."""
        if not self.finished():
            self.check_model()
        last = self.stages[-1]
        entry = self.build(last)
        made_from = self.ancestors(last, {one["key"]: one for one in entry.manifest["ancestors"]})
        rows = [row for stage in made_from for row in labelled(stage)] + entry.manifest["rows"]
        run_id = self.run_id()
        self.keep_predictions(run_id, entry.folder)
        self.keep_samples(run_id)
        results.write(
            Path(self.cfg.runtime.root),
            run_id,
            evaluation=entry.folder.name,
            measurements=rows,
            factors=self.factors(),
            config=science(self.cfg),
            provenance={
                **entry.manifest["provenance"],
                "dirty": entry.manifest["provenance"]["dirty"] or any(stage["dirty"] for stage in made_from),
                "processes": max(stage["processes"] for stage in made_from),
            },
            experiment=self.cfg.experiment,
        )
        return run_id

    def keep_predictions(self, run_id: str, evaluation: Path) -> None:
        """Write the run's answers, unless they are there; before its rows, which say that it is done."""
        root = Path(self.cfg.runtime.root)
        if not results.has_predictions(root, run_id):
            task, leaks = (self.stages[-1].inputs[name] for name in ("task", "leaks"))
            assert isinstance(task, Stage) and isinstance(leaks, Stage)
            clean = json.loads((self.build(leaks).folder / "clean.json").read_text(encoding="utf-8"))["test"]
            table = answers(evaluation, self.build(task).folder, clean, self.cfg.evaluate.attack)
            results.write_predictions(root, run_id, table)

    def keep_samples(self, run_id: str) -> None:
        """Write what the run's language model wrote, where it was asked to, unless it is there; before its rows."""
        root, written = Path(self.cfg.runtime.root), self.stages[-1].inputs.get("samples")
        if isinstance(written, Stage) and not samples.exists(root, run_id):
            samples.write(root, run_id, (self.build(written).folder / "samples.jsonl").read_text("utf-8"))

    def run_id(self) -> str:
        """What tells the run from every other one: its evaluation, and the chain that was asked for.

        Two chains may come to the same text (neighbours and as many documents at random, where both are the whole
        corpus). They share every stage after it, and are two arms of a study all the same, each under its own name.
        """
        return digest({"evaluation": self.key(self.stages[-1]), "chain": pretrain_label(self.cfg, self.stages)})[:32]

    def check_model(self) -> None:
        """Refuse a model that cannot do what its chain asks, before the first stage trains. Imports torch."""
        source = self.stages[0].inputs.get("model")
        while isinstance(source, Stage):  # of a vocabulary
            source = source.inputs.get("model")
        if source is not None:
            from adapt.checks.models import check_model

            check_model(self.cfg, source.folder)

    def factors(self) -> dict[str, Any]:
        """The short names that label a run in the table."""
        cfg = self.cfg
        adapted = adaptation(self.stages)
        read = pretraining_sources(cfg)
        corpora = [getattr(cfg, name).name for name in ("corpus", "general") if name in read]
        return {
            "model": f"hf:{Path(cfg.model.path or '').name}" if cfg.model.name == "hf" else cfg.model.name,
            "corpus": "+".join(corpora) or None,
            "task": task_label(cfg.task),
            "pretrain": pretrain_label(cfg, self.stages),
            "peft": cfg.peft.name if cfg.peft.method is not None else None,  # none, as before there were methods
            "adversary": cfg.adversary.name,
            "budget": cfg.budget.name,
            "seed": cfg.seed,
            "adversary_epsilon": cfg.adversary.ball.epsilon if cfg.adversary.ball else None,
            "adversary_steps": cfg.adversary.method.get("num_steps"),
            "adaptation": self.key(adapted[-1])[:32] if adapted else None,
            "adaptation_seed": "+".join(str(stage.config["seed"]) for stage in adapted) or None,
        }


def prepare_process(runtime: RuntimeConfig) -> tuple[str, int]:
    """Set what torch works with in this process; returns the device's name and the thread count."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    import torch

    threads = provenance.usable_threads(runtime.threads)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # of the tokenizers, which read it when they first work
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(runtime.deterministic)
    torch.backends.cudnn.benchmark = False  # which algorithm is the fastest is not the same each time
    if runtime.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name(), threads
    return "cpu", threads
