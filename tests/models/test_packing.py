"""Packed texts do not see each other: hidden states and logits are those of each text by itself."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, BertModel

from adapt.models import language, packing

VOCABULARY, PAD = 60, 0
PLAIN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPECIAL = {"pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64}
GROUPED = {**PLAIN, "num_key_value_heads": 2}
SHAPES = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {**PLAIN, "embedding_size": 8},
    "albert": {**PLAIN, "embedding_size": 8},
    "deberta-v2": {**PLAIN, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "modernbert": {**PLAIN, "num_hidden_layers": 4, "local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "gemma": {**GROUPED, "head_dim": 8},
    "gemma3_text": {**GROUPED, "head_dim": 8, "num_hidden_layers": 6, "sliding_window": 3},
    "mistral": {**GROUPED, "sliding_window": 3},
    "qwen2": GROUPED,
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
            "word_embed_proj_dim": 16},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
}  # fmt: skip
DECODERS = ("gpt2", "llama", "gemma", "gemma3_text", "mistral", "qwen2", "opt", "bloom")
CANNOT = ("bart", "bloom", "deberta-v2")


def random_model(architecture: str, attention: str = "eager") -> language.MaskedLM | language.CausalLM:
    """A model with weights so large that a wrongly attended token shows."""
    config = AutoConfig.for_model(architecture, vocab_size=VOCABULARY, **SPECIAL, **SHAPES.get(architecture, PLAIN))
    torch.manual_seed(0)
    if architecture in DECODERS:
        model = language.CausalLM(AutoModelForCausalLM.from_config(config, attn_implementation=attention))
    else:
        model = language.MaskedLM(AutoModelForMaskedLM.from_config(config, attn_implementation=attention))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.3)
    return model.eval()


def packed_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows: texts of 8, 7 and 1 tokens and no padding; 5 and 6, and 5 of padding."""
    documents = torch.zeros(2, 16, dtype=torch.long)
    for row, sizes in enumerate([(8, 7, 1), (5, 6)]):
        documents[row, : sum(sizes)] = torch.repeat_interleave(torch.arange(len(sizes)) + 1, torch.tensor(sizes))
    ids = torch.randint(5, VOCABULARY, (2, 16), generator=torch.Generator().manual_seed(3))
    return ids.where(documents > 0, PAD), documents


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", packing.PACKABLE)
@torch.no_grad()
def test_a_packed_text_has_the_states_and_logits_that_it_has_alone(architecture: str, attention: str) -> None:
    try:
        model = random_model(architecture, attention)
    except ValueError as error:
        assert "does not support an attention implementation" in str(error)
        pytest.skip(str(error))
    ids, documents = packed_batch()
    mask = (documents > 0).long()
    width = ids.shape[1]
    states = model.encoder(**model.inputs(ids, mask, documents))[0]
    logits = model(ids, mask, torch.arange(2 * width), document_ids=documents).view(2, width, -1)
    for row, number in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]:
        here = documents[row] == number
        alone = ids[row, here][None]
        one = torch.ones_like(alone)
        torch.testing.assert_close(
            states[row, here], model.encoder(**model.inputs(alone, one, None))[0][0], atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(
            logits[row, here], model(alone, one, torch.arange(alone.shape[1])), atol=1e-5, rtol=1e-5
        )
    seen = model.encoder(**model.inputs(ids[:1], mask[:1], None))[0]
    assert (seen[0, 8:15] - states[0, 8:15]).abs().max() > 0.01  # without document_ids the first text is seen


@pytest.mark.parametrize("architecture", sorted({*packing.PACKABLE, *CANNOT}))
def test_what_cannot_is_told_from_what_can(architecture: str) -> None:
    model = random_model(architecture)
    apart = packing.keeps_apart(model.encoder, lambda *given: model.encoder(**model.inputs(*given))[0])
    assert apart == (architecture not in CANNOT)


def test_a_leak_between_texts_is_found() -> None:
    """A model that accepts a block mask and then ignores it."""
    model = random_model("bert")

    def leaking(ids: torch.Tensor, mask: torch.Tensor, _documents: torch.Tensor | None) -> torch.Tensor:
        return model.encoder(**model.inputs(ids, mask, None))[0]

    assert not packing.keeps_apart(model.encoder, leaking)


def test_positions_begin_anew_at_each_text() -> None:
    documents = torch.tensor([[1, 1, 1, 2, 3, 3, 0, 0]])
    bert = random_model("bert").encoder
    roberta = random_model("roberta").encoder
    assert packing.positions_of(bert, documents).tolist() == [[0, 1, 2, 0, 0, 1, 0, 1]]
    assert packing.positions_of(roberta, documents).tolist() == [[1, 2, 3, 1, 1, 2, 0, 0]]  # its padding index is 0


def test_the_window_of_a_layer_that_sees_near_tokens_alone() -> None:
    """Half of ModernBERT's local_attention to either side; Mistral's sliding_window counts the token itself."""
    mistral, documents = random_model("mistral").encoder, torch.ones(1, 5, dtype=torch.long)
    near = packing.packed_inputs(mistral, documents, causal=True)["attention_mask"][0, 0] == 0
    assert near.long().tolist() == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1],
    ]  # fmt: skip
    modern = packing.packed_inputs(random_model("modernbert").encoder, documents, causal=False)["attention_mask"]
    assert (modern["full_attention"] == 0).all()
    assert (modern["sliding_attention"][0, 0, 0] == 0).tolist() == [True, True, True, False, False]


def test_a_mask_has_the_precision_of_the_model() -> None:
    model = BertModel(BertConfig(vocab_size=VOCABULARY, **PLAIN)).to(torch.bfloat16)
    result = packing.packed_inputs(model, torch.tensor([[1, 2]]), causal=False)["attention_mask"]
    assert result.dtype == torch.bfloat16
    assert result[0, 0].isfinite().all()
