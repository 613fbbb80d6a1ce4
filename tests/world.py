"""A small world of files for the tests of the chain, and the command that runs in it."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from adapt.checks.run import check_values
from adapt.config import Config
from adapt.runs.pipeline import Pipeline

torch.set_num_threads(1)
REPOSITORY = Path(__file__).parents[1]
WORDS = {
    "animal": ["cat", "dog", "horse", "bird", "fish", "mouse", "fur", "tail", "paw", "feather"],
    "metal": ["iron", "gold", "silver", "copper", "tin", "zinc", "alloy", "rust", "forge", "ore"],
}
FILLER = [
    "the",
    "a",
    "of",
    "and",
    "in",
    "with",
    "is",
    "was",
    "very",
    "old",
    "new",
    "small",
    "large",
    "near",
    "under",
    "over",
    "this",
    "that",
    "some",
    "many",
]

TAGGING = ["task.kind=tagging", "task.metric=span_f1", "task.text_column=tokens", "task.label_column=tags"]


def sentence(label: str, number: int) -> str:
    """About 15 words, 4 of which tell the label; each number gives a different sentence."""
    choose = random.Random(f"{label} {number}")
    words = choose.choices(FILLER, k=10) + choose.choices(WORDS[label], k=4)
    choose.shuffle(words)
    return " ".join([*words, f"n{number}"])


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_random_encoder(folder: Path, texts: list[str]) -> None:
    """A BERT of 16 dimensions with a word-level tokenizer over the texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    from adapt.assets.architectures import BERT_TOKENS

    pieces = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.train_from_iterator(
        texts, trainers.WordLevelTrainer(special_tokens=list(BERT_TOKENS.values()), min_frequency=2)
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=128, **BERT_TOKENS)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)


def make_world(folder: Path) -> None:
    """Write model/, task/, other_task/, corpus.jsonl (more texts than 500) and general.jsonl into the folder."""
    for split, numbers in {"train": range(48), "dev": range(100, 116), "test": range(200, 224)}.items():
        rows = [{"text": sentence(label, number), "label": label} for number in numbers for label in WORDS]
        write_jsonl(folder / "task" / f"{split}.jsonl", rows)
        others = [{"text": sentence(label, number + 500), "label": label} for number in numbers for label in WORDS]
        write_jsonl(folder / "other_task" / f"{split}.jsonl", others)
    texts = [sentence(label, number) for number in range(1000, 1300) for label in WORDS]
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in texts])
    general = [" ".join(sentence(label, number).split()[::-1]) for number in range(2000, 2100) for label in WORDS]
    write_jsonl(folder / "general.jsonl", [{"text": text} for text in general])
    write_random_encoder(folder / "model", texts[:300])


def overrides(world: Path, root: Path) -> list[str]:
    """The command's arguments for a run in that world: seconds, no docstrings, no progress bars."""
    return [
        "budget=smoke", "model=hf", f"model.path={world / 'model'}", "task=jsonl", f"task.path={world / 'task'}",
        "corpus=files", f"corpus.path={world / 'corpus.jsonl'}", "corpus.heldout_fraction=0.1", f"runtime.root={root}",
        "runtime.progress=false", "runtime.threads=1", "runtime.device=cpu", "finetune.max_length=32",
        "budget.train_examples=32", "finetune.batch_size=8", "finetune.micro_batch_size=8",
        "budget.eval_examples=24", f"hydra.run.dir={root}/hydra", "corpus@general=files",
        f"general.path={world / 'general.jsonl'}", "general.heldout_fraction=0.1", "task@other_task=jsonl",
        f"other_task.path={world / 'other_task'}",
        f"hydra.sweep.dir={root}/hydra",
    ]  # fmt: skip


def pipeline(world: Path, root: Path, *more: str) -> Pipeline:
    """The chain of a run in that world, in this process; it reads only the run's own task."""
    ConfigStore.instance().store(name="schema", node=Config)
    arguments = [given for given in overrides(world, root) if not given.startswith("hydra.")]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = check_values(compose("config", overrides=[*arguments, *more]))
    return Pipeline(cfg, lambda name: pytest.fail(f"asked for the task {name}"))


def adapt(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run ``adapt`` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "adapt", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )


class Written(io.StringIO):
    """Records how many lines were written at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[int] = []

    def flush(self) -> None:
        self.flushed.append(self.getvalue().count("\n"))


def tagged(number: int) -> dict:
    """About 15 words; an animal is ANIMAL, a metal is METAL together with the alloy, rust, forge or ore after it."""
    choose = random.Random(number)
    words, tags = [], []
    for _ in range(10):
        kind = choose.choice(["", "", "", "animal", "metal"])
        words.append(choose.choice(WORDS["metal"][:6] if kind == "metal" else WORDS["animal"] if kind else FILLER))
        tags.append(f"B-{kind.upper()}" if kind else "O")
        if kind == "metal" and choose.random() < 0.6:
            words.append(choose.choice(WORDS["metal"][6:]))
            tags.append("I-METAL")
    return {"tokens": [*words, f"n{number}"], "tags": [*tags, "O"]}
