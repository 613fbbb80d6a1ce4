"""Which of a task's dev and test texts occur in its other splits and in a corpus.

``adapt leakage task=jsonl task.path=<folder> corpus=files corpus.path=<file, folder or glob>``

The arguments are overrides as for ``adapt``, of which only task, corpus and runtime.progress matter. Splits are read
whole, whatever the budget; task.max_examples shortens them. The corpus is read whole too, before the filters of a run.
Without an override of the corpus only the splits are compared. adapt/data/leaks/overlap.py explains the levels.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from tqdm import tqdm

from adapt.checks.run import check_values
from adapt.config import Config, ConfigError
from adapt.data import corpora, tasks
from adapt.data.containment import THRESHOLD, WORDS, ContainmentIndex
from adapt.data.leaks.comparison import Comparison, compare, labelled
from adapt.data.leaks.leak_report import HITS, PAGE, TABLE, page, write_report
from adapt.data.splits import DEV, REPORTED, SPLITS, TRAIN
from adapt.project import options
from adapt.runs.errors import readable
from adapt.runs.job import check_choices


def main(arguments: list[str] | None = None) -> None:
    """The command line. The report's own settings are flags, because they are not part of a run's config."""
    parser = argparse.ArgumentParser(
        prog="adapt leakage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="as for adapt: task=..., task.path=..., corpus=...")
    parser.add_argument("--report", type=Path, help=f"write {TABLE}, {HITS} and {PAGE} into this folder")
    parser.add_argument(
        "--examples", type=int, default=3, help="examples to show per level and comparison (default: 3)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help="share of n-grams that makes a text contained (default: %(default)s)",
    )
    parser.add_argument("--words", type=int, default=WORDS, help="words per n-gram (default: %(default)s)")
    args = parser.parse_intermixed_args(arguments)
    try:
        if args.examples < 0:
            raise ConfigError(f"--examples {args.examples}: must be 0 or more")
        if args.report is not None and args.report.exists() and not args.report.is_dir():
            raise ConfigError(f"--report {args.report}: is a file; give a folder")
        ContainmentIndex([], args.words, args.threshold)  # refuses bad settings before a corpus is read
        cfg = composed(args.overrides)
        task, comparisons = leaks(cfg, names_corpus(args.overrides), args.words, args.threshold)
        text = page(
            title(cfg, names_corpus(args.overrides)),
            task,
            comparisons,
            words=args.words,
            threshold=args.threshold,
            examples=args.examples,
        )
        print(text, end="")
        if args.report is not None:
            write_report(args.report, comparisons, text)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(f"error: {readable(error)}\n(HYDRA_FULL_ERROR=1 shows the traceback)")


def composed(overrides: list[str]) -> Config:
    """The config of these overrides, with whole splits by default. Raises ConfigError where ``adapt`` does."""
    whole = (f"task.max_examples.{split}=null" for split in SPLITS)
    unread = ("evaluate.attack=null", "evaluate.text=null")  # not every kind of task allows these
    words = [*whole, *unread, *overrides]
    ConfigStore.instance().store(name="schema", node=Config)
    with options.composing():
        check_choices(overrides)
        cfg = check_values(hydra.compose("config", words))
    if names_corpus(overrides):
        if cfg.corpus.format != "pydoc" and cfg.corpus.path is None:
            raise ConfigError(
                f"corpus.path has no value; corpus={cfg.corpus.name} needs one: corpus.path=<where it is>"
            )
        corpora.check_corpus(cfg.corpus)
    tasks.check_task(cfg.task)
    return cfg


def title(cfg: Config, with_corpus: bool) -> str:
    """The page's title: which task was searched for in which corpus."""
    path = f" corpus.path={cfg.corpus.path}" if cfg.corpus.path else ""
    return f"Leaks of task={cfg.task.name}" + (f" in corpus={cfg.corpus.name}{path}" if with_corpus else "")


def names_corpus(overrides: list[str]) -> bool:
    """Whether an override is about the corpus; the default corpus of conf/config.yaml is not read unasked."""
    return any(word.lstrip("+~").startswith(("corpus=", "corpus.")) for word in overrides)


def leaks(cfg: Config, with_corpus: bool, words: int, threshold: float) -> tuple[tasks.Task, list[Comparison]]:
    """The task, and its comparisons: dev and test in train, test in dev, dev and test in the corpus if it is wanted."""
    task = tasks.read_task(cfg.task)
    splits = {split: labelled(task, split) for split in task.splits}
    later = {split: splits[split] for split in task.measured}
    reported = {split: texts for split, texts in later.items() if split in REPORTED}
    comparisons = compare(TRAIN, splits[TRAIN], later, words, threshold)
    comparisons += compare(DEV, splits[DEV], reported, words, threshold)
    if with_corpus:
        texts, silent = corpora.raw_texts(cfg.corpus), not cfg.runtime.progress
        documents = tqdm(texts, desc="corpus", disable=silent, leave=False, unit=" documents")
        comparisons += compare("corpus", ((text, None) for text in documents), later, words, threshold)
    return task, comparisons


if __name__ == "__main__":
    main()
