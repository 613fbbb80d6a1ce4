"""Pairs: the tokenizer's segment ids reach the networks that read them, and only those. What else must fit the two."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PreTrainedTokenizerFast
from transformers import AutoModelForSequenceClassification as Classes

from adapt.checks.tokenizers import check_extension, check_first_token, check_ids, check_segments
from adapt.config import ConfigError
from adapt.data.tokens.batching import collate, encode
from adapt.data.tokens.pieces import SequenceFormat, SpecialTokens, pieces_of
from adapt.models.heads import Classifier
from adapt.models.language import MaskedLM
from adapt.models.segments import readable, reads_segments

SMALL = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 32, "pad_token_id": 0,
}  # fmt: skip
SIZES = {"distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}, "albert": {"embedding_size": 8}}
SIZES |= {"xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}, "electra": {"embedding_size": 8}}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]


def tokenizer(pair: str = "[CLS] $A [SEP] $B:1 [SEP]:1", single: str = "[CLS] $A [SEP]") -> PreTrainedTokenizerFast:
    """Words between spaces, of the class that says nothing of segment ids."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip


def network(architecture: str, kind: type = AutoModel, **more: object) -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {**SMALL, **SIZES.get(architecture, {}), **more}
    if architecture == "xlnet":
        del sizes["max_position_embeddings"]
    config = AutoConfig.for_model(architecture, **sizes)
    return kind.from_config(config).eval()


@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_a_pair_has_the_tokenizers_own_segments(names: list[str]) -> None:
    one = tokenizer()
    one.model_input_names = names
    encoded = encode(one, ["a b", "c"], 16, ["d", "a b c"])
    assert encoded.segments == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1, 1]]
    batch = collate(one, encoded, [0, 1])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]


def test_a_text_alone_is_encoded_as_before() -> None:
    assert encode(tokenizer(), ["a b"], 16).segments is None


@pytest.mark.parametrize(
    ("architecture", "more", "read"),
    [
        ("bert", {}, True), ("bert", {"type_vocab_size": 1}, False), ("roberta", {"type_vocab_size": 1}, False),
        ("roberta", {"type_vocab_size": 2}, True), ("distilbert", {}, False), ("albert", {}, True),
        ("electra", {}, True), ("xlnet", {}, True), ("mpnet", {}, False), ("deberta-v2", {"type_vocab_size": 0}, False),
        ("modernbert", {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}, False),
    ],
)  # fmt: skip
def test_a_network_is_given_the_segments_that_it_reads(architecture: str, more: dict[str, object], read: bool) -> None:
    if architecture == "xlnet":  # its own head reads what is padding in a shorter text, so the product refuses it
        assert reads_segments(network(architecture))
        return
    model = network(architecture, Classes, **more)
    assert reads_segments(model.base_model) == read
    batch = collate(tokenizer(), encode(tokenizer(), ["a b"], 16, ["c"]), [0])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        answered = Classifier(model, None)(**inputs)
        if read:
            other = Classifier(model, None)(**{**inputs, "token_type_ids": torch.zeros_like(batch["token_type_ids"])})
            assert not torch.equal(answered, other)
        else:
            assert readable(model.base_model, inputs).keys() == {"input_ids", "attention_mask"}


def test_a_language_model_drops_what_its_network_cannot_read() -> None:
    model = MaskedLM(network("roberta", AutoModelForMaskedLM, type_vocab_size=1))
    ids = torch.tensor([[2, 5, 4, 3]])
    ones = torch.ones_like(ids)
    with torch.no_grad():
        assert model(ids, ones, torch.tensor([2]), token_type_ids=ones).shape == (1, 30)


def config(**more: object) -> SimpleNamespace:
    task = SimpleNamespace(text_pair_column="text_pair", kind="classification")
    finetune = SimpleNamespace(pooling="cls", method="full")
    extended = SimpleNamespace(name="extended", new_tokens=10)
    return SimpleNamespace(
        **{"task": task, "finetune": finetune, "vocabulary": extended, "pretrain": {"dapt": 1}} | more
    )


def test_segments_beyond_the_networks_are_refused(tmp_path: Path) -> None:
    three = tokenizer("[CLS] $A [SEP] $B:2 [SEP]:2")
    with pytest.raises(ConfigError, match="up to 2, but its network has 2"):
        check_segments(config(), tmp_path, network("bert"), three)
    check_segments(config(), tmp_path, network("bert", type_vocab_size=3), three)
    check_segments(config(), tmp_path, network("roberta", type_vocab_size=1), three)  # left out
    check_segments(config(), tmp_path, network("bert"), tokenizer())


@pytest.mark.parametrize("added", [None, "new"])
def test_an_id_beyond_the_last_embedding_is_refused(added: str | None, tmp_path: Path) -> None:
    one = tokenizer()
    if added:
        one.add_tokens([added])
    rows = len(one) - 1
    with pytest.raises(ConfigError, match=f"its model only {rows} embeddings; the token '{added or 'd'}' has the id"):
        check_ids(tmp_path, SimpleNamespace(vocab_size=rows), one)
    check_ids(tmp_path, SimpleNamespace(vocab_size=len(one)), one)


@pytest.mark.parametrize("single", ["$A", "$A [SEP]"])
def test_a_cls_head_needs_a_token_before_the_text(single: str, tmp_path: Path) -> None:
    bare = tokenizer(single=single)
    with pytest.raises(ConfigError, match="puts no token before a text"):
        check_first_token(config(), tmp_path, network("bert").config, bare)
    check_first_token(config(), tmp_path, network("bert").config, tokenizer())
    check_first_token(config(), tmp_path, network("xlnet").config, bare)  # reads the last token
    mean = SimpleNamespace(pooling="mean", method="full")
    check_first_token(config(finetune=mean), tmp_path, network("bert").config, bare)


def test_new_tokens_are_refused_where_a_network_has_further_tables(tmp_path: Path) -> None:
    from transformers import BertForMaskedLM, IBertForMaskedLM, MobileBertForMaskedLM

    for kind in (MobileBertForMaskedLM, IBertForMaskedLM):
        bare = kind.__new__(kind)  # its class is all that is asked for
        with pytest.raises(ConfigError, match=f"vocabulary=extended: .*{kind.__name__}, has further tables"):
            check_extension(config(), tmp_path, bare)
        check_extension(config(vocabulary=SimpleNamespace(name="none", new_tokens=0)), tmp_path, bare)
    check_extension(config(), tmp_path, BertForMaskedLM.__new__(BertForMaskedLM))


@pytest.mark.parametrize("letters", ["ACGT", "0123", "αβγ", "漢字"])
def test_special_tokens_are_found_without_the_word_a(letters: str) -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator([letters], trainers.BpeTrainer(special_tokens=names, show_progress=False))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    one = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )
    special = SpecialTokens.of(one)
    assert (special.before.tolist(), special.after.tolist(), special.end) == ([1], [2], None)
    text = " ".join(letters)
    assert next(iter(pieces_of(one, [text], SequenceFormat(32, False)))).ids.tolist() == one(text)["input_ids"]
