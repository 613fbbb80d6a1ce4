"""Tokenising a corpus: the token stage against ``datasets.map`` with the same tokenizer, and memory as text grows.

The text is made of random runs of words of docstrings. Both sides read one Arrow file, cut each text at the same
length with its own special tokens, and write the ids as Arrow to the same disk. They alternate within one run.
``datasets.map`` runs with one process and with one per core, and the faster of the two counts.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars

from adapt.config import RuntimeConfig
from adapt.data.arrow import write_texts
from adapt.data.pydoc import corpus
from adapt.data.tokens.tokens import load_tokens
from adapt.models.loading import load_tokenizer
from adapt.stages.tokens import tokens
from adapt.store.sources import ASSETS
from adapt.training.costs import forget_peak, peak_resident_bytes

TARGET, LENGTH, CORES, ROUNDS = 1.0, 128, 2, 5
MEGABYTES = (10, 100)


def run() -> list[str]:
    """The median of the rounds' ratios on 10 MB, and the peak memory of tokenising 10 MB and 100 MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = (corpus_of(folder / str(size), size) for size in MEGABYTES)
        ours, theirs = times(small, folder)
        best = min(theirs, key=lambda kind: statistics.median(theirs[kind]))
        ratio = statistics.median(its / own for its, own in zip(theirs[best], ours, strict=True))
        peaks = [peak_of_a_child(text, folder / "tokens") for text in (small, large)]
    shown = ", ".join(f"{kind} {statistics.median(seconds):.2f} s" for kind, seconds in theirs.items())
    return [
        f"{MEGABYTES[0]} MB of text, {LENGTH} tokens per sequence, {CORES} cores, median of {ROUNDS}",
        f"token stage {statistics.median(ours):.2f} s, datasets.map: {shown}: {ratio:.2f} times faster than {best}",
        f"target: at least {TARGET}; equal ids",
        *(f"peak memory of the stage at {size} MB: {peak / 1e6:.0f} MB, of which {start / 1e6:.0f} MB are imports"
          for size, (start, peak) in zip(MEGABYTES, peaks, strict=True)),
        "target: flat, within a tenth",
    ]  # fmt: skip


def corpus_of(folder: Path, megabytes: int) -> Path:
    """Write a corpus folder with that much text."""
    folder.mkdir()
    write_texts(folder / "train.arrow", passages(megabytes * 1_000_000))
    write_texts(folder / "heldout.arrow", ["one held-out text"])
    (folder / "report.json").write_text('{"dropped": {}}')
    return folder


def passages(characters: int) -> Iterator[str]:
    """Random runs of 20 to 200 words of docstrings, until there are that many characters."""
    draw, written, words = random.Random(0), 0, all_words()
    while written < characters:
        start, size = draw.randrange(len(words)), draw.randint(20, 200)
        text = " ".join(words[start : start + size])
        written += len(text)
        yield text


@cache
def all_words() -> list[str]:
    """The words of the scientific packages' docstrings, in order."""
    return [word for docstring, _ in corpus.parsed("scientific") for word in docstring.text.split()]


def times(text: Path, folder: Path) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of the stage and, by the number of processes, of ``datasets.map``; asserts that the ids are equal."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"one process": [], f"{CORES} processes": []}
    for number in range(ROUNDS):
        ours.append(seconds(lambda: stage(text, folder / "tokens")))
        for processes, timed in enumerate(theirs.values(), start=1):
            file = folder / f"map-{number}-{processes}.arrow"
            timed.append(seconds(lambda file=file, processes=processes: mapped(text, file, processes)))  # type: ignore[misc]
    assert_equal_ids(folder / "tokens", folder / "map-0-1.arrow")
    return ours, theirs


def seconds(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def stage(text: Path, out: Path) -> None:
    """Run the project's stage, including the reading of tokenizer and corpus."""
    out.mkdir(exist_ok=True)
    inputs = {"text": text, "tokenizer": ASSETS / "tiny"}
    tokens(None, inputs, out, RuntimeConfig(), max_length=LENGTH, packing=False, words=False)


def mapped(text: Path, file: Path, processes: int) -> None:
    """Do the same by ``datasets.map``, in batches of a thousand texts; writes only the ids and the text's number."""
    disable_progress_bars()
    tokenizer = load_tokenizer(ASSETS / "tiny")

    def cut(batch: dict[str, list[str]], rows: list[int]) -> dict[str, Any]:
        encoded = tokenizer(
            batch["text"],
            truncation=True,
            max_length=LENGTH,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return {"ids": encoded["input_ids"], "row": [rows[sample] for sample in encoded["overflow_to_sample_mapping"]]}

    dataset = Dataset.from_file(str(text / "train.arrow"))
    more = {"num_proc": processes} if processes > 1 else {}
    dataset.map(
        cut, batched=True, with_indices=True, remove_columns=["text"], cache_file_name=str(file),
        load_from_cache_file=False, **more,
    )  # fmt: skip


def assert_equal_ids(ours: Path, theirs: Path) -> None:
    """Assert that both wrote equally many sequences, with the same ids in every 97th of them."""
    written = load_tokens(ours).train
    expected = Dataset.from_file(str(theirs))
    assert len(written) == len(expected)
    for index in range(0, len(written), 97):
        assert written.ids(index).tolist() == expected[index]["ids"]


def peak_of_a_child(text: Path, out: Path) -> tuple[int, int]:
    """Resident bytes of a fresh process before the stage, and the peak during it."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=tokenise_alone, args=(text, out, sending))
    child.start()
    peak = receiving.recv()
    child.join()
    return peak


def tokenise_alone(text: Path, out: Path, sending: Any) -> None:
    """Send the resident memory before the stage, and its peak after it; both include the module's imports."""
    forget_peak()
    before = peak_resident_bytes()
    stage(text, out)
    sending.send((before, peak_resident_bytes()))
