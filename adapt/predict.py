"""Answers of a fine-tuned model: ``adapt predict <run_id or folder> texts.jsonl``; ``--export`` copies it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from adapt.config import ConfigError
from adapt.runs.finetuned import finetuned_folder, head_note, kind_of, tokens_read
from adapt.runs.lines import portions, read_rows
from adapt.store.entries import MANIFEST, write_sums
from adapt.store.sources import MODEL_FILES

if TYPE_CHECKING:
    from adapt.data.tokens.batching import Encoded

Texts = TypeVar("Texts", bound="Encoded")
BATCH_SIZE = 64
AT_ONCE = 4 * BATCH_SIZE  # rows per write; sorted by length within it, so that batches hold little padding


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="adapt predict", description=(__doc__ or "").strip())
    parser.add_argument("model", help="a run id (see the table), or a folder that a run exported")
    parser.add_argument(
        "texts",
        nargs="?",
        type=Path,
        help='{"text": ...} lines (optionally "text_pair"); for a tagger {"tokens": [...]}',
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument(
        "--allow-unknown", action="store_true", help="answer texts of which the tokenizer does not know more than 30%%"
    )
    parser.add_argument("--export", type=Path, help="copy the model into this new folder")
    args = parser.parse_args(arguments)
    try:
        folder = finetuned_folder(args.model, args.root)
        if args.export is not None:
            print(export(folder, args.export))
        if args.texts is not None:
            print(answer(folder, args.texts, sys.stdout, allow_unknown=args.allow_unknown), file=sys.stderr)
        if args.export is None and args.texts is None:
            raise ConfigError("nothing to do: give a file of texts, or --export <folder>")
    except ConfigError as error:
        sys.exit(f"error: {error}")


def answer(folder: Path, texts: Path, out: TextIO, *, allow_unknown: bool = False) -> str:
    """Write one line for each row of ``texts``, made by ``answer`` of the model's kind of task (adapt/tasks).

    Returns a sentence on how the texts were read. Raises ConfigError for a missing file, a row that the kind cannot
    read, and texts that are mostly unknown to the tokenizer, unless ``allow_unknown``.
    """
    from adapt.data.tasks import KINDS as TASK_KINDS
    from adapt.models import loading
    from adapt.runs.given import report
    from adapt.tasks.kinds import KINDS

    note = head_note(folder)
    name = kind_of(note)
    kind, rows = KINDS[name], read_rows(texts)
    given = [TASK_KINDS[name].read_unlabelled(row) for row in rows]
    places = [where for where, _ in rows]
    model, labels = kind.load(folder)
    tokenizer = loading.load_tokenizer(folder)
    longest = tokens_read(note, model.encoder)
    data = kind.encode(tokenizer, given, places, longest)
    said = report(tokenizer, given, places, longest, allow_unknown=allow_unknown)
    model.eval()
    for some in portions(len(rows), AT_ONCE, out):
        for line in kind.answer(model, tokenizer, part(data, some), given[some], labels, BATCH_SIZE):
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    return said


def part(data: Texts, some: slice) -> Texts:
    """A slice of the encoded texts: the same slice of each of their lists."""
    lists = {each.name: getattr(data, each.name) for each in fields(data)}
    cut: dict[str, Any] = {name: None if one is None else one[some] for name, one in lists.items()}
    return replace(data, **cut)


def export(folder: Path, target: Path) -> str:
    """Copy weights, config and tokenizer to a plain transformers folder; returns a sentence on how to open it."""
    from adapt.adapters import folder as adapters
    from adapt.models import heads
    from adapt.tasks.kinds import KINDS

    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"--export {target}: the folder exists and is not empty")
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in MODEL_FILES and path.name not in (MANIFEST, "training.json"):
            shutil.copy(path, target / path.name)
    note = head_note(folder)
    head = KINDS[kind_of(note)].head
    if (folder / adapters.ADAPTERS).exists():
        shutil.copytree(folder / adapters.ADAPTERS, target / adapters.ADAPTERS)
    write_sums(target)
    if (folder / adapters.ADAPTERS).exists():
        return (
            f"{target}: {head.opener} opens it; AutoModel.from_pretrained opens only the base, and "
            f"{adapters.ADAPTERS}/<n> is in peft's format"
        )
    if note["pooling"] == "cls":
        return f"{target}: open it with {head.opens_own}.from_pretrained"
    return (
        f"{target}: AutoModel.from_pretrained opens the encoder; {heads.HEAD_FILE} is {head.layer} "
        f"({head.opener} opens both)"
    )


if __name__ == "__main__":
    main()
