"""Runs every recipe on every example, resumably: writes records to the stage's folder and returns rates as rows."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError, TextAttackConfig
from adapt.data.kinds.classification import Example
from adapt.data.tasks import Task
from adapt.models import heads, loading
from adapt.text_attacks.masked_lm import Guesser
from adapt.text_attacks.names import needs_masked_lm
from adapt.text_attacks.neighbours import neighbour_words
from adapt.text_attacks.recipes import RECIPES, Recipe, Tools
from adapt.text_attacks.records import Journal, Record, rows, write_parquet
from adapt.text_attacks.scripts import scripts
from adapt.text_attacks.search import CRASHED, FAILED, SUCCESS, Classify, Limits, attack
from adapt.text_attacks.victim import attacked_text, classifier, words_read
from adapt.text_attacks.vocabulary import whole_words
from adapt.text_attacks.words import Sentence, split

KEY_NAME = "text_attacks.measure"
VERSION = 2

log = logging.getLogger(__name__)
FILE = "text_attacks.parquet"


def text_attacks(
    cfg: TextAttackConfig,
    task: Task,
    model: heads.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    masked_lm: Path | None,
    out: Path,
    *,
    max_length: int,
    batch_size: int,
    device: torch.device,
    progress: bool,
) -> list[dict[str, Any]]:
    """Attack the first test examples with each recipe; returns the rows and writes every record to ``out``.

    masked_lm: the folder of the model that proposes words, if a recipe needs one. Finished examples are written to
    ``out/checkpoint``, so that an evaluation that was killed does not attack them again.
    """
    tools = make_tools(cfg, model, tokenizer, masked_lm, max_length, device)
    examples = task.splits["test"][: cfg.max_examples]
    records, measured = [], []
    for name in cfg.recipes:
        recipe = RECIPES[name](tools)
        journal = Journal(out / "checkpoint" / f"text-{name}.jsonl")
        done = journal.read()
        bar = tqdm(examples, desc=name, disable=not progress, leave=False, unit="example")
        for example in bar:
            if example.id not in done:
                classify = classifier(
                    model, tokenizer, example, max_length=max_length, batch_size=batch_size, device=device
                )
                sentence = split(attacked_text(example), tokenizer.all_special_tokens)
                read = words_read(tokenizer, example, sentence, max_length)
                done[example.id] = attacked_example(name, recipe, cfg, example, sentence, read, classify)
                journal.append(done[example.id])
        of_recipe = [done[example.id] for example in examples]
        warn_of_crashes(name, of_recipe)
        refuse_untried(name, of_recipe)
        records += of_recipe
        measured += rows(name, of_recipe, cfg.max_words)
    write_parquet(records, out / FILE)
    return measured


def attacked_example(
    name: str,
    recipe: Recipe,
    cfg: TextAttackConfig,
    example: Example,
    sentence: Sentence,
    read: int,
    classify: Classify,
) -> Record:
    """Attack one example with one recipe; ``read``: how many of its words the classifier sees."""
    started = time.monotonic()
    outcome = attack(
        sentence,
        example.label,
        classify=classify,
        hide=recipe.hide,
        propose=recipe.start(sentence, example.id),
        positions=[position for position in range(read) if recipe.may_change(sentence.words[position])],
        limits=Limits(words_allowed(read, cfg.max_words), cfg.candidates, cfg.queries),
    )
    return Record(
        recipe=name,
        example=example.id,
        label=example.label,
        status=outcome.status,
        queries=outcome.queries,
        words=read,
        changed=outcome.changed,
        tried=outcome.tried,
        original_text=sentence.text,
        text=outcome.text,
        original_score=outcome.original_score,
        score=outcome.score,
        predicted=outcome.predicted,
        error=outcome.error,
        seconds=time.monotonic() - started,
    )


def words_allowed(words: int, share: float) -> int:
    """How many words may change: the share, rounded down, but at least 1, or short texts would count as robust."""
    return max(1, math.floor(words * share + 1e-9))  # .29 * 100 is 28.999999999999996


def make_tools(
    cfg: TextAttackConfig,
    model: heads.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    masked_lm: Path | None,
    max_length: int,
    device: torch.device,
) -> Tools:
    """Load and compute only what the chosen recipes need."""
    guesser, nearest = None, None
    if needs_masked_lm(cfg.recipes):
        assert masked_lm is not None
        guessing, _ = loading.load_masked_lm(masked_lm, dropout=0.0)
        own = loading.load_tokenizer(masked_lm)
        guesser = Guesser(guessing.to(device), own, max_length=max_length, count=cfg.candidates)
    if "embedding" in cfg.recipes:
        embeddings = model.encoder.get_input_embeddings()
        assert isinstance(embeddings.weight, Tensor)

        def encode(word: str) -> list[int]:
            return tokenizer(f" {word}", add_special_tokens=False)["input_ids"]

        nearest = neighbour_words(embeddings.weight, whole_words(tokenizer), encode)
    stop_words = frozenset(word.casefold() for word in cfg.stop_words)
    return Tools(cfg.candidates, cfg.seed, stop_words, guesser, nearest)


def refuse_untried(name: str, records: list[Record]) -> None:
    """Raise ConfigError for an attack that tried nothing on any example: its accuracy would say nothing of the model.

    Warns where that is so for some of them.
    """
    attacked = [record for record in records if record.status in (SUCCESS, FAILED)]
    untried = [record for record in attacked if not record.tried]
    if attacked and len(untried) == len(attacked):
        found = " and ".join(scripts(split(attacked[0].original_text).words)) or "no script"
        raise ConfigError(
            f"evaluate.text.recipes={name}: it found no other word for any of the {len(attacked)} attacked examples "
            f"(the first is in {found}), or evaluate.text.queries leave none for it; leave it out, or give more queries"
        )
    if untried:
        log.warning("%s: nothing to try in %d of %d attacked examples", name, len(untried), len(attacked))


def warn_of_crashes(name: str, records: list[Record]) -> None:
    """Warn how many examples crashed, and with what error the first: they count as not robust, and may hide a bug."""
    crashed = [record for record in records if record.status == CRASHED]
    if crashed:
        first = (crashed[0].error or "").splitlines()[-1]
        log.warning("%s: %d of %d examples crashed, the first with %s", name, len(crashed), len(records), first)
