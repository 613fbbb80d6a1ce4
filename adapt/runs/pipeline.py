"""Run a chain of stages: build those that the store lacks, reuse the others, write the run's rows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from adapt import results
from adapt.chain.compose import chain_of, readings_of
from adapt.chain.stage import Source, Stage
from adapt.chain.text import pretraining_sources
from adapt.config import Config, RuntimeConfig, TaskConfig
from adapt.runs.labels import adaptation, noted, of_stages, prefix, pretrain_label, science, task_label
from adapt.runs.prediction_table import prediction_table
from adapt.runs.texts import heard, read_texts
from adapt.store import code, keys, provenance
from adapt.store.entries import Entry, Store
from adapt.store.keys import digest, key_of
from adapt.store.sources import FileHashes
from adapt.table import samples

log = logging.getLogger(__name__)
Call = Callable[[Stage, dict[str, Path], Path, RuntimeConfig], list[dict[str, Any]]]


class Pipeline:
    """The stages of one run over one store.

    call(stage, inputs, folder, runtime): builds a stage into a folder and returns its rows; by default in this process.
    """

    def __init__(self, cfg: Config, named_task: Callable[[str], TaskConfig], call: Call = Stage.call) -> None:
        self.cfg = cfg
        self.call = call
        root = Path(cfg.runtime.root) / "store"
        self.store = Store(root)
        hashes = FileHashes(root / "file_hashes.json")
        self.stages = chain_of(cfg, named_task, hashes)
        self.readings = readings_of(cfg, self.stages, hashes)
        self._keys: dict[int, str] = {}  # by id(stage); a key does not change within a run

    def key(self, stage: Stage) -> str:
        """The stage's key. Builds the data stages it depends on, because it needs the hash of their output."""
        if id(stage) not in self._keys:
            inputs = {name: self.input_key(given) for name, given in stage.inputs.items()}
            versions = dict(keys.source_version(module) for module in stage.modules)
            self._keys[id(stage)] = key_of(stage.kind, versions, stage.config, inputs)
        return self._keys[id(stage)]

    def known_key(self, stage: Stage) -> str | None:
        """The stage's key; None if it needs the hash of data that is not built yet."""
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

    def input_key(self, given: Stage | Source) -> str:
        """What an input adds to a key: the hash of its content (a source, or data, which is built) or its key."""
        if isinstance(given, Source):
            return given.content
        return self.build(given).content if given.by_content else self.key(given)

    def build(self, stage: Stage) -> Entry:
        """The stage's entry in the store; if there is none, the inputs are built and then the stage.

        Raises ConfigError for a text of which too much is unknown, also for one that is in the store.
        """
        entry = self.found_or_built(stage)
        heard(self.cfg, stage, entry.manifest["rows"])
        return entry

    def found_or_built(self, stage: Stage) -> Entry:
        """As ``build``, without a word about the stage itself."""
        key = self.key(stage)
        entry = self.store.find(stage.kind, key)
        if entry is not None:
            return entry
        inputs = {
            name: given.folder if isinstance(given, Source) else self.build(given).folder
            for name, given in stage.inputs.items()
        }

        def make(folder: Path) -> dict[str, Any]:
            log.info("%s: %s", stage.label, folder.name.strip(".").partition(".")[0][:8])
            device, threads = prepare_process(self.cfg.runtime)
            sources = code.state(stage.modules)
            rows = self.call(stage, inputs, folder, self.cfg.runtime)
            sharing = self.cfg.runtime.processes if stage.trains else 1
            made = provenance.provenance(device, threads, sharing) | code.kept(Path(self.cfg.runtime.root), sources)
            manifest = {"rows": rows, "provenance": made}
            return {**manifest, "ancestors": self.ancestors(stage, {})} if stage is self.stages[-1] else manifest

        made_from = {
            "config": stage.config,
            "inputs": {name: self.input_key(given) for name, given in stage.inputs.items()},
        }
        return self.store.get_or_build(stage.kind, key, made_from, make)

    def provenance(self, evaluation: Entry, made_from: list[dict[str, Any]]) -> dict[str, Any]:
        """The evaluation's provenance, with the sources of the user's own packages among the versions.

        The run is dirty if one of its stages is, unless a commit that was made since holds their sources.
        """
        made = {name: value for name, value in evaluation.manifest["provenance"].items() if name != "code"}
        dirty = dirty_states([*made_from, noted(evaluation)])
        commit = code.committed(Path(self.cfg.runtime.root), dirty) if dirty else made["commit"]
        return made | {
            "commit": commit or made["commit"],
            "dirty": commit is None,
            "versions": "; ".join([made["versions"], *code.of_user(self.modules())]),
            "processes": max(stage["processes"] for stage in made_from),
        }

    def shared(self) -> list[str]:
        """The labels of the stages that are in the store already, as far as their keys are known before building."""
        keyed = [(stage, self.known_key(stage)) for stage in self.stages]
        return [stage.label for stage, key in keyed if key is not None and self.store.find(stage.kind, key) is not None]

    def modules(self) -> list[str]:
        """The dotted names of the sources of all stages."""
        return sorted({module for stage in self.stages for module in stage.modules})

    def ancestors(self, stage: Stage, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, dirty flags, states and process counts of the stages before an evaluation, each stage once.

        known: the same of the earlier stages, by key, as the evaluation's manifest recorded them; gc may have removed
        those stages. A stage that is missing here is a data stage of another key whose text was the same; it is in the
        store.
        """
        by_key: dict[str, dict[str, Any]] = {}
        for given in stage.inputs.values():
            if isinstance(given, Stage):
                by_key |= {one["key"]: one for one in self.ancestors(given, known)}
                key = self.key(given)
                recorded = known[key] if key in known else noted(self.build(given))
                by_key[key] = {**recorded, "kind": given.kind, "prefix": prefix(given), "key": key}
        return list(by_key.values())

    def run(self) -> str:
        """Build the whole chain, write its rows, return its run id."""
        if not self.finished():
            warn_of_code(tuple(code.differing(code.state(self.modules()))))
            if shared := self.shared():
                log.info("shared with earlier runs: %s", ", ".join(shared))
            self.check_model()
        last = self.stages[-1]
        read, places = read_texts(self.cfg, last, self.readings, self.build)
        entry = self.build(last)
        made_from = self.ancestors(last, {one["key"]: one for one in entry.manifest["ancestors"]})
        rows = of_stages(made_from) + entry.manifest["rows"] + read
        run_id = self.run_id()
        self.write_predictions(run_id, entry.folder)
        self.write_samples(run_id)
        results.write(
            Path(self.cfg.runtime.root),
            run_id,
            evaluation=entry.folder.name,
            readings=places,
            measurements=rows,
            factors=self.factors(),
            config=science(self.cfg),
            provenance=self.provenance(entry, made_from),
            code=dirty_states([*made_from, noted(entry)]),
            experiment=self.cfg.experiment,
        )
        return run_id

    def write_predictions(self, run_id: str, evaluation: Path) -> None:
        """Write the run's predictions if they are missing; before its rows, which mark the run as done."""
        root = Path(self.cfg.runtime.root)
        if not results.has_predictions(root, run_id):
            task, leaks = (self.stages[-1].inputs[name] for name in ("task", "leaks"))
            assert isinstance(task, Stage) and isinstance(leaks, Stage)
            clean = json.loads((self.build(leaks).folder / "clean.json").read_text(encoding="utf-8"))["test"]
            table = prediction_table(evaluation, self.build(task).folder, clean, self.cfg.evaluate.attack)
            results.write_predictions(root, run_id, table)

    def write_samples(self, run_id: str) -> None:
        """Write the texts that the run's language model generated, if it did and they are missing; before its rows."""
        root, written = Path(self.cfg.runtime.root), self.stages[-1].inputs.get("samples")
        if isinstance(written, Stage) and not samples.exists(root, run_id):
            samples.write(root, run_id, (self.build(written).folder / "samples.jsonl").read_text("utf-8"))

    def run_id(self) -> str:
        """A hash of the run's evaluation and of the name of its chain.

        Two chains may select the same text: 50 neighbours and as many random documents, where both are the whole
        corpus. They then share every later stage, but they are two arms of a study and need two ids.
        """
        return digest({"evaluation": self.key(self.stages[-1]), "chain": pretrain_label(self.cfg, self.stages)})[:32]

    def check_model(self) -> None:
        """Refuse a model that cannot do what its chain needs, before the first stage is trained. Imports torch."""
        source = self.stages[0].inputs.get("model")
        while isinstance(source, Stage):  # where the first stage adds tokens
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
            "peft": cfg.peft.name if cfg.peft.method is not None else None,  # None, as in the oldest rows
            "adversary": cfg.adversary.name,
            "budget": cfg.budget.name,
            "seed": cfg.seed,
            "adversary_epsilon": cfg.adversary.ball.epsilon if cfg.adversary.ball else None,
            "adversary_steps": cfg.adversary.method.get("num_steps"),
            "adaptation": self.key(adapted[-1])[:32] if adapted else None,
            "adaptation_seed": "+".join(str(stage.config["seed"]) for stage in adapted) or None,
        }


def dirty_states(stages: list[dict[str, Any]]) -> list[str | None]:
    """The states of the dirty ones among these stages, each once; None for a stage of older code, which kept none."""
    return list(dict.fromkeys(stage.get("code") for stage in stages if stage["dirty"]))


@cache
def warn_of_code(differing: tuple[str, ...]) -> None:
    """Log once in this process that these sources are in no commit, so that rows of theirs cannot be frozen yet."""
    if differing and provenance.commit_and_dirty()[0] == provenance.UNKNOWN:
        log.warning("the rows cannot be frozen: adapt is neither in a git checkout nor installed as a release")
    elif differing:
        names = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
        log.warning(
            "the rows can be frozen (adapt table) only when a commit holds these sources as they are now: %s. "
            "Commit them before or after the run; nothing is trained again", names
        )  # fmt: skip


def prepare_process(runtime: RuntimeConfig) -> tuple[str, int]:
    """Set up torch in this process: threads, determinism. Returns the device's name and the thread count."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    import torch

    threads = provenance.usable_threads(runtime.threads)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizers read this when they are first used
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(runtime.deterministic)
    torch.backends.cudnn.benchmark = False  # it would pick the fastest algorithm, not the same one each time
    if runtime.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name(), threads
    return "cpu", threads
