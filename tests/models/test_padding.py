"""What a network says of a text is that text's only; where it is not, it is refused, or its batches hold one length."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from adapt.checks.models import check_states
from adapt.config import ConfigError
from adapt.data.tokens.batching import sorted_batches
from adapt.models.heads import Classifier, MeanHead
from adapt.models.padding import SOUND, dependence, embedded_otherwise, reads_context
from adapt.tasks.prediction import reads_padding

SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {"embedding_size": 8}, "squeezebert": {"embedding_size": 16}, "albert": {"embedding_size": 8},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "max_position_embeddings": None},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2}, "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    "gemma": {"num_key_value_heads": 1, "head_dim": 8}, "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2}, "qwen2": {"num_key_value_heads": 2},
    "mobilebert": {"embedding_size": 16, "key_query_shared_bottleneck": True},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16}, "convbert": {"num_attention_heads": 4, "embedding_size": 16,
    "head_ratio": 2, "conv_kernel_size": 9}, "longformer": {"attention_window": 8},
    "big_bird": {"block_size": 2, "num_random_blocks": 1, "attention_type": "block_sparse"},
}  # fmt: skip


def encoder(architecture: str, **more: object) -> Any:
    torch.manual_seed(0)
    sizes = {**SMALL, **SIZES.get(architecture, {}), **more}
    config = AutoConfig.for_model(architecture, **{name: value for name, value in sizes.items() if value is not None})
    network = AutoModel.from_config(config).eval()
    return network.get_encoder() if config.is_encoder_decoder else network


def states(network: Any) -> Any:
    return lambda ids, mask: network(input_ids=ids, attention_mask=mask)[0]


@pytest.mark.parametrize("architecture", [*SOUND, "t5", "bart"])
def test_those_that_are_not_probed_in_a_run_are_sound(architecture: str) -> None:
    network = encoder(architecture)
    assert dependence(network, states(network)) is None and not embedded_otherwise(network, states(network))
    assert reads_context(network, states(network))


@pytest.mark.parametrize("architecture", ["fnet", "convbert"])
def test_layers_that_read_padding_are_seen(architecture: str) -> None:
    network = encoder(architecture)
    assert dependence(network, states(network)) == "padding, that is on the texts beside it in a batch"
    model = Classifier(network, MeanHead(16, 2, 0.0))
    assert reads_padding(model) and reads_padding(model)
    assert not reads_padding(Classifier(encoder("squeezebert"), MeanHead(16, 2, 0.0)))


def test_a_network_that_remembers_is_seen() -> None:
    """BigBird (transformers 5.23) goes over to full attention at the first text that is too short for its blocks."""
    network = encoder("bert")
    seen = []

    def remembering(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append(ids.shape[1])
        return network(input_ids=ids, attention_mask=mask)[0] * (1 + (len(seen) > 3))

    assert dependence(network, remembering) == "the texts that it has read before"
    assert dependence(encoder("big_bird", attention_type="original_full"), states(encoder("bert"))) is None


def test_a_network_that_pads_inside_is_seen() -> None:
    network = encoder("longformer")
    assert "pads its input" in str(embedded_otherwise(network, states(network)))
    assert dependence(network, states(network)) is None


def test_a_network_that_turns_its_input_around_is_seen() -> None:
    network = encoder("xlnet")
    assert "side by side" in str(embedded_otherwise(network, states(network)))
    assert dependence(network, states(network)) is None and reads_context(network, states(network))


def test_a_padding_row_that_is_0_hides_nothing() -> None:
    """MobileBERT joins the embeddings of neighbouring tokens, so that the last token of a text reads the padding."""
    network = encoder("mobilebert", num_attention_heads=4, true_hidden_size=16, intra_bottleneck_size=16)
    with torch.no_grad():
        network.get_input_embeddings().weight[0] = 0
    assert dependence(network, states(network)) == "padding, that is on the texts beside it in a batch"


def test_attention_that_computes_nothing_is_seen() -> None:
    network = encoder("bert")
    for layer in network.encoder.layer:
        layer.attention.output.dense.register_forward_hook(lambda _module, _given, output: output * 0)
    assert not reads_context(network, states(network)) and dependence(network, states(network)) is None


def test_batches_of_one_length() -> None:
    lengths = [3, 5, 3, 5, 5, 2]
    assert sorted_batches(lengths, 2, alike=True) == [[1, 3], [4], [0, 2], [5]]
    assert sorted_batches(lengths, 4) == [[1, 3, 4, 0], [2, 5]]


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("t5", "a t5 cannot be used: its network does not run on token ids and a mask only"),
        ("fnet", "depends on padding, that is on the texts beside it in a batch"),
        ("xlnet", "adversary: a xlnet .* embeds the tokens of all texts side by side"),
        ("longformer", "adversary: a longformer .* pads its input to its attention window"),
    ],
)
def test_a_run_refuses_them_before_training(architecture: str, said: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {**SMALL, **SIZES.get(architecture, {})}
    config = AutoConfig.for_model(architecture, **{name: value for name, value in sizes.items() if value is not None})
    AutoModel.from_config(config).save_pretrained(tmp_path)
    perturbing = SimpleNamespace(ball=object())
    asked: Any = SimpleNamespace(adversary=perturbing, pretrain={}, evaluate=SimpleNamespace(attack=None))
    with pytest.raises(ConfigError, match=said):
        check_states(asked, tmp_path, config)
