"""What a decoder generates after prompts: ``adapt generate <run_id, model or folder> prompts.jsonl``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from adapt.config import ConfigError
from adapt.data.files import Row
from adapt.runs import lines
from adapt.runs.finetuned import finetuned_folder, whole
from adapt.store.entries import MANIFEST, Store
from adapt.store.sources import ASSETS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapt.tasks.generation import Decoding

BATCH_SIZE = 16


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="adapt generate", description=(__doc__ or "").strip())
    parser.add_argument("model", help="a run id (see the table), an embedded model (tiny_decoder), or a model folder")
    parser.add_argument("prompts", type=Path, help='{"text": ...} lines; or .txt with one prompt per line')
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the runs are (default: outputs)")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="at most, per answer (default: 64)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="of sampling; 0 takes the likeliest token (default)"
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="sample from the likeliest tokens that hold this probability"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sampling: the same seed gives the same answers")
    given = parser.parse_args(arguments)
    try:
        how = decoding(given)
        answer(language_model_folder(given.model, given.root), given.prompts, how, sys.stdout)
    except ConfigError as error:
        sys.exit(f"error: {error}")


def decoding(given: argparse.Namespace) -> Decoding:
    """The decoding settings of a command line. Raises ConfigError for impossible ones."""
    refused = {
        f"--max-new-tokens {given.max_new_tokens}: must be 1 or more": given.max_new_tokens < 1,
        f"--temperature {given.temperature}: must be 0 or more": not 0 <= given.temperature < float("inf"),
        f"--top-p {given.top_p}: must be more than 0 and at most 1": not 0 < given.top_p <= 1,
    }
    for why, wrong in refused.items():
        if wrong:
            raise ConfigError(why)
    from adapt.tasks.generation import Decoding  # only now: torch takes seconds, and errors must not wait for it

    return Decoding(given.max_new_tokens, given.temperature, given.top_p, given.seed)


def language_model_folder(model: str, root: Path) -> Path:
    """The folder itself, an embedded model's, or that of the language model from which a run's fine-tuning started."""
    for folder in (Path(model), ASSETS / model):
        if (folder / "config.json").exists():
            return whole(folder)
    finetuned = finetuned_folder(model, root)
    key = json.loads((finetuned / MANIFEST).read_text())["inputs"]["model"]
    started_from = Store(root / "store").complete(key)
    if started_from is not None:
        return whole(started_from)
    raise ConfigError(
        f"run {model}: the language model that its fine-tuning started from is not in {root / 'store'}: it is the base "
        "model, or was removed; give a model's folder or tiny_decoder"
    )


def answer(folder: Path, prompts: Path, how: Decoding, out: TextIO) -> None:
    """Write one line per prompt: answer, whether it ended, and its seq-rep-4; in the file's order, batch by batch.

    Raises ConfigError for a model that is no decoder or has no trained head, for a missing or empty file, and for a
    prompt that has no token or is too long for the model; all before anything is written.
    """
    import torch
    from transformers import AutoConfig

    from adapt.models import heads, loading
    from adapt.models.decoders import is_decoder
    from adapt.tasks import generation

    if (folder / heads.HEAD_NOTE).exists():
        raise ConfigError(f"{folder}: is fine-tuned to label texts, and generates none; use adapt predict")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if not is_decoder(config):
        raise ConfigError(f"{folder}: a {config.model_type} writes no text; give a decoder, such as tiny_decoder")
    rows = lines.read_texts(prompts)
    tokenizer = loading.load_tokenizer(folder)
    asked = [tokens_of(row, tokenizer, config, how) for row in rows]
    model, new = loading.load_causal_lm(folder, dropout=0.0)
    if new:
        raise ConfigError(f"{folder}: its language-model head is untrained ({new[0]} is new), so it has nothing to say")
    ends = generation.end_tokens(model, tokenizer)
    device = torch.device("cpu")
    for some in lines.portions(len(rows), BATCH_SIZE, out):
        answers = generation.generate(model, tokenizer, asked[some], how, batch_size=BATCH_SIZE, device=device)
        for (_, columns), tokens in zip(rows[some], answers, strict=True):
            written = generation.without_end(tokens, ends)
            answered = {
                "answer": generation.text_of(tokenizer, written),
                "ended": len(written) < len(tokens),
                "repetition": generation.repeated(written),
            }
            out.write(json.dumps({**columns, **answered}, ensure_ascii=False) + "\n")


def tokens_of(row: Row, tokenizer: PreTrainedTokenizerBase, config: Any, how: Decoding) -> list[int]:
    """The token ids of a row's prompt. Raises ConfigError, with the line, for no token or no room for an answer."""
    from adapt.tasks import generation

    where, columns = row
    try:
        ids = generation.encode_prompt(tokenizer, columns["text"])
        generation.check_room(config, len(ids), how.max_new_tokens)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return ids


if __name__ == "__main__":
    main()
