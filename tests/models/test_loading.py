"""Models: projection only at predicted positions, heads, and folders that load again bit for bit."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from adapt.config import ConfigError
from adapt.models import heads, language, loading

SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2,
}  # fmt: skip
OTHER_NAMES = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
}
MASKED = ["bert", "roberta", "distilbert", "electra", "deberta-v2", "albert", "mpnet", "modernbert"]


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    attention = torch.ones(3, 12, dtype=torch.long)
    attention[1, 7:] = 0
    return {"input_ids": torch.randint(5, 60, (3, 12)) * attention, "attention_mask": attention}


@pytest.mark.parametrize("architecture", MASKED)
def test_logits_at_predicted_positions_are_those_of_the_dense_projection(architecture: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**SMALL, **OTHER_NAMES.get(architecture, {})})
    dense = AutoModelForMaskedLM.from_config(config).eval()
    given, positions = batch(), torch.tensor([1, 5, 13, 30])
    with torch.no_grad():
        expected = dense(**given).logits.flatten(0, 1)[positions]
        result = language.MaskedLM(dense)(**given, positions=positions)
    assert result.shape == (4, 60)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)
    assert not dense.base_model._forward_hooks


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_saved_classifier_gives_the_same_logits_to_the_bit(world: Path, tmp_path: Path, pooling: str) -> None:
    torch.manual_seed(1)
    model = loading.new_classifier(world / "model", labels=["x", "y", "z"], pooling=pooling, dropout=0.1).eval()
    model.save(tmp_path, loading.load_tokenizer(world / "model"), ["x", "y", "z"])
    again, labels = loading.load_classifier(tmp_path)
    assert labels == ["x", "y", "z"]
    assert torch.equal(model(**batch()), again.eval()(**batch()))
    assert sum(value.numel() for value in AutoModel.from_pretrained(tmp_path).state_dict().values()) > 0


def test_a_cls_folder_opens_as_a_plain_sequence_classifier(world: Path, tmp_path: Path) -> None:
    model = loading.new_classifier(world / "model", labels=["x", "y"], pooling="cls", dropout=0.0).eval()
    model.save(tmp_path, loading.load_tokenizer(world / "model"), ["x", "y"])
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert plain.config.id2label == {0: "x", 1: "y"}
    assert torch.equal(plain(**batch()).logits, model(**batch()))


def test_the_head_is_drawn_from_the_current_random_state(world: Path) -> None:
    def head(seed: int, pooling: str) -> torch.Tensor:
        torch.manual_seed(seed)
        model = loading.new_classifier(world / "model", labels=["x", "y"], pooling=pooling, dropout=0.0).eval()
        return model(**batch()).detach()

    for pooling in ("cls", "mean"):
        assert torch.equal(head(1, pooling), head(1, pooling))
        assert not torch.equal(head(1, pooling), head(2, pooling))


def test_a_pooler_is_new_in_every_chain(world: Path, tmp_path: Path) -> None:
    """A folder with a trained pooler must not start ahead of one that masked-LM training has left without."""
    folder = tmp_path / "with_pooler"
    encoder = AutoModel.from_pretrained(world / "model")
    torch.nn.init.constant_(encoder.pooler.dense.weight, 3.0)
    encoder.save_pretrained(folder)
    model = loading.new_classifier(folder, labels=["x", "y"], pooling="cls", dropout=0.0)
    assert model.encoder.pooler.dense.weight.abs().max() < 1.0


def test_mean_pooling_ignores_padding() -> None:
    hidden = torch.arange(12.0).reshape(1, 4, 3)
    mean = heads.mean_pool(hidden, torch.tensor([[1, 1, 0, 0]]))
    assert mean.tolist() == [[1.5, 2.5, 3.5]]


def test_every_dropout_rate_is_set(world: Path) -> None:
    model = loading.new_classifier(world / "model", labels=["x", "y"], pooling="cls", dropout=0.3)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}


def test_a_masked_lm_folder_opens_and_names_new_weights(world: Path, tmp_path: Path) -> None:
    model, new = loading.load_masked_lm(world / "model", dropout=0.0)
    assert new == []
    AutoModel.from_pretrained(world / "model").save_pretrained(tmp_path)
    _, new = loading.load_masked_lm(tmp_path, dropout=0.0)
    assert any("predictions" in name for name in new)
    inside = {id(parameter) for parameter in model.encoder.parameters()}
    assert model.head_parameters() and not any(id(parameter) in inside for parameter in model.head_parameters())


def test_a_folder_without_a_head_is_refused(world: Path) -> None:
    with pytest.raises(ConfigError, match="no fine-tuned model"):
        loading.load_classifier(world / "model")
