"""The embedded models: whole, as their cards say, and made by a script that runs; the decoder's text comes back."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from world import REPOSITORY, sentence

from adapt.assets import train
from adapt.config import ModelConfig
from adapt.data import corpora
from adapt.models import loading
from adapt.models.decoders import is_causal
from adapt.store import sources
from adapt.store.entries import file_hash

OPTIONS = {file.stem: yaml.safe_load(file.read_text()) for file in (REPOSITORY / "conf" / "model").glob("*.yaml")}
EMBEDDED = sorted(name for name, option in OPTIONS.items() if option.get("format") == "embedded")
TEXTS = [sentence(label, number) for number in range(60) for label in ("animal", "metal")]


def folder(name: str) -> Path:
    return sources.model_folder(ModelConfig(name, "embedded", None, None))


def test_each_embedded_model_is_made_by_the_script() -> None:
    assert sorted(train.BASES) == EMBEDDED == ["tiny", "tiny_decoder"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_is_whole(name: str) -> None:
    """Its weights are those of its checksum, none is new, and it has learned from guessing at random."""
    where = folder(name)
    assert sum(file.stat().st_size for file in where.iterdir()) < 12e6
    model, new = loading.load_language_model(where, dropout=0.0)
    tokenizer = loading.load_tokenizer(where)
    assert new == [] and len(tokenizer) == model.model.config.vocab_size
    heldout = [line.split(",") for line in (where / "loss_curve.csv").read_text().splitlines() if "heldout" in line]
    assert float(heldout[0][2]) == pytest.approx(math.log(len(tokenizer)), abs=0.2)
    assert float(heldout[-1][2]) == min(float(loss) for _, _, loss in heldout) < 0.6 * float(heldout[0][2])
    assert is_causal(model.model.config) == (name == "tiny_decoder")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_decoders_text_comes_back(text: str) -> None:
    tokenizer = loading.load_tokenizer(folder("tiny_decoder"))
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False) == text
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id, tokenizer.bos_token_id)


@pytest.mark.parametrize("name", [pytest.param("tiny", marks=pytest.mark.full), "tiny_decoder"])
def test_the_script_makes_a_model_and_its_card(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(train, "ASSETS", tmp_path / "assets")
    monkeypatch.setattr(train, "base_text", lambda: corpora.Corpus(TEXTS[:100], TEXTS[100:], {}))
    monkeypatch.setattr(sys, "argv", ["base_model", "--model", name, "--steps", "3", "--work", str(tmp_path)])
    train.main()
    asset = tmp_path / "assets" / name
    assert json.loads((asset / "checksum.json").read_text()) == {
        "model.safetensors": file_hash(asset / "model.safetensors")
    }
    card = (asset / "README.md").read_text()
    assert "on 100 docstrings of no domain: 3 steps" in card and "loss on 20 held-out passages" in card
    if name == "tiny_decoder":
        model, new = loading.load_causal_lm(asset, dropout=0.0)
        tokenizer, nats, size = loading.load_tokenizer(asset), 0.0, 0
        assert new == []
        with torch.no_grad():
            for text in TEXTS[100:]:
                ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
                nats += float(model.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
                size += len(text.encode())
        assert f"{math.exp(nats / size):.3f} per byte ({nats / size / math.log(2):.3f} bits per byte)" in card
