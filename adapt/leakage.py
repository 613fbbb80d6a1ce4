"""What of a task's dev and test texts stands in its other splits and in a corpus.

``python -m adapt.leakage task=jsonl task.path=<folder> corpus=files corpus.path=<file, folder or glob>``

The words are those of ``python -m adapt``; only task, corpus and runtime.progress matter. The splits are read whole
whatever the budget (task.max_examples shortens them), and so is the corpus, as it is before a run filters it. Without a
word on the corpus the splits alone are compared. The levels are explained in adapt/data/overlap.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from tqdm import tqdm

from adapt.cli import check_choices
from adapt.config import Config, ConfigError, CorpusConfig
from adapt.data import corpora, files, pydoc, tasks
from adapt.data.overlap import LEVELS, THRESHOLD, WORDS, Hit, LevelCount, OverlapSearch, count
from adapt.data.text import normalise
from adapt.refusals import CONF, readable
from adapt.validate import check_values

TABLE, HITS, PAGE = "leakage.csv", "hits.jsonl", "leakage.md"
SHOWN = 300  # characters of a text in the page; hits.jsonl has all of them
Labelled = tuple[str, str | None]


@dataclass(frozen=True)
class Comparison:
    """The hits of one split's texts (``target``) in one stream of texts (``source``), and their counts by level."""

    source: str
    source_texts: int
    target: str
    texts: Sequence[Labelled]
    hits: list[Hit]
    counts: list[LevelCount]


def main(arguments: list[str] | None = None) -> None:
    """The command line. The report's own settings are flags, since they are no part of a run and of its key."""
    parser = argparse.ArgumentParser(
        prog="python -m adapt.leakage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="as for python -m adapt: task=..., task.path=..., corpus=...")
    parser.add_argument("--report", type=Path, help=f"write {TABLE}, {HITS} and {PAGE} into this folder")
    parser.add_argument("--examples", type=int, default=3, help="shown of each level and comparison (default: 3)")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="share of n-grams (default: %(default)s)")
    parser.add_argument("--words", type=int, default=WORDS, help="words of an n-gram (default: %(default)s)")
    args = parser.parse_intermixed_args(arguments)
    try:
        if args.examples < 0:
            raise ConfigError(f"--examples {args.examples}: must be 0 or more")
        if args.report is not None and args.report.exists() and not args.report.is_dir():
            raise ConfigError(f"--report {args.report}: is a file; give a folder")
        OverlapSearch([], args.words, args.threshold)  # refuses them before a corpus is read
        cfg = composed(args.overrides)
        task, found = leaks(cfg, names_corpus(args.overrides), args.words, args.threshold)
        text = page(cfg, task, found, args)
        print(text, end="")
        if args.report is not None:
            write_report(args.report, found, text)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(f"error: {readable(error)}\n(HYDRA_FULL_ERROR=1 shows the traceback)")


def composed(overrides: list[str]) -> Config:
    """The config of these words, with whole splits unless they say less, refused as ``python -m adapt`` refuses it."""
    words = [*(f"task.max_examples.{split}=null" for split in tasks.SPLITS), *overrides]
    ConfigStore.instance().store(name="schema", node=Config)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        HydraConfig.instance().set_config(hydra.compose("config", words, return_hydra_config=True))
        check_choices()
        cfg = check_values(hydra.compose("config", words))
    if names_corpus(overrides):
        if cfg.corpus.format != "pydoc" and cfg.corpus.path is None:
            raise ConfigError(
                f"corpus.path has no value; corpus={cfg.corpus.name} needs one: corpus.path=<where it is>"
            )
        corpora.check_corpus(cfg.corpus)
    tasks.check_task(cfg.task)
    return cfg


def names_corpus(overrides: list[str]) -> bool:
    """Whether one of the words is about the corpus: conf/config.yaml always has one, not to be read unasked."""
    return any(word.lstrip("+~").startswith(("corpus=", "corpus.")) for word in overrides)


def leaks(cfg: Config, with_corpus: bool, words: int, threshold: float) -> tuple[tasks.Task, list[Comparison]]:
    """The task, and dev and test in train, test in dev, and dev and test in the corpus if it is wanted."""
    task = tasks.read_task(cfg.task)
    splits = {split: labelled(task, split) for split in tasks.SPLITS}
    later = {split: splits[split] for split in ("dev", "test")}
    found = compare("train", splits["train"], later, words, threshold)
    found += compare("dev", splits["dev"], {"test": splits["test"]}, words, threshold)
    if with_corpus:
        texts, silent = corpus_texts(cfg.corpus), not cfg.runtime.progress
        documents = tqdm(texts, desc="corpus", disable=silent, leave=False, unit=" documents")
        found += compare("corpus", ((text, None) for text in documents), later, words, threshold)
    return task, found


def labelled(task: tasks.Task, split: str) -> list[Labelled]:
    """The texts of a split, the two of a pair as two lines of one, with the names of their labels."""
    return [("\n".join(example.texts), task.labels[example.label]) for example in task.splits[split]]


def corpus_texts(cfg: CorpusConfig) -> Iterator[str]:
    """The documents of a corpus one by one, unfiltered, in the order of its files."""
    if cfg.format == "pydoc":
        yield from pydoc.corpus(str(cfg.domain))
    for file in corpora.corpus_files(cfg):
        for row in files.read_rows(file):
            yield files.text_column(row, cfg.text_column, "corpus.text_column")


def compare(
    source: str, stream: Iterable[Labelled], targets: dict[str, list[Labelled]], words: int, threshold: float
) -> list[Comparison]:
    """All targets against one pass over the source."""
    search = OverlapSearch([text for texts in targets.values() for text, _ in texts], words, threshold)
    has_labels = False
    for text, label in stream:
        search.add(text, label)
        has_labels |= label is not None
    hits, start, found = search.hits(), 0, []
    for target, texts in targets.items():
        end = start + len(texts)
        mine = [replace(hit, number=hit.number - start) for hit in hits if start <= hit.number < end]
        labels = [str(label) for _, label in texts] if has_labels else None
        counts = [count([text for text, _ in texts], labels, mine, level) for level in LEVELS]
        found.append(Comparison(source, search.added, target, texts, mine, counts))
        start = end
    return found


def page(cfg: Config, task: tasks.Task, found: list[Comparison], args: argparse.Namespace) -> str:
    """The report in Markdown."""
    searched = [f"corpus={cfg.corpus.name}", *([f"corpus.path={cfg.corpus.path}"] if cfg.corpus.path else [])]
    with_corpus = any(comparison.source == "corpus" for comparison in found)
    lines = [
        f"# Leaks of task={cfg.task.name}" + (f" in {' '.join(searched)}" if with_corpus else ""),
        "",
        f"Contained: at least {100 * args.threshold:g}% of a text's {args.words}-grams of words stand in the source. "
        "Each level includes the ones above it. Distinct texts differ in letters or digits; a hit's label is that of "
        "all texts that match it (same), of none of them (other), or of some (both).",
        "",
        *table(split_rows(task)),
        "",
        *table([row(comparison, counted) for comparison in found for counted in comparison.counts]),
        "",
        "What remains of dev and test without the hits:",
        "",
        *table(clean_rows(found, with_corpus)),
    ]
    for comparison in found:
        for level in LEVELS:
            chosen = [hit for hit in comparison.hits if hit.level == level][: args.examples]
            lines += ["", f"## {comparison.target} in {comparison.source}, {level}", ""] if chosen else []
            lines += [line for hit in chosen for line in example(comparison, hit)]
    return "\n".join(lines) + "\n"


def split_rows(task: tasks.Task) -> list[dict[str, Any]]:
    """Duplicates within each split, and how many of its distinct texts bear more than one label."""
    rows = []
    for split in tasks.SPLITS:
        texts = labelled(task, split)
        names: dict[str, set[str | None]] = {}
        for text, label in texts:
            names.setdefault(normalise(text) or text, set()).add(label)
        several = sum(len(of_text) > 1 for of_text in names.values())
        counts = {"texts": len(texts), "different_strings": len({text for text, _ in texts}), "distinct": len(names)}
        rows.append({"split": split, **counts, "distinct_with_several_labels": several})
    return rows


def row(comparison: Comparison, counted: LevelCount) -> dict[str, Any]:
    """A line of the table and of its CSV."""
    names = {"source": comparison.source, "source_texts": comparison.source_texts, "target": comparison.target}
    numbers = asdict(counted)
    level = {"level": numbers.pop("level")}
    hit_share = {"hit_share": round(counted.hits / counted.texts, 4)}
    sizes = {name: numbers.pop(name) for name in ("texts", "distinct", "hits")}
    return {**names, **level, **sizes, **hit_share, **numbers}


def clean_rows(found: list[Comparison], with_corpus: bool) -> list[dict[str, Any]]:
    """How many dev and test texts are clean of train, and of train and corpus, at each level."""
    rows: list[dict[str, Any]] = []
    for target in ("dev", "test"):
        mine = {comparison.source: comparison for comparison in found if comparison.target == target}
        for level in LEVELS:
            hit = {source: {hit.number for hit in one.hits if hit.at(level)} for source, one in mine.items()}
            texts = len(mine["train"].texts)
            counts = {"texts": texts, "clean_of_train": texts - len(hit["train"])}
            if with_corpus:
                counts["clean_of_train_and_corpus"] = texts - len(hit["train"] | hit["corpus"])
            rows.append({"target": target, "level": level, **counts})
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of equal keys as a Markdown table; None is an empty cell."""
    cells = [[key.replace("_", " ") for key in rows[0]], ["---"] * len(rows[0])]
    cells += [["" if value is None else str(value) for value in line.values()] for line in rows]
    return [f"| {' | '.join(line)} |" for line in cells]


def example(comparison: Comparison, hit: Hit) -> list[str]:
    """A hit and its first match, as an item of a list."""
    text, label = comparison.texts[hit.number]
    found = "no single text holds enough of it"
    if hit.first is not None:
        labels = f" [{', '.join(sorted(hit.first.labels))}]" if hit.first.labels else ""
        found = f"{comparison.source} {hit.first.number}{labels}: {shown(hit.first.passage)}"
    return [f"- {comparison.target} {hit.number} [{label}], {hit.share:.0%}: {shown(text)}", f"  - {found}"]


def shown(text: str) -> str:
    """A text on one line, as code, cut to SHOWN characters."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line if len(line) <= SHOWN else line[:SHOWN] + ' ...'}`"


def write_report(folder: Path, found: list[Comparison], text: str) -> None:
    """Write the table as CSV, every hit as JSON lines, and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(comparison, counted) for comparison in found for counted in comparison.counts]
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / HITS, "w", encoding="utf-8") as stream:
        for comparison in found:
            for hit in comparison.hits:
                stream.write(json.dumps(hit_row(comparison, hit), ensure_ascii=False) + "\n")
    (folder / PAGE).write_text(text, encoding="utf-8")


def hit_row(comparison: Comparison, hit: Hit) -> dict[str, Any]:
    """A hit; ``number`` is the example's id, ``source_number`` the place of the first match in train, dev or corpus."""
    text, label = comparison.texts[hit.number]
    mine = {"target": comparison.target, "number": hit.number, "level": hit.level, "share": round(hit.share, 4)}
    match = hit.first
    theirs = {
        "source": comparison.source,
        "source_number": match and match.number,
        "source_labels": match and sorted(match.labels),
        "passage": match and match.passage,
    }
    return {**mine, "label": label, "text": text, **theirs}


if __name__ == "__main__":
    main()
