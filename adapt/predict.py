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
from adapt.runs.finetuned import finetuned_folder, head_note, longest_input
from adapt.runs.lines import portions, read_rows, read_texts
from adapt.store.entries import MANIFEST
from adapt.store.sources import MODEL_FILES

if TYPE_CHECKING:
    from adapt.data.tokens.batching import Encoded

Texts = TypeVar("Texts", bound="Encoded")
BATCH_SIZE = 64
AT_ONCE = 4 * BATCH_SIZE  # rows between two writings: in batches by their length, so that little of them is padding


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="adapt predict", description=(__doc__ or "").strip())
    parser.add_argument("model", help="a run id (see the table), or a folder that a run exported")
    parser.add_argument(
        "texts",
        nargs="?",
        type=Path,
        help='{"text": ...} lines (optionally "text_pair"); of a tagger {"tokens": [...]}',
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--export", type=Path, help="copy the model into this new folder")
    args = parser.parse_args(arguments)
    try:
        folder = finetuned_folder(args.model, args.root)
        if args.export is not None:
            print(export(folder, args.export))
        if args.texts is not None:
            answer(folder, args.texts, sys.stdout)
        if args.export is None and args.texts is None:
            raise ConfigError("nothing to do: give a file of texts, or --export <folder>")
    except ConfigError as error:
        sys.exit(f"error: {error}")


def answer(folder: Path, texts: Path, out: TextIO) -> None:
    """Write one line a text: label and the probability of each label; one line a sentence where it is a tagger."""
    from adapt.data.tokens import batching
    from adapt.models import loading
    from adapt.tasks import prediction
    from adapt.tasks import tagging as token_classifier

    if head_note(folder).get("kind") == token_classifier.KIND:
        answer_tags(folder, texts, out)
        return
    rows = read_texts(texts)
    model, labels = loading.load_classifier(folder)
    tokenizer = loading.load_tokenizer(folder)
    given = [columns for _, columns in rows]
    paired = any(row.get("text_pair") is not None for row in given)
    pairs = [str(row.get("text_pair") or "") for row in given] if paired else None
    data = batching.encode(tokenizer, [row["text"] for row in given], longest_input(model.encoder), pairs)
    for (where, _), ids in zip(rows, data.ids, strict=True):
        if not ids:
            raise ConfigError(f"{where}: its text has no token to read, and this tokenizer puts none around a text")
    model.eval()
    for some in portions(len(rows), AT_ONCE, out):
        logits = prediction.predict(model, tokenizer, part(data, some), BATCH_SIZE, model.device)
        for row, probabilities in zip(given[some], logits.softmax(-1).tolist(), strict=True):
            best = max(range(len(labels)), key=lambda index: probabilities[index])
            known = dict(zip(labels, (round(value, 6) for value in probabilities), strict=True))
            out.write(json.dumps({**row, "predicted": labels[best], "probabilities": known}, ensure_ascii=False) + "\n")


def answer_tags(folder: Path, sentences: Path, out: TextIO) -> None:
    """Write one line a sentence of ``tokens``: the tag of each, and the spans with their type and first and last token.

    Raises ConfigError for a missing file, or a row without a list of tokens.
    """
    from adapt.data import tagging
    from adapt.models import loading
    from adapt.tasks import tagging as token_classifier

    rows = [tagging.read_tokens(row) for row in read_rows(sentences)]
    model, labels = token_classifier.load_tagger(folder)
    tokenizer = loading.load_tokenizer(folder)
    data = token_classifier.encode_words(tokenizer, rows, longest_input(model.encoder))
    model.eval()
    for some in portions(len(rows), AT_ONCE, out):
        sizes = [len(tokens) for tokens in rows[some]]
        answered = token_classifier.predict_tags(
            model, tokenizer, part(data, some), sizes, batch_size=BATCH_SIZE, device=model.device
        )
        for tokens, indices in zip(rows[some], answered, strict=True):
            tags = [labels[index] for index in indices]
            spans = [
                {"type": kind, "first": start, "last": end - 1, "text": " ".join(tokens[start:end])}
                for start, end, kind in tagging.spans(tags)
            ]
            out.write(json.dumps({"tokens": tokens, "tags": tags, "spans": spans}, ensure_ascii=False) + "\n")


def part(data: Texts, some: slice) -> Texts:
    """Some of the texts, each list of which is cut alike."""
    lists = {each.name: getattr(data, each.name) for each in fields(data)}
    cut: dict[str, Any] = {name: None if one is None else one[some] for name, one in lists.items()}
    return replace(data, **cut)


def export(folder: Path, target: Path) -> str:
    """Copy weights, config and tokenizer to a plain transformers folder, and say what opens it."""
    from adapt.adapters import folder as adapters
    from adapt.models import heads
    from adapt.tasks import tagging as token_classifier

    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"--export {target}: the folder is there and not empty")
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in MODEL_FILES and path.name not in (MANIFEST, "training.json"):
            shutil.copy(path, target / path.name)
    if (folder / adapters.ADAPTERS).exists():
        shutil.copytree(folder / adapters.ADAPTERS, target / adapters.ADAPTERS)
        return (
            f"{target}: adapt.models.load_classifier opens it (of a tagger adapt.tasks.tagging.load_tagger); "
            f"AutoModel.from_pretrained opens the base alone, and {adapters.ADAPTERS}/<n> is in peft's format"
        )
    note = head_note(folder)
    tagger = note.get("kind") == token_classifier.KIND
    if note["pooling"] == "cls":
        return f"{target}: open it with AutoModelFor{'Token' if tagger else 'Sequence'}Classification.from_pretrained"
    if tagger:
        return (
            f"{target}: AutoModel.from_pretrained opens the encoder; {heads.HEAD_FILE} is the linear layer on the "
            "last hidden state of each word's first sub-token (adapt.tasks.tagging.load_tagger opens both)"
        )
    return (
        f"{target}: AutoModel.from_pretrained opens the encoder; {heads.HEAD_FILE} is the linear layer on the mean of "
        "its last hidden states, for which transformers has no class (adapt.models.load_classifier opens both)"
    )


if __name__ == "__main__":
    main()
