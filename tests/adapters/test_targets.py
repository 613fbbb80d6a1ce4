"""Every module that an option file of conf/model names is in a model of its architecture."""

from pathlib import Path

import pytest
import torch
from adapted import CONF, composed
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from adapt.adapters.targets import LINEAR, matching, targets
from adapt.config import ConfigError
from adapt.models.decoders import is_decoder

KINDS = {"deberta-v3-base": "deberta-v2", "modernbert-base": "modernbert", "roberta-base": "roberta"}
KINDS |= {"distilroberta-base": "roberta", "gpt2": "gpt2", "distilgpt2": "gpt2", "pythia-160m": "gpt_neox"}
KINDS |= {"qwen2.5-0.5b": "qwen2"} | dict.fromkeys(("tiny_decoder", "llama-3.2-1b", "smollm2-135m"), "llama")
SERVED = [
    (file, kind)
    for file in sorted((CONF / "model").glob("*.yaml"))
    for kind in (("bert", "roberta", "electra") if file.stem == "hf" else (KINDS.get(file.stem, "bert"),))
    if file.stem != "tfidf"
]
OWN = {"bert": {"cls", "pooler"}, "roberta": {"lm_head", "pooler"}}  # of hf.yaml's heads, beside the classifier
OWN["electra"] = {"generator_predictions", "generator_lm_head"}
OTHERS = {"score", *(name for names in OWN.values() for name in names)}  # score is a decoder's
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(("file", "kind"), SERVED, ids=[f"{file.stem}-{kind}" for file, kind in SERVED])
def test_every_named_module_is_there(file: Path, kind: str) -> None:
    modules = composed(f"model={file.stem}", *(["model.path=x"] if file.stem == "hf" else [])).model.modules
    config = AutoConfig.for_model(kind, vocab_size=50, pad_token_id=0, **SHAPE)
    with torch.device("meta"):
        encoder = AutoModel.from_config(config)
        language = AutoModelForCausalLM if is_decoder(config) else AutoModelForMaskedLM
        heads = [auto.from_config(config) for auto in (language, AutoModelForSequenceClassification)]
    result = {
        name: targets(name, encoder, getattr(modules, name)) for name in ("attention", "linear", "ia3", "feedforward")
    }
    assert set(result["attention"]) | set(result["ia3"]) <= set(result["linear"])
    assert set(result["feedforward"]) <= set(result["ia3"])
    assert len(result["feedforward"]) == config.num_hidden_layers  # one a layer, and not the attention's output with it
    assert len(targets("sublayers", encoder, modules.sublayers)) == 2 * config.num_hidden_layers
    inside = set(result["linear"])
    blocks = [name for name, module in encoder.named_modules() if isinstance(module, LINEAR) and ".0." in name]
    assert set(blocks) <= inside  # every linear layer of a block
    names = {name for head in heads for name, _ in head.named_modules()}
    names |= {f"{encoder.base_model_prefix}.{name}" for name, _ in encoder.named_modules()}
    names |= {name.partition(".")[2] for name in names} if file.stem == "hf" else set()
    known = [name for name in modules.unquantized if name in names or f"{kind}.{name}" in names]
    absent = set(modules.unquantized) - set(known)
    assert absent <= (OTHERS - OWN[kind] if file.stem == "hf" else {"pooler"} if kind == "deberta-v2" else set())
    assert all(matching(names, name) for name in known)
    listed = tuple(f"{name}." for name in known)
    for head in heads:  # all of a head is named
        base = set(head.base_model.modules())
        outside = [name for name, module in head.named_modules() if type(module) is nn.Linear and module not in base]
        assert outside and all(f"{name}.".startswith(listed) for name in outside), outside


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with torch.device("meta"):
        encoder = AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=50, **SHAPE))
    with pytest.raises(
        ConfigError, match=r"no linear layer called q_proj; it has encoder.layer.\*.attention.self.query"
    ):
        targets("peft.method.target_modules", encoder, ["q_proj"])
    with pytest.raises(ConfigError, match="names no layer"):
        targets("peft.method.target_modules", encoder, [])
    assert targets("x", encoder, ["layer.*.output.dense"]) == [f"encoder.layer.{n}.output.dense" for n in range(2)]
