"""The stages that measure: the adapted language model, and the fine-tuned model on its task. Builds nothing.

Those that measure the language model depend only on that model, its tokenizer and texts (a trajectory also on the
task), so that every fine-tuning of the model shares them. They are inputs of a run's evaluation, so their rows are the
run's.
"""

from __future__ import annotations

from dataclasses import asdict

from adapt.chain.finetuning import MODEL, PERTURBED, PROBED, SCORED, adapted, kind_modules
from adapt.chain.stage import Source, Stage, without
from adapt.chain.text import TextChain, tokens_stage
from adapt.config import Config, DomainsConfig, SamplesConfig, TextAttackConfig
from adapt.text_attacks.names import TYPED, needs_masked_lm

MEASURING = (
    *("adapt.stages.domains", "adapt.tasks.heldout", "adapt.tasks.language_modelling"),
    *("adapt.training.objectives", "adapt.data.masking.tokens"),
    *("adapt.data.masking.next_tokens", "adapt.data.tokens.tokens", "adapt.data.tokens.words"),
    *("adapt.data.tokens.batching", "adapt.models.loading", "adapt.models.decoders"),
    *("adapt.models.packing", "adapt.models.language"),
)
SAMPLING = (
    *("adapt.stages.samples", "adapt.tasks.generation", "adapt.models.loading", "adapt.data.tokens.batching"),
    *("adapt.data.tokens.pieces", "adapt.data.text", "adapt.models.packing", "adapt.models.language"),
)
PROBE = ("adapt.stages.trajectory", "adapt.stages.baseline", *PROBED, "adapt.models.heads")
WORDS = (
    *("adapt.stages.vocabulary_overlap", "adapt.data.vocabulary_overlap", "adapt.data.text", "adapt.data.characters"),
    "adapt.models.loading",
)
# The modules whose arithmetic a stage runs: their VERSIONs are part of its key.
_ATTACKS = (
    *(
        "adapt.stages.robustness",
        "adapt.attacks.victim",
        "adapt.attacks.ensemble",
        "adapt.attacks.checks",
        "adapt.attacks.differences",
    ),
    *("adapt.attacks.apgd", "adapt.attacks.minimal_norm", "adapt.attacks.gradient_free", "adapt.attacks.report"),
)
_TEXT_ATTACKS = (
    *("adapt.text_attacks.words", "adapt.text_attacks.search", "adapt.text_attacks.characters"),
    *("adapt.text_attacks.vocabulary", "adapt.text_attacks.neighbours", "adapt.text_attacks.masked_lm"),
    *("adapt.text_attacks.recipes", "adapt.text_attacks.records", "adapt.text_attacks.victim"),
    *("adapt.text_attacks.measure", "adapt.models.language", "adapt.models.packing"),
    *("adapt.text_attacks.scripts", "adapt.text_attacks.hangul", "adapt.text_attacks.keyboards"),
)
_CANDIDATES = (
    *("adapt.stages.candidates", "adapt.data.splits", "adapt.text_attacks.words", "adapt.text_attacks.characters"),
    *("adapt.text_attacks.keyboards", "adapt.text_attacks.hangul", "adapt.text_attacks.scripts"),
)


def domain_stages(
    cfg: Config,
    text: TextChain,
    model: Stage | Source,
    pretrained: list[Stage],
    tokenizer: Stage | Source,
    task: Stage,
) -> dict[str, Stage]:
    """The stages that measure the language model, by name as inputs of the evaluation.

    Empty unless ``evaluate.domains`` or ``evaluate.samples`` is set. model: the one that fine-tuning starts from.
    pretrained: the pretraining stages that led to it.
    """
    samples = {} if cfg.evaluate.samples is None else {"samples": samples_stage(cfg, cfg.evaluate.samples, text, model)}
    settings = cfg.evaluate.domains
    if settings is None:
        return samples
    texts = {name: text.source(name, leaks="drop") for name in settings.texts}
    length = settings.max_length
    tokens = {
        f"text.{name}": tokens_stage(given, tokenizer, max_length=length, packing=False)
        for name, given in texts.items()
    }
    stages = {
        **samples,
        "domains": losses_stage(cfg, settings, model, tokens),
        "words": words_stage(texts, tokenizer),
    }
    for trained in pretrained:
        if trained.label in settings.along:
            inputs = {"model": trained, "task": task, **tokens}
            stages[f"trajectory.{trained.label}"] = trajectory_stage(cfg, settings, inputs)
    return stages


def losses_stage(cfg: Config, settings: DomainsConfig, model: Stage | Source, tokens: dict[str, Stage]) -> Stage:
    """The loss of ``model`` as a language model on the held-out part of each text."""
    config = {"sequences": settings.sequences, "batch_size": cfg.evaluate.batch_size}
    return Stage(
        kind="domains",
        label="domains",
        function="adapt.stages.domains:domains",
        modules=(*MEASURING, *adapted(model)),
        argument=settings,
        inputs={"model": model, **tokens},
        config=config,
        more={"batch_size": cfg.evaluate.batch_size},
        role="evaluates",
    )


def words_stage(texts: dict[str, Stage], tokenizer: Stage | Source) -> Stage:
    """The vocabulary that the texts share, and how the tokenizer splits the words of each."""
    return Stage(
        kind="words",
        label="words",
        function="adapt.stages.vocabulary_overlap:vocabulary_overlap",
        modules=WORDS,
        argument=None,
        inputs={"tokenizer": tokenizer, **texts},
        config={},
        role="evaluates",
    )


def trajectory_stage(cfg: Config, settings: DomainsConfig, inputs: dict[str, Stage]) -> Stage:
    """Losses and a linear probe of the task, at each snapshot that a pretraining stage stored."""
    more = {"batch_size": cfg.evaluate.batch_size, "max_length": cfg.finetune.max_length}
    return Stage(
        kind="trajectory",
        label=f"trajectory/{inputs['model'].label}",
        function="adapt.stages.trajectory:trajectory",
        modules=(*PROBE, *MEASURING, *adapted(inputs["model"])),
        argument=settings,
        inputs=dict(inputs),
        config={"sequences": settings.sequences, **more},
        more=more,
        role="evaluates",
    )


def samples_stage(cfg: Config, settings: SamplesConfig, text: TextChain, model: Stage | Source) -> Stage:
    """Texts that ``model`` generates from the beginnings of held-out texts; the batch size does not change them."""
    return Stage(
        kind="samples",
        label="samples",
        function="adapt.stages.samples:samples",
        modules=(*SAMPLING, *adapted(model)),
        argument=settings,
        inputs={"model": model, "text": text.source(settings.text, leaks="drop")},
        config=asdict(settings),
        more={"batch_size": cfg.evaluate.batch_size},
        role="evaluates",
    )


def evaluate_stage(
    cfg: Config, model: Stage, task: Stage, leaks: Stage, masked_lm: Stage | Source, measured: dict[str, Stage]
) -> Stage:
    """Scores of ``model`` on the task, clean and under attack; texts are cut at the token limit of its fine-tuning.

    leaks: the stage that lists the test examples that no training text holds.
    masked_lm: the model that fine-tuning started from; an input only where an attack on the text proposes words by it.
    measured: stages that are not read here but whose rows belong to the run.
    """
    text = cfg.evaluate.text
    proposes = {"masked_lm": masked_lm} if text is not None and needs_masked_lm(text.recipes) else {}
    unused = ("name", "domains", "samples") if text is not None else ("name", "domains", "samples", "text")
    return Stage(
        kind="evaluate",
        label="evaluate",
        function="adapt.stages.evaluate:evaluate",
        modules=(
            *("adapt.stages.evaluate", *kind_modules(cfg), *_ATTACKS, *MODEL, *PERTURBED),
            *("adapt.perturbation.attack", *adapted(model)),
            *(_TEXT_ATTACKS if text is not None else ()),
        ),
        argument=cfg.evaluate,
        inputs={"model": model, "task": task, "leaks": leaks, **proposes, **measured},
        config={**without(asdict(cfg.evaluate), *unused), "max_length": cfg.finetune.max_length},
        more={"max_length": cfg.finetune.max_length},
        role="evaluates",
    )


def candidates_stage(text: TextAttackConfig, task: Stage) -> Stage:
    """Refuses an attack by typing that can change no word of the task, before anything is trained. It has no rows."""
    return Stage(
        kind="candidates",
        label="candidates",
        function="adapt.stages.candidates:candidates",
        modules=_CANDIDATES,
        argument=None,
        inputs={"task": task},
        config={"recipes": [name for name in text.recipes if name in TYPED], "max_examples": text.max_examples},
        more={"recipes": list(text.recipes), "max_examples": text.max_examples},
    )


def baseline_chain(cfg: Config, task: Stage, leaks: Stage) -> list[Stage]:
    """The two stages of the TF-IDF baseline: no encoder, no adversary, no attack in embedding space."""
    modules = ("adapt.stages.baseline", "adapt.data.selection.tfidf", "adapt.data.characters", *SCORED)
    fit = Stage(
        kind="finetune",
        label="tfidf",
        function="adapt.stages.baseline:tfidf",
        modules=modules,
        argument=None,
        inputs={"task": task},
        config={"method": "tfidf"},
        role="finetunes",
        prefix="",
    )
    measure = Stage(
        kind="evaluate",
        label="evaluate",
        function="adapt.stages.baseline:evaluate_tfidf",
        modules=(*modules, "adapt.tasks.scores"),
        argument=None,
        inputs={"model": fit, "task": task, "leaks": leaks},
        config={"model": "tfidf"},
        role="evaluates",
    )
    return [fit, measure]
