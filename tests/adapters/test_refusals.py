"""What a method does not support is refused before training, in one sentence that says what is possible."""

from contextlib import nullcontext

import pytest
import torch
from adapted import LLAMA, METHODS, composed, option
from transformers import AutoConfig, AutoModel

from adapt.adapters.check import check_method
from adapt.adapters.methods import Adapter, put_on
from adapt.adapters.stage import method_of
from adapt.checks.peft import check_binding
from adapt.config import ConfigError


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["peft=lora", "model=tfidf"], "peft=full"),
        (["peft=lora", "finetune=linear_probe"], "head_only"),
        (["peft.inherit=stack"], "possible are merge, drop"),
        (["peft.quantization=nf4"], "qlora"),
        (["peft=lora", "peft.quantization=nf5"], "null, nf4, int8"),
        (["peft=bitfit", "peft.quantization=nf4"], "possible are lora"),
        (["peft=lora", "peft.inherit=keep"], "merge, stack, drop"),
        (["peft=lora", "peft.learning_rate_factor=0"], "more than 0"),
        (["peft=lora", "finetune.retention.toward_start=0.1"], "no weight of the base is trained"),
        (["peft=bottleneck_pfeiffer", "finetune.retention.toward_start=0.1"], "no weight of the base is trained"),
        (["peft=prompt", "finetune.retention.frozen_layers=1"], "below the layers"),
        (["peft=prompt", "finetune.retention.layer_decay=0.9"], "finetune.retention.layer_decay=0.9: .* set it to 1"),
        (
            [
                "pretrain=[tapt]",
                "peft@pretrain_peft=p_tuning_lstm",
                "peft.inherit=drop",
                "pretrain.tapt.retention.layer_decay=0.9",
            ],
            "pretrain.tapt.retention.layer_decay=0.9",
        ),
        (
            ["pretrain=[tapt]", "vocabulary=extended", "peft@pretrain_peft=lora"],
            "vocabulary=extended: .* pretrain_peft=full",
        ),
        (["pretrain=[dapt]", "peft@pretrain_peft=qlora", "peft=bitfit", "peft.inherit=stack"], "stays in .*=nf4"),
        (["pretrain=[dapt]", "peft@pretrain_peft=int8_lora", "peft=adalora", "peft.inherit=stack"], "stays in .*=int8"),
        (["peft=prefix", "runtime.gradient_checkpointing=true"], "choose prompt or lora"),
        (
            ["pretrain=[dapt]", "peft@pretrain_peft=prefix", "peft.inherit=drop", "pretrain.dapt.packing=true"],
            "packing",
        ),
        (["peft=adalora", "runtime.shard=true", "runtime.processes=2"], "choose lora"),
        (["pretrain=[dapt]", "peft@pretrain_peft=prompt"], "set peft.inherit to drop"),
        (["pretrain=[dapt]", "peft@pretrain_peft=prompt", "peft=lora"], "set peft.inherit to stack or drop"),
        (["pretrain=[dapt]", "peft@pretrain_peft=prompt", "finetune=linear_probe"], "inherit to stack or drop"),
        (
            ["pretrain=[dapt,tapt]", "peft@pretrain_peft=prompt", "pretrain_peft.inherit=merge", "peft=prompt"],
            "before tapt",
        ),
        (["pretrain=[dapt]", "peft@pretrain_peft=lora", "peft=vera", "peft.inherit=stack"], "merge or drop"),
        (["pretrain=[dapt]", "peft@pretrain_peft=lora", "peft=qlora", "peft.inherit=stack"], "on another base"),
        (["pretrain=[dapt]", "peft@pretrain_peft=llama_adapter", "peft=llama_adapter"], "set it to drop"),
        (
            [
                "pretrain=[dapt,tapt]",
                "peft@pretrain_peft=prompt",
                "peft=prompt",
                "pretrain.tapt.masking.strategy=selective",
            ],
            "cannot be merged",
        ),
    ],
)
def test_a_combination_that_cannot_be_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        composed(*([] if "model=tfidf" in overrides else ["model.path=x"]), *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        ["pretrain=[dapt]", "vocabulary=extended", "peft=lora"],  # fine-tuning finds the new tokens trained
        ["vocabulary=none", "pretrain=[dapt]", "peft@pretrain_peft=lora"],
        ["pretrain=[dapt]", "peft@pretrain_peft=qlora", "peft=bitfit", "peft.inherit=merge"],
        ["pretrain=[dapt]", "peft@pretrain_peft=qlora", "peft=ia3", "peft.inherit=stack"],
        ["peft=lora", "finetune.retention.layer_decay=0.9"],
        ["peft=bottleneck_houlsby", "finetune.retention.toward_start=0.1"],
    ],
)
def test_its_neighbours_are_not(overrides: list[str]) -> None:
    composed("model.path=x", *overrides)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"_target_": "peft.LoraConfig", "rank": 8}, "no such setting"),
        ({"_target_": "peft.LoraConfigs"}, "no such class"),
        ({"_target_": "peft.get_peft_model"}, "no config of a method"),
        ({"_target_": "peft.LoraConfig", "bias": "all"}, "peft.method.bias=all: .* peft=bitfit trains"),
        ({"_target_": "peft.AdaLoraConfig", "bias": "lora_only"}, "peft.method.bias=lora_only: .*bitfit"),
        ({"_target_": "peft.IA3Config", "modules_to_save": ["pooler"]}, "heads are trained under every method"),
        ({"_target_": "peft.LoraConfig", "trainable_token_indices": [1]}, "peft=full trains the embeddings"),
        ({"_target_": "peft.LoraConfig", "target_parameters": ["w"]}, "under target_modules"),
        ({"_target_": "peft.VeraConfig", "layers_to_transform": [0]}, "under target_modules"),
    ],
)
def test_a_method_that_is_none_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_binding("peft.method", settings)


def test_a_setting_without_effect_may_have_its_default() -> None:
    check_binding("peft.method", {"_target_": "peft.LoraConfig", "bias": "none", "modules_to_save": None})


def test_an_option_binds_its_settings(method: str) -> None:
    check_binding("peft.method", option(method).method)


def skeleton(kind: str):
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    own = {
        "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    }
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=50, **own.get(kind, shape)))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("llama_adapter", "bert", "llama, mistral, gpt2"),
        ("lora", "distilbert", "q_lin"),
        ("prefix", "distilbert", "possible are prompt"),
        ("prompt", "t5", "possible are lora"),
        ("bitfit", "llama", "no bias terms"),
    ],
)
def test_an_architecture_that_a_method_cannot_serve_is_refused(name: str, kind: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_method("peft", option(name), skeleton(kind))


@pytest.mark.parametrize(
    ("heads", "fit"),
    [
        ({"num_key_value_heads": 2}, True),
        ({"num_key_value_heads": 1}, True),
        ({"num_key_value_heads": 2, "head_dim": 4}, False),  # narrower than 16 / 2, as Mistral Nemo's
        ({"num_key_value_heads": 2, "head_dim": 16}, False),
        ({"num_key_value_heads": 1, "head_dim": 16}, False),
    ],
)
def test_a_llama_adapter_on_heads_of_another_width_is_refused(heads: dict, fit: bool) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = AutoConfig.for_model("mistral", vocab_size=50, **shape, **heads)
    ours = option("llama_adapter")
    if fit:
        model = AutoModel.from_config(config)
        put_on(model, Adapter("adapter0", method_of(ours, model)))
        assert torch.isfinite(model(input_ids=torch.tensor([[1, 2, 3]]))[0]).all()
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    with nullcontext() if fit else pytest.raises(ConfigError, match=rf"head_dim={heads.get('head_dim')}.* lora"):
        check_method("peft", ours, model)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("llama_adapter", "qlora", "int8_lora")])
def test_a_bert_and_a_llama_can_have_the_others(name: str) -> None:
    check_method("peft", option(name), skeleton("bert"))
    if name != "bitfit":
        cfg = composed(f"peft={name}", "model.path=x", *LLAMA).peft
        check_method("peft", cfg, skeleton("llama"))
