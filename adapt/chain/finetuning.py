"""The stages that fine-tune a model on the run's task, and the perturbations that they may train on. Builds nothing."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adapt.chain.methods import module_of, passes
from adapt.chain.stage import Source, Stage, without
from adapt.config import AdversaryConfig, Config, FinetuneConfig, KeptConfig, PeftConfig
from adapt.data.tasks import KINDS

# The modules whose code decides what a stage computes: their VERSIONs are part of its key (docs/rooms.md, Keys).
MODEL = ("adapt.models.loading", "adapt.models.heads", "adapt.models.decoders", "adapt.data.tokens.batching")
PERTURBED = ("adapt.training.objectives", "adapt.perturbation.ball", "adapt.perturbation.embeddings")
LOOP = (
    *("adapt.training.fit", "adapt.training.loop", "adapt.training.step", "adapt.training.method"),
    "adapt.training.optimization",
    *("adapt.training.retention", "adapt.training.checkpoint", "adapt.training.costs"),
    *("adapt.training.processes", "adapt.training.sharding", *PERTURBED),
)
PLAIN = "adapt.adversary.plain"
SHARED = ("adapt.adversary.divergence", "adapt.perturbation.attack")  # used by the methods that perturb
ADAPTED = (
    *("adapt.adapters.folder", "adapt.adapters.methods", "adapt.adapters.virtual_tokens", "adapt.adapters.bottleneck"),
    *("adapt.adapters.selective", "adapt.adapters.quantization", "adapt.training.retention"),
)
ADAPTING = ("adapt.adapters.stage", "adapt.adapters.targets", "adapt.adapters.allocation")
BITS = ("adapt.adapters.bits",)
SCORED = ("adapt.table.metrics", "adapt.data.splits")
PROBED = ("adapt.tasks.prediction", *SCORED)
MANY = 5000  # a guess at the number of training examples where no setting limits it
HEAD_ONLY = "adapt.adapters.selective.HeadConfig"


def finetune_stage(cfg: Config, model: Stage | Source, task: Stage, name: str = "") -> Stage:
    """A linear probe on ``model``, whose key has no seed and no adversary, or training under the run's adversary.

    name: the label of a fine-tuning that is not the run's own, and the prefix of the split of its rows.
    """
    if cfg.finetune.method == "linear_probe":
        return Stage(
            kind="finetune",
            label="linear_probe",
            function="adapt.stages.baseline:linear_probe",
            modules=("adapt.stages.baseline", "adapt.training.objectives", *PROBED, *MODEL, *adapted(model)),
            argument=cfg.finetune,
            inputs={"model": model, "task": task},
            config={
                **{key: getattr(cfg.finetune, key) for key in ("method", "max_length")},
                **({"inherit": cfg.peft.inherit} if cfg.peft.inherit != "merge" else {}),  # left out of older keys
            },
            more={"adapted": cfg.peft.inherit != "drop"},
            role="finetunes",
            prefix=name,
        )
    inputs: dict[str, Stage | Source] = {"model": model, "task": task}
    if cfg.adversary.kept is not None:
        inputs["perturbations"] = perturbations_stage(cfg, cfg.adversary.kept, model, task)
    examples = cfg.finetune.epochs * (cfg.task.max_examples.train or MANY)
    return Stage(
        kind="finetune",
        label=name or "finetune",
        function="adapt.stages.finetune:finetune",
        modules=(
            *("adapt.stages.finetune", *kind_modules(cfg), *adversary_modules(cfg.adversary)),
            *(*MODEL, *LOOP, *adapting(model, cfg.peft)),
        ),
        argument=settings_read(cfg),
        inputs=inputs,
        config={
            "finetune": without(asdict(settings_read(cfg)), "name"),
            "adversary": adversary_settings(cfg.adversary),
            "seed": cfg.seed,
            **peft_settings(cfg, cfg.peft),
        },
        more={
            "seed": cfg.seed,
            "adversary": cfg.adversary,
            "peft": cfg.peft,
            "unquantized": cfg.model.modules.unquantized,
        },
        trains=True,
        role="finetunes",
        prefix=name,
        work=examples * cfg.finetune.max_length / 2 * passes(cfg.adversary),
    )


def settings_read(cfg: Config) -> FinetuneConfig:
    """Fine-tuning's settings, without head_learning_rate where only the head is trained: then it is not read."""
    head_only = (cfg.peft.method or {}).get("_target_") == HEAD_ONLY
    return replace(cfg.finetune, head_learning_rate=None) if head_only else cfg.finetune


def perturbations_stage(cfg: Config, kept: KeptConfig, model: Stage | Source, task: Stage) -> Stage:
    """Perturbations that fool a model A, fine-tuned like the run's but under ``kept.method`` (whose runs share A)."""
    adversary = replace(cfg.adversary, name="kept", method=kept.method, kept=None)
    settings = {"max_length": cfg.finetune.max_length, "batch_size": cfg.finetune.micro_batch_size, "seed": cfg.seed}
    attacked = finetune_stage(replace(cfg, adversary=adversary), model, task, "kept")
    return Stage(
        kind="perturbations",
        label="perturbations",
        function="adapt.stages.perturbations:perturbations",
        modules=(
            *("adapt.stages.perturbations", "adapt.data.adversarial_embeddings", "adapt.data.text"),
            *("adapt.tasks.prediction", *MODEL, "adapt.training.step", "adapt.training.method"),
            *(*PERTURBED, "adapt.perturbation.attack", PLAIN, *adapted(attacked)),
        ),
        argument=kept,
        inputs={"model": attacked, "task": task},
        config={**without(asdict(kept), "method"), "ball": asdict(cfg.adversary)["ball"], **settings},
        more={"ball": cfg.adversary.ball, **settings},
    )


def kind_modules(cfg: Config) -> tuple[str, ...]:
    """The modules that encode, predict and score the run's kind of task."""
    return ("adapt.tasks.kinds", *SCORED, *KINDS[cfg.task.kind].answering)


def adversary_modules(cfg: AdversaryConfig) -> tuple[str, ...]:
    """The module that defines the adversary's method, and the modules that it uses."""
    module = module_of(cfg)
    return (module,) if module == PLAIN else (module, *SHARED)


def adapted(model: Stage | Source, *own: PeftConfig) -> tuple[str, ...]:
    """The modules that load adapters or a quantised base; empty where the whole chain trains all weights.

    own: the method of the stage that trains ``model``; those of the stages that made ``model`` are read from it.
    """
    methods = list(own)
    while isinstance(model, Stage):
        methods += [model.more["peft"]] if "peft" in model.more else []
        model = model.inputs["model"]
    exported = has_adapters(model.folder)
    has_adapter = exported or any(peft.method is not None for peft in methods)
    quantized = exported or any(peft.quantization is not None for peft in methods)
    return (*(ADAPTED if has_adapter else ()), *(BITS if quantized else ()))


def adapting(model: Stage | Source, *own: PeftConfig) -> tuple[str, ...]:
    """The modules of ``adapted``, and those that prepare such a model for training and train it."""
    modules = adapted(model, *own)
    return (*modules, *ADAPTING) if modules else ()


def has_adapters(folder: Path) -> bool:
    """Whether a base model comes with adapters or quantised layers, as an exported model may."""
    config = (folder / "config.json").read_bytes()  # not parsed: checks/models.py refuses a broken one, and says why
    return (folder / "adapters").is_dir() or b'"quantization_config"' in config


def is_whole(peft: PeftConfig) -> bool:
    """Whether a stage trains all weights, with its own learning rate, from all that its parent learned: the default."""
    return peft.method is None and peft.inherit == "merge" and peft.learning_rate_factor == 1


def peft_settings(cfg: Config, peft: PeftConfig) -> dict[str, Any]:
    """The method's settings in a stage's key; empty where all weights are trained, as in keys from before PEFT."""
    if is_whole(peft):
        return {}
    unquantized = {"unquantized": cfg.model.modules.unquantized} if peft.quantization is not None else {}
    return {"peft": {**without(asdict(peft), "name"), **unquantized}}


def adversary_settings(cfg: AdversaryConfig) -> dict[str, Any]:
    """The adversary's settings in a stage's key: all but its label and its exemptions from tests."""
    return without(asdict(cfg), "name", "exempt")
