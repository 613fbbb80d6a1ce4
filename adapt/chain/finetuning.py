"""The stages that fine-tune a model on the run's task, and what they are trained on beside it. Builds nothing."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from adapt.chain.stage import Source, Stage, without
from adapt.config import AdversaryConfig, Config, FinetuneConfig, KeptConfig, PeftConfig

# The modules whose arithmetic a stage runs: their VERSIONs are part of its key.
MODEL = ("adapt.models.loading", "adapt.models.heads", "adapt.models.decoders", "adapt.data.tokens.batching")
PERTURBED = (
    "adapt.training.objectives",
    "adapt.perturbation.ball",
    "adapt.perturbation.embeddings",
    "adapt.perturbation.attack",
)
LOOP = (
    *(
        "adapt.training.loop",
        "adapt.training.checkpoint",
        "adapt.training.optimization",
        "adapt.training.retention",
        "adapt.training.method",
        "adapt.training.step",
    ),
    *("adapt.adversary.plain", "adapt.adversary.divergence", *PERTURBED),
)
ADAPTED = (
    *("adapt.adapters.stage", "adapt.adapters.methods", "adapt.adapters.folder", "adapt.adapters.virtual_tokens"),
    *("adapt.adapters.bottleneck", "adapt.adapters.selective", "adapt.adapters.allocation"),
    "adapt.adapters.quantization",
)
HEAD_ALONE = "adapt.adapters.selective.HeadConfig"


def finetune_stage(cfg: Config, model: Stage | Source, task: Stage, label: str = "finetune") -> Stage:
    """A linear probe on ``model``, whose key knows no seed or adversary, or training under the run's adversary."""
    if cfg.finetune.method == "linear_probe":
        return Stage(
            kind="finetune",
            label="linear_probe",
            function="adapt.stages.baseline:linear_probe",
            modules=("adapt.stages.baseline", "adapt.tasks.prediction", *MODEL, *adapted(*of_pretraining(cfg))),
            argument=cfg.finetune,
            inputs={"model": model, "task": task},
            config={
                **{key: getattr(cfg.finetune, key) for key in ("method", "max_length")},
                **({"inherit": cfg.peft.inherit} if cfg.peft.inherit != "merge" else {}),  # as before it could be told
            },
            more={"adapted": cfg.peft.inherit != "drop"},
        )
    inputs: dict[str, Stage | Source] = {"model": model, "task": task}
    if cfg.adversary.kept is not None:
        inputs["perturbations"] = perturbations_stage(cfg, cfg.adversary.kept, model, task)
    return Stage(
        kind="finetune",
        label=label,
        function="adapt.stages.finetune:finetune",
        modules=(
            "adapt.stages.finetune",
            *kind_modules(cfg),
            target_module(cfg.adversary),
            *MODEL,
            *LOOP,
            *adapted(cfg.peft, *of_pretraining(cfg)),
        ),
        argument=settings_read(cfg),
        inputs=inputs,
        config={
            "finetune": without(asdict(settings_read(cfg)), "name"),
            "adversary": identity(cfg.adversary),
            "seed": cfg.seed,
            **peft_identity(cfg, cfg.peft),
        },
        more={
            "seed": cfg.seed,
            "adversary": cfg.adversary,
            "peft": cfg.peft,
            "unquantized": cfg.model.modules.unquantized,
        },
        trains=True,
    )


def settings_read(cfg: Config) -> FinetuneConfig:
    """Fine-tuning's settings; a head that is trained alone has the stage's own rate, so that a sweep of it is one."""
    alone = (cfg.peft.method or {}).get("_target_") == HEAD_ALONE
    return replace(cfg.finetune, head_learning_rate=None) if alone else cfg.finetune


def perturbations_stage(cfg: Config, kept: KeptConfig, model: Stage | Source, task: Stage) -> Stage:
    """What fools a model A, fine-tuned as the run's own is but under ``kept.method``: a run of that method shares A."""
    adversary = replace(cfg.adversary, name="kept", method=kept.method, kept=None)
    settings = {"max_length": cfg.finetune.max_length, "batch_size": cfg.finetune.micro_batch_size, "seed": cfg.seed}
    return Stage(
        kind="perturbations",
        label="perturbations",
        function="adapt.stages.perturbations:perturbations",
        modules=(
            "adapt.stages.perturbations",
            "adapt.data.adversarial_embeddings",
            "adapt.tasks.prediction",
            *MODEL,
            *LOOP,
        ),
        argument=kept,
        inputs={"model": finetune_stage(replace(cfg, adversary=adversary), model, task, "kept"), "task": task},
        config={**without(asdict(kept), "method"), "ball": asdict(cfg.adversary)["ball"], **settings},
        more={"ball": cfg.adversary.ball, **settings},
    )


def kind_modules(cfg: Config) -> tuple[str, ...]:
    """What encodes, answers and scores the run's kind of task."""
    own = (
        ("adapt.tasks.tagging", "adapt.data.tagging")
        if cfg.task.kind == "tagging"
        else ("adapt.tasks.classification", "adapt.tasks.prediction")
    )
    return ("adapt.tasks.kinds", *own)


def target_module(cfg: AdversaryConfig) -> str:
    """The module that defines the adversary's method: all of its ``_target_`` before the last dot."""
    return str(cfg.method["_target_"]).rpartition(".")[0]


def adapted(*methods: PeftConfig) -> tuple[str, ...]:
    """The modules that put adapters on a model that was trained by these methods; none where all train all weights."""
    return ADAPTED if any(peft.method is not None for peft in methods) else ()


def of_pretraining(cfg: Config) -> tuple[PeftConfig, ...]:
    """The methods behind the model that fine-tuning starts from, which knows nothing of fine-tuning's own."""
    return (cfg.pretrain_peft,) if cfg.pretrain else ()


def is_whole(peft: PeftConfig) -> bool:
    """Whether a stage trains all weights, at its own rate, on all that its parent learned, as at first they all did."""
    return peft.method is None and peft.inherit == "merge" and peft.learning_rate_factor == 1


def peft_identity(cfg: Config, peft: PeftConfig) -> dict[str, Any]:
    """What a stage's key knows of its method: nothing where all is trained, as before there were others."""
    if is_whole(peft):
        return {}
    kept = {"unquantized": cfg.model.modules.unquantized} if peft.quantization is not None else {}
    return {"peft": {**without(asdict(peft), "name"), **kept}}


def identity(cfg: AdversaryConfig) -> dict[str, Any]:
    """An adversary's settings without its label and its tests' exemptions."""
    return without(asdict(cfg), "name", "exempt")
