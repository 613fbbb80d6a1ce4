"""The command ``adapt``: run a config's chain and print where its rows are; or, with a verb, another command."""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import re
import sys

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from adapt.config import CONF, Config, ConfigError, suggestion
from adapt.project import options as options  # importing it tells Hydra about the project's own conf/
from adapt.project import packages
from adapt.runs import job, progress, summary

VERBS = {  # verb: the module whose ``main`` it calls, and what it does
    "status": ("adapt.status", "how far a sweep or study is, and how long the rest would take"),
    "tune": ("adapt.tune", "search for each arm's best setting on dev"),
    "predict": ("adapt.predict", "a fine-tuned model's answers to texts; --export copies the model"),
    "generate": ("adapt.generate", "what a decoder generates after prompts"),
    "export": ("adapt.export", "a model as one transformers folder: adapters merged, and 8 or 4 bits if asked for"),
    "serve": ("adapt.serving.__main__", "answers of many adapters over one base"),
    "leakage": ("adapt.leakage", "which of a task's dev and test texts occur in its training text or a corpus"),
    "gc": ("adapt.gc", "remove stages that no run needs from the store"),
    "table": ("analysis.tables", "freeze a study's rows and write its tables"),
    "figures": ("analysis.figures.__main__", "draw a study's figures"),
    "report": ("analysis.report.__main__", "write a study's report as one HTML file"),
    "unwrap": ("adapt.unwrap", "write a checkpoint that a wrapper saved (DDP, torch.compile, .bin) as a plain folder"),
    "new": ("adapt.new", "start a study or an adversary of your own"),
}

ConfigStore.instance().store(name="schema", node=Config)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(cfg: DictConfig) -> summary.Finished | None:
    """One job: a run, or its plan under runtime.dry_run."""
    return job.job(cfg)


atexit.register(gc.freeze)  # with torch loaded, the collection at the interpreter's end takes more than a second


def main() -> None:
    """The console script: the command of a verb, or else Hydra's app."""
    try:
        sys.argv[1:] = words = packages.take_flag(sys.argv[1:])
        if words and words[0] in VERBS:
            sys.exit(importlib.import_module(VERBS[words[0]][0]).main(words[1:]))
        if words and re.fullmatch(r"[a-z][\w-]*", words[0]):
            raise ConfigError(f"{words[0]}: no such verb; {suggestion(words[0], VERBS)}; a setting is key=value")
    except ConfigError as error:
        sys.exit(f"error: {error}")
    if {"-h", "--help"} & set(words):
        print(verbs())
    runs()


def verbs() -> str:
    """The verbs, one line each."""
    lines = (f"  {verb:<9} {does}" for verb, (_, does) in VERBS.items())
    return "\n".join(
        [
            "adapt key=value ...      run a chain, a sweep (-m) or a study (experiment=<name>)",
            "adapt <verb> ...         one of these; adapt <verb> --help says more",
            *lines,
            f"{packages.FLAG} NAME,...      packages of your own whose functions a config may name",
            "",
        ]
    )


def runs() -> None:
    """Hydra's app, with every error as one sentence, and a traceback only under HYDRA_FULL_ERROR=1."""
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    logging.raiseExceptions = False  # on a full disk logging fails as well; the error itself is reported
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them itself
    try:
        progress.begin(sys.argv[1:])
        try:
            run()
        finally:
            summary.summary()  # of the runs that finished, even if others failed
    except KeyboardInterrupt:
        if traceback_wanted:
            raise
        print(progress.interrupted(), file=sys.stderr)
        sys.exit(130)  # as shells say of a program that SIGINT ended
    except Exception as error:
        if traceback_wanted:
            raise
        sys.exit(summary.refusal(error))
    if summary.any_failed():
        sys.exit(summary.refusal(traces=traceback_wanted))


if __name__ == "__main__":
    main()
