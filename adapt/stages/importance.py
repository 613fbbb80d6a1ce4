"""Which tokens matter to a task's labels: scored on its training texts, then learned by a token classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from adapt.adapters import stage as adapters
from adapt.adversary.plain import PLAIN
from adapt.config import ConfigError, FinetuneConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.kinds.classification import Example
from adapt.data.masking.importance import important_tokens
from adapt.data.text import in_hash_order, normalise
from adapt.data.tokens.batching import Encoded
from adapt.data.tokens.pieces import SpecialTokens
from adapt.models import loading
from adapt.stages.finetune import fit_headed
from adapt.table.measurement import measurement
from adapt.tasks import prediction
from adapt.tasks.marking import LABELS, MarkedTexts, matching_cut, write_cut
from adapt.tasks.tagging import Tagging, new_tagger
from adapt.training import loop, processes

KEY_NAME = "stages.importance"
VERSION = 1
HELD_OUT = 0.1  # this share of the texts chooses the token classifier's epoch and cut, as many others measure it
FEWEST = 3  # texts: one to train on, one to choose the checkpoint by, one to measure on


@dataclass(frozen=True)
class Text:
    """A training text that the classifier answers right. form: its normalised text, equal for duplicates."""

    number: int
    ids: list[int]
    label: int
    form: str


def importance(
    cfg: FinetuneConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, threshold: float, seed: int
) -> list[dict[str, Any]]:
    """Train a token classifier to find the tokens that ``inputs["classifier"]`` labels the task's texts by.

    It starts from ``inputs["model"]``, with ``cfg``'s settings, on training texts of ``inputs["task"]``, and is saved
    into ``out``. ``texts.jsonl`` beside it has one line per scored text: its number in the training split, its tokens,
    which of them are important, and what it was used for.

    Returns the share of texts that the classifier answers right, the share of important tokens in these, the F1 of the
    token classifier on texts that it was neither trained nor chosen on, and the cost. Raises ConfigError if the
    classifier answers too few texts right, or if no token is important.
    """
    task, tokenizer = tasks.load_task(inputs["task"]), loading.load_tokenizer(inputs["model"])
    device = loop.device(runtime)
    scorer = Scorer(inputs["classifier"], tokenizer, cfg.micro_batch_size, device)
    texts = processes.agreed(scorer.answered_right(task.splits["train"], cfg.max_length))
    if len({text.form for text in texts}) < FEWEST:
        raise ConfigError(
            f"masking.strategy=selective: a classifier of this task answers {len(texts)} of its "
            f"{len(task.splits['train'])} training texts right, and {FEWEST} or more different ones are needed; train "
            "it longer (finetune.epochs), label more (task.max_examples.train), or choose another strategy"
        )
    important = processes.agreed(scorer.important(texts, threshold, progress=runtime.progress))
    share = np.concatenate(important).mean()
    if share == 0:
        raise ConfigError(
            f"masking.importance_threshold={threshold}: no token of {len(texts)} texts is important; raise it"
        )
    parts = split(texts)
    train, chosen, measured = (marked_texts(scorer, texts, important, numbers) for numbers in parts.values())
    torch.manual_seed(seed)
    model = new_tagger(inputs["model"], labels=LABELS, pooling=cfg.pooling, dropout=cfg.dropout)
    whole = adapters.begin(model, adapters.FULL, out)
    fitted = fit_headed(
        model, whole, Tagging(), train, chosen, cfg,
        name="importance", seed=seed, adversary=PLAIN, length=1.0, folder=out, runtime=runtime,
    )  # fmt: skip
    learned = torch.cat([*train.marks, *chosen.marks]).double().mean().item()
    cut = matching_cut(chosen.predict(model, cfg.micro_batch_size, device), learned)
    answers, gold = measured.predict(model, cfg.micro_batch_size, device), torch.cat(measured.marks)
    agreement = float(f1_score(gold, answers > cut, zero_division=0.0))
    trained = fitted.restore()
    if processes.leads():
        trained.cpu().save(out, tokenizer, LABELS, max_length=cfg.max_length)
        write_cut(out, cut)
        write_texts(out, tokenizer, texts, important, parts)
    return [
        measurement("train", "answered_right", len(texts) / len(task.splits["train"]), n=len(task.splits["train"])),
        measurement("train", "important_tokens", share, n=sum(map(len, important))),
        measurement("heldout", "importance_f1", agreement, n=len(gold)),
        measurement("scoring", "sequences", scorer.sequences),
        *(measurement("train", metric, value) for metric, value in fitted.cost.items()),
    ]


class Scorer:
    """A fine-tuned classifier that gives the probability of each label for texts and for parts of texts."""

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerBase, batch_size: int, device: torch.device) -> None:
        self.model = loading.load_classifier(folder)[0].to(device).eval()
        self.tokenizer, self.batch_size, self.device = tokenizer, batch_size, device
        self.special = SpecialTokens.of(tokenizer)
        self.sequences = 0  # how many the classifier has read: the cost

    def around(self, ids: Sequence[int]) -> list[int]:
        """Token ids with the special tokens that the tokenizer adds around a text."""
        return [*self.special.before.tolist(), *ids, *self.special.after.tolist()]

    def probabilities(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """The probability of each class, [N, C], for texts given without special tokens."""
        self.sequences += len(texts)
        data = Encoded([self.around(ids) for ids in texts], None)
        logits = prediction.predict(self.model, self.tokenizer, data, self.batch_size, self.device)
        return logits.double().softmax(-1).numpy()

    def answered_right(self, examples: list[Example], max_length: int) -> list[Text]:
        """The examples whose likeliest label is the true one; examples without an ordinary token are left out."""
        before, after = len(self.special.before), len(self.special.after)
        encoded = prediction.encode_examples(self.tokenizer, examples, max_length).ids
        ids = [sequence[before : len(sequence) - after] for sequence in encoded]
        special = set(self.tokenizer.all_special_ids)
        answers = self.probabilities(ids).argmax(-1)
        return [
            Text(number, ids[number], example.label, normalise(example.text))
            for number, example in enumerate(examples)
            if answers[number] == example.label and not special.issuperset(ids[number])
        ]

    def important(self, texts: list[Text], threshold: float, *, progress: bool) -> list[NDArray[np.bool_]]:
        """See data.importance.important_tokens."""
        total = sum(len(text.ids) + 1 for text in texts)
        with tqdm(total=total, desc="importance", disable=not progress, leave=False) as bar:

            def probability(buffers: list[list[int]], numbers: list[int]) -> NDArray[np.float64]:
                bar.update(len(buffers))
                return self.probabilities(buffers)[np.arange(len(buffers)), [texts[number].label for number in numbers]]

            return important_tokens([text.ids for text in texts], probability, threshold)


def split(texts: list[Text]) -> dict[str, list[int]]:
    """The indices of the texts to train on, to choose by and to measure on; duplicates are in the same part."""
    forms = in_hash_order({text.form for text in texts}, str)
    count = max(1, round(HELD_OUT * len(forms)))
    part = {form: "chosen" if place < count else "measured" for place, form in enumerate(forms[: 2 * count])}
    names = [part.get(text.form, "train") for text in texts]
    return {
        name: [index for index, part_name in enumerate(names) if part_name == name]
        for name in ("train", "chosen", "measured")
    }


def marked_texts(
    scorer: Scorer, texts: list[Text], important: list[NDArray[np.bool_]], numbers: list[int]
) -> MarkedTexts:
    """Some of the texts, whole, as the token classifier reads them, with the marks of their ordinary tokens."""
    special = scorer.tokenizer.all_special_ids
    marks = [torch.from_numpy(important[index][~np.isin(texts[index].ids, special)]).long() for index in numbers]
    return MarkedTexts(scorer.tokenizer, [scorer.around(texts[index].ids) for index in numbers], marks)


def write_texts(
    out: Path,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[Text],
    important: list[NDArray[np.bool_]],
    parts: dict[str, list[int]],
) -> None:
    """Write ``texts.jsonl``, one line per text."""
    part_of = {index: name for name, numbers in parts.items() for index in numbers}
    with (out / "texts.jsonl").open("w", encoding="utf-8") as stream:
        for index, (text, marks) in enumerate(zip(texts, important, strict=True)):
            tokens = tokenizer.convert_ids_to_tokens(text.ids)
            row = {"number": text.number, "part": part_of[index], "tokens": tokens, "important": marks.tolist()}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
