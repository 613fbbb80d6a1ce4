"""Shared by the tests of the adversaries: every method of conf/adversary, tiny random models, fixed batches.

transformers is imported only by the models that need it, so that the two-process script can import this file cheaply.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from adapt.perturbation.ball import Ball
from adapt.training import method as training_method
from adapt.training.objectives import Batch, Classification, MaskedLanguageModel, Objective
from adapt.training.sharding import gathered
from adapt.training.step import Counts, Step

torch.set_num_threads(1)

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "adversary").glob("*.yaml"))
VOCABULARY, CLASSES, PAD, CLS, SEP, MASK = 60, 3, 0, 1, 2, 3
ENCODERS = ("bert", "roberta", "distilbert", "electra", "deberta-v2")
MASKED_LMS = (*ENCODERS, "albert", "mpnet", "modernbert")
ARCHITECTURES = (*MASKED_LMS, "gpt2", "llama", "gemma", "t5", "bart")
OBJECTIVES: dict[str, Objective] = {"classification": Classification(), "masked_lm": MaskedLanguageModel()}
PROPERTIES = {
    "activations": "perturbs activations: frozen and tied embeddings, repeated tokens and the batch change nothing",
    "batch_invariance": "an example's delta depends neither on the batch nor on padding; it is zero on padding",
    "zero_is_clean": "delta = 0 gives the clean loss and gradients",
    "bounded": "the norm of delta never exceeds epsilon",
    "accumulation": "1 x 16 = 4 x 4 = 3 + 13 in gradients",
    "inner_steps": "inner steps leave .grad alone",
    "float32": "deltas and norms are float32 under low precision",
    "means": "doubling the batch leaves every loss unchanged",
    "one_mask": "every pass sees the same masked batch",
    "clean_exit": "after an exception the model is as before",
    "processes": "two processes of 8 give the gradients of one of 16",
}


@dataclass
class Adversary(training_method.Adversary):
    """An option file of conf/adversary."""

    name: str
    exempt: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Adversary:
        option = yaml.safe_load(file.read_text())
        settings = dict(option["method"])
        module, function = settings.pop("_target_").rsplit(".", 1)
        assert settings.pop("_partial_") is True
        method = partial(getattr(importlib.import_module(module), function), **settings)
        ball = Ball(**option["ball"]) if option["ball"] else None
        return cls(method, ball, option["dropout"], option["float32"], option["name"], option["exempt"])

    def with_ball(self, **changes: Any) -> Adversary:
        return replace(self, ball=replace(self.ball, **changes) if self.ball else None)

    def visible(self) -> Adversary:
        """Where it needs float32, a radius of .1 and noise of .001 at least: smaller ones drown in float32 as well."""
        if self.ball is None or not self.float32:
            return self
        noise = self.method.keywords.get("noise")
        raised = {"noise": max(noise, 1e-3)} if isinstance(noise, float) else {}
        return replace(self.with_ball(epsilon=max(self.ball.epsilon, 0.1)), method=partial(self.method, **raised))


def read(name: str, **settings: Any) -> Adversary:
    """An option file by name, with some of its method's settings changed."""
    adversary = Adversary.read(OPTIONS[0].parent / f"{name}.yaml")
    return replace(adversary, method=partial(adversary.method, **settings))


@dataclass
class Run:
    """What one step of a method did: yielded losses and perturbations in order, and the gradients it left."""

    losses: list[Tensor] = field(default_factory=list)
    deltas: list[dict[int, Tensor]] = field(default_factory=list)  # of each outer loss: example id -> its real tokens
    outside: float = 0.0  # the largest element of a delta where nothing may move
    gradients: dict[str, Tensor] = field(default_factory=dict)
    counts: Counts | None = None
    step: Step | None = None

    def of(self, example: int) -> list[Tensor]:
        """The deltas of one example, in order."""
        return [deltas[example] for deltas in self.deltas if example in deltas]


def run(adversary: Adversary, model: nn.Module, objective: Objective, batches: Sequence[Batch], **settings: Any) -> Run:
    """One step of a method, as the training loop runs it, without the update."""
    adversary = replace(adversary, dropout=settings.pop("dropout", adversary.dropout))
    keep = {"seed": 5, "step_number": 7, "update": lambda: None, "stored": kept(model, batches), **settings}
    step = Step(model, objective, batches, adversary=adversary, **keep)
    outcome = Run(step=step)
    for view in step:
        forward = view.forward

        def recorded(delta: Tensor | None = None, view: Any = view, forward: Any = forward, **more: Any) -> Any:
            if delta is not None:
                moved, real = delta.detach().clone(), view.batch["attention_mask"].bool()
                ids = view.batch["example_ids"].tolist()
                outcome.deltas.append({example: moved[row, real[row]] for row, example in enumerate(ids)})
                outcome.outside = max(outcome.outside, (moved * (1 - view.mask)).abs().max().item())
            return forward(delta, **more)

        view.forward = recorded  # type: ignore[method-assign]
    model.zero_grad()
    with closing(adversary.method(step)) as losses:
        for loss in losses:
            loss.backward()
            outcome.losses.append(loss.detach())
    outcome.gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    outcome.counts = step.counts
    return outcome


def kept(model: nn.Module, batches: Sequence[Batch]) -> dict[int, Tensor]:
    """For each example the embeddings of its real tokens, plus noise that depends only on its id."""
    inner = getattr(model, "module", model)
    weight = gathered(inner.encoder.get_input_embeddings().weight.detach())
    result = {}
    for batch in batches:
        for row, example in enumerate(batch["example_ids"].tolist()):
            ids = batch["input_ids"][row][batch["attention_mask"][row].bool()]
            noise = torch.randn(len(ids), weight.shape[1], generator=torch.Generator().manual_seed(example))
            result[example] = weight[ids] + 0.1 * noise
    return result


def tiny(architecture: str, objective: str = "classification", *, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """A random model of about 16 dimensions, in training mode, with weights large enough for its loss to bend.

    Torch's generator is left as the making of the model leaves it, which is made once and copied.
    """
    model, state = made(architecture, objective, dropout, seed)
    torch.set_rng_state(state)
    return copy.deepcopy(model)


@cache
def made(architecture: str, objective: str, dropout: float, seed: int) -> tuple[nn.Module, Tensor]:
    """The model and the state of torch's generator after it."""
    import transformers

    from adapt.models.heads import Classifier, MeanHead
    from adapt.models.language import MaskedLM

    plain = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    special = {"pad_token_id": PAD, "bos_token_id": CLS, "eos_token_id": SEP, "max_position_embeddings": 64}
    shapes: dict[str, dict[str, Any]] = {
        "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
        "electra": {**plain, "embedding_size": 8},
        "albert": {**plain, "embedding_size": 8},
        "deberta-v2": {**plain, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
        "modernbert": {**plain, "local_attention": 8, "cls_token_id": CLS, "sep_token_id": SEP},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
        "gemma": {**plain, "num_key_value_heads": 2, "head_dim": 8},
        "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
        "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                 "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "scale_embedding": True},
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(
        architecture, vocab_size=VOCABULARY, **special, **shapes.get(architecture, plain)
    )
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float | None):
            setattr(config, name, dropout)
    torch.manual_seed(seed)
    if objective == "masked_lm":
        model: nn.Module = MaskedLM(transformers.AutoModelForMaskedLM.from_config(config))
    else:
        auto = transformers.T5EncoderModel if architecture == "t5" else transformers.AutoModel.from_config
        encoder = auto(config)
        encoder.pooler = None
        model = Classifier(encoder, MeanHead(16, CLASSES, dropout))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.3)
    return model.train(), torch.get_rng_state()


class Toy(nn.Module):
    """logits = U tanh(W mean(e)): small enough to transcribe by hand."""

    class Encoder(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.words = nn.Embedding(VOCABULARY, width)

        def forward(self, input_ids: Tensor) -> tuple[Tensor]:
            return (self.words(input_ids),)

        def get_input_embeddings(self) -> nn.Embedding:
            return self.words

    def __init__(self, width: int = 6, hidden: int = 5) -> None:
        super().__init__()
        self.encoder = Toy.Encoder(width)
        self.lower = nn.Linear(width, hidden)
        self.upper = nn.Linear(hidden, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask.unsqueeze(-1).float()
        mean = (self.encoder(input_ids)[0] * weights).sum(1) / weights.sum(1)
        return self.upper(torch.tanh(self.lower(mean)))


def make_batch(size: int = 16, *, seed: int = 0) -> Batch:
    """Sequences of 5 to 12 tokens with [CLS], [SEP], a label and two masked tokens each."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(5, 13, (size,), generator=random)
    lengths[0] = 12
    columns = torch.arange(12).expand(size, 12)
    ids = torch.randint(5, VOCABULARY, (size, 12), generator=random)
    ids[:, 0] = CLS
    ids[columns == lengths[:, None] - 1] = SEP
    attention = (columns < lengths[:, None]).long()
    ids[attention == 0] = PAD
    rows = torch.arange(size).repeat_interleave(2)
    places = rows * 12 + torch.tensor([1, 3]).repeat(size)
    targets = ids.flatten()[places]
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "special_tokens_mask": (ids < 5).long(),
        "example_ids": torch.arange(size) * 11 + 100,
        "labels": torch.randint(0, CLASSES, (size,), generator=random),
        "rows": rows,
        "positions": places,
        "targets": targets,
    }


def masked(batch: Batch) -> Batch:
    """The batch as masked-LM training sees it."""
    ids = batch["input_ids"].flatten().clone()
    ids[batch["positions"]] = MASK
    return {**batch, "input_ids": ids.view_as(batch["input_ids"])}


def pick(batch: Batch, rows: Sequence[int], *, extra_padding: int = 0) -> Batch:
    """Some examples of a batch, padded to the longest of them and then by ``extra_padding`` columns more."""
    width = batch["input_ids"].shape[1]
    longest = int(batch["attention_mask"][list(rows)].sum(1).max())
    padding = {"input_ids": PAD, "attention_mask": 0, "special_tokens_mask": 1}
    picked = {name: batch[name][list(rows)] for name in ("example_ids", "labels")}
    for name, value in padding.items():
        kept = batch[name][list(rows)][:, :longest]
        picked[name] = nn.functional.pad(kept, (0, extra_padding), value=value)
    predicted = [(new, index) for new, row in enumerate(rows) for index in (batch["rows"] == row).nonzero().flatten()]
    picked["rows"] = torch.tensor([new for new, _ in predicted])
    old = torch.stack([index for _, index in predicted])
    picked["positions"] = picked["rows"] * (longest + extra_padding) + batch["positions"][old] % width
    picked["targets"] = batch["targets"][old]
    return picked


def batch_for(objective: str) -> Batch:
    return masked(make_batch()) if objective == "masked_lm" else make_batch()
