"""Masked and causal language modelling: targets, losses in chunks, model folders, and what is refused."""

from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as token_models
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from adapt.adversary.pgd import pgd
from adapt.adversary.plain import plain
from adapt.checks.models import check_model
from adapt.checks.pretraining import check_masking
from adapt.config import Config, ConfigError, EvaluateConfig, FinetuneConfig, MaskingConfig, PeftConfig, PretrainConfig
from adapt.data.masking.next_tokens import predict_next
from adapt.data.tokens import batching
from adapt.models import language, loading
from adapt.models.decoders import is_causal
from adapt.perturbation.ball import Ball
from adapt.tasks import language_modelling
from adapt.training.method import Adversary
from adapt.training.objectives import CausalLanguageModel, MaskedLanguageModel, example_losses
from adapt.training.step import Step

TEXTS = ["the cat sat on the mat", "iron and gold", "a small old dog near the tin forge"]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> Path:
    """A tiny GPT-2 whose byte-level BPE, like GPT-2's own, has an end-of-text token and no padding token."""
    folder = tmp_path_factory.mktemp("decoder")
    pieces = Tokenizer(token_models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    end = "<|endoftext|>"
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=[end])
    pieces.train_from_iterator(TEXTS * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=end, bos_token=end, unk_token=end)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    nn.init.normal_(model.transformer.wte.weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def batch_of(folder: Path) -> dict[str, torch.Tensor]:
    tokenizer = loading.load_tokenizer(folder)
    return batching.collate(tokenizer, batching.encode(tokenizer, TEXTS, 64), range(3))


# What a causal model predicts ----------------------------------------------------------------------------------------


def test_every_token_but_the_first_of_each_text_is_predicted_from_the_one_before() -> None:
    ids = torch.tensor([[11, 12, 13, 14, 15, 0], [21, 22, 23, 24, 25, 26]])
    batch = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0], [1] * 6])}
    predicted = predict_next(batch)
    assert predicted["targets"].tolist() == [12, 13, 14, 15, 22, 23, 24, 25, 26]
    assert predicted["positions"].tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10]
    assert predicted["rows"].tolist() == [0] * 4 + [1] * 5
    packed = predict_next({**batch, "document_ids": torch.tensor([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 3, 4]])})
    assert packed["targets"].tolist() == [12, 13, 15, 23, 24]
    assert packed["positions"].tolist() == [0, 1, 3, 7, 8]


def test_a_causal_loss_is_that_of_transformers(decoder: Path) -> None:
    task = language_modelling.load_for_measuring(decoder, loading.load_tokenizer(decoder))
    batch = batch_of(decoder)
    prepared = task.prepare(batch, seed=3, draw=4)
    labels = batch["input_ids"].where(batch["attention_mask"] == 1, -100)
    dense = task.model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
    loss = example_losses(task.objective, task.model, prepared).sum() / task.objective.items(prepared)
    torch.testing.assert_close(loss, dense, atol=1e-6, rtol=1e-6)
    assert torch.equal(task.measure(batch)["targets"], prepared["targets"])


# Losses in chunks ----------------------------------------------------------------------------------------------------

CASES = {
    "bert": {}, "roberta": {}, "modernbert": {"cls_token_id": 1, "sep_token_id": 2}, "electra": {"embedding_size": 8},
    "llama": {}, "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16}, "gpt2": {}, "gemma2": {"num_key_value_heads": 2,
    "head_dim": 8, "final_logit_softcapping": 3.0},
}  # fmt: skip


@pytest.mark.parametrize("architecture", CASES)
def test_a_loss_in_chunks_is_the_dense_one_with_its_gradients(architecture: str, monkeypatch) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    shape |= {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64}
    config = AutoConfig.for_model(architecture, **{**shape, **CASES[architecture]})
    if is_causal(config):
        model: language.MaskedLM | language.CausalLM = language.CausalLM(AutoModelForCausalLM.from_config(config))
    else:
        model = language.MaskedLM(loading.AutoModelForMaskedLM.from_config(config))
    model.eval()
    ids, mask = torch.randint(5, 60, (3, 12)), torch.ones(3, 12, dtype=torch.long)
    positions, targets = torch.arange(0, 36, 3), torch.randint(5, 60, (12,))

    def gradients() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        losses = model(ids, mask, positions, targets)
        (losses * torch.arange(1.0, 13.0)).sum().backward()
        return losses.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    losses, dense = gradients()
    logits = model(ids, mask, positions)
    torch.testing.assert_close(losses, nn.functional.cross_entropy(logits, targets, reduction="none").detach())
    monkeypatch.setattr(language, "WHOLE_SCORES", 100)
    monkeypatch.setattr(language, "CHUNK_SCORES", 60 * 5)
    largest: list[int] = []
    handle = model.model.get_output_embeddings().register_forward_hook(lambda *given: largest.append(given[2].numel()))
    in_chunks, chunked = gradients()
    handle.remove()
    assert max(largest) <= 60 * 5 and len(largest) == 6  # 3 chunks, each once more in the backward pass
    torch.testing.assert_close(in_chunks, losses, atol=1e-5, rtol=1e-5)
    assert chunked.keys() == dense.keys()
    for name, value in dense.items():
        torch.testing.assert_close(chunked[name], value, atol=1e-5, rtol=1e-5)
    assert "forward" not in vars(model.encoder)
    with torch.no_grad():
        torch.testing.assert_close(model(ids, mask, positions, targets), losses, atol=1e-5, rtol=1e-5)


def test_pgd_on_a_decoder_in_chunks_is_pgd(decoder: Path, monkeypatch) -> None:
    """The ascent takes gradients to delta through the recomputed chunks, the outer loss those to the weights."""
    ball = Ball(epsilon=0.5, norm="l2", scope="sequence", relative=True, special_tokens=False)
    method = partial(pgd, num_steps=3, step_size=0.4, clean_weight=0.0, random_starts=0)
    task = language_modelling.load_for_measuring(decoder, loading.load_tokenizer(decoder))
    batch = task.prepare(batch_of(decoder), seed=0, draw=0)

    def run(adversary: Adversary) -> tuple[float, dict[str, torch.Tensor], Step]:
        task.model.zero_grad()
        keep = {"seed": 5, "step_number": 7, "update": lambda: None}
        step = Step(task.model, task.objective, [batch], adversary=adversary, **keep)
        total = 0.0
        for loss in adversary.method(step):
            loss.backward()
            total += loss.item()
        return total, {name: p.grad.clone() for name, p in task.model.named_parameters()}, step

    attack = Adversary(method, ball, "fresh", False)
    clean, _, _ = run(Adversary(plain, None, "fresh", False))
    loss, dense, whole = run(attack)
    monkeypatch.setattr(language, "WHOLE_SCORES", 100)
    monkeypatch.setattr(language, "CHUNK_SCORES", 300 * 4)
    chunked_loss, in_chunks, step = run(attack)
    assert loss > clean + 0.01
    assert chunked_loss == pytest.approx(loss, rel=1e-5)
    for name, value in dense.items():
        torch.testing.assert_close(in_chunks[name], value, atol=1e-5, rtol=1e-4)
    assert step.counts == whole.counts
    assert step.counts.delta_backward_passes == 3


# Folders -------------------------------------------------------------------------------------------------------------


def settings(**masking: object) -> PretrainConfig:
    return PretrainConfig(
        name="dapt", dropout=0.0, max_length=32, packing=False, masking=MaskingConfig("token", 0.3, 3.0, 4, **masking)
    )


def test_the_model_decides_what_it_is_trained_on(world: Path, decoder: Path) -> None:
    causal = language_modelling.load(decoder, settings(), loading.load_tokenizer(decoder), {})
    masked = language_modelling.load(world / "model", settings(), loading.load_tokenizer(world / "model"), {})
    assert isinstance(causal.model, language.CausalLM) and isinstance(causal.objective, CausalLanguageModel)
    assert isinstance(masked.model, language.MaskedLM) and isinstance(masked.objective, MaskedLanguageModel)
    assert causal.new_weights == masked.new_weights == []
    inside = {id(parameter) for parameter in causal.model.encoder.parameters()}
    assert all(id(parameter) not in inside for parameter in causal.model.head_parameters())


def test_end_of_text_pads_where_nothing_else_does(decoder: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(decoder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    task = language_modelling.load_for_measuring(decoder, tokenizer)
    task.model.save(tmp_path, tokenizer)
    again = language_modelling.load_for_measuring(tmp_path, loading.load_tokenizer(tmp_path))
    assert len(loading.load_tokenizer(tmp_path)) == len(tokenizer) == again.model.model.config.vocab_size
    prepared = task.prepare(batch_of(decoder), seed=0, draw=0)
    assert torch.equal(*(example_losses(task.objective, each.model.eval(), prepared) for each in (task, again)))
    wide = {name: nn.functional.pad(v, (0, 3)) if v.ndim == 2 else v for name, v in batch_of(decoder).items()}
    padded = example_losses(task.objective, task.model, task.prepare(wide, seed=0, draw=0))
    torch.testing.assert_close(padded, example_losses(task.objective, task.model, prepared), atol=1e-5, rtol=1e-5)


def test_held_out_masks_are_those_of_single_tokens_whatever_trains(world: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    (tmp_path / "anchors.json").write_text('[{"word": "cat", "score": 2.0}, {"word": "iron", "score": 1.0}]')
    batch = {**batch_of(world / "model")}
    batch["word_starts"] = torch.ones_like(batch["input_ids"])
    fixed = language_modelling.load_for_measuring(world / "model", tokenizer).measure(batch)
    trained = set()
    for strategy in ("token", "whole_word", "span", "difference"):
        cfg = settings()
        cfg.masking.strategy = strategy
        task = language_modelling.load(world / "model", cfg, tokenizer, {"anchors": tmp_path})
        assert all(torch.equal(value, fixed[name]) for name, value in task.measure(batch).items())
        prepared = task.prepare(batch, seed=1, draw=2)
        trained.add(tuple(prepared["positions"].tolist()))
    assert len(trained) > 2


def test_difference_masks_anchors_most_of_all(world: Path, tmp_path: Path) -> None:
    """In a text of "the" and one "cat", it is masked far more often than by chance: its embedding is the anchor's."""
    tokenizer = loading.load_tokenizer(world / "model")
    (tmp_path / "anchors.json").write_text('[{"word": "cat", "score": 2.0}]')
    cfg = settings()
    cfg.masking.strategy = "difference"
    task = language_modelling.load(world / "model", cfg, tokenizer, {"anchors": tmp_path})
    encoded = batching.encode(tokenizer, ["the the cat the the"], 16)
    batch = batching.collate(tokenizer, encoded, [0])
    batch["word_starts"] = torch.ones_like(batch["input_ids"])
    drawn = [task.prepare(batch, seed=0, draw=draw)["targets"].tolist() for draw in range(200)]
    cat = tokenizer.convert_tokens_to_ids("cat")
    assert sum(cat in targets for targets in drawn) > 100  # by chance, with 2 of 5 tokens masked, it would be 80


# What is refused -----------------------------------------------------------------------------------------------------


def asked(**stage: object) -> Config:
    whole = PeftConfig(method=None, quantization=None)
    cfg = Config(evaluate=EvaluateConfig(text=None, domains=None), peft=whole, pretrain_peft=whole)
    cfg.finetune = FinetuneConfig(method="full", pooling="mean", max_length=32)
    cfg.finetune.retention.frozen_layers = 0
    cfg.finetune.retention.layer_decay = 1.0
    cfg.task.kind, cfg.task.text_pair_column = "classification", None
    cfg.pretrain = {"dapt": settings()}
    cfg.pretrain["dapt"].retention.frozen_layers = 0
    cfg.pretrain["dapt"].retention.layer_decay = 1.0
    for name, value in stage.items():
        setattr(cfg.pretrain["dapt"], name, value)
    return cfg


def test_a_decoder_without_padding_token_is_pretrained(decoder: Path) -> None:
    check_model(asked(packing=True), decoder)


@pytest.mark.parametrize("strategy", ["span", "selective"])
def test_a_decoder_masks_nothing(decoder: Path, strategy: str) -> None:
    with pytest.raises(ConfigError, match=f"masking.strategy={strategy}: .* is a gpt2, which predicts next tokens"):
        check_model(asked(masking=MaskingConfig(strategy, 0.3, 3.0, 4)), decoder)


def test_selective_masking_needs_the_head_of_a_tagger_where_pooling_is_transformers_own(tmp_path: Path) -> None:
    """Reformer classifies texts, and has no head for tokens in transformers."""
    cfg = asked(masking=MaskingConfig("selective", 0.3, 3.0, 4))
    cfg.finetune.pooling = "cls"
    AutoConfig.for_model("reformer").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="strategy=selective with finetune.pooling=cls: .* is a reformer"):
        check_model(cfg, tmp_path)


def test_packing_is_refused_where_texts_would_see_each_other(world: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    tokenizer.save_pretrained(tmp_path)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
    config = AutoConfig.for_model("deberta-v2", vocab_size=len(tokenizer), **shape, **relative)
    loading.AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    check_model(asked(), tmp_path)
    with pytest.raises(ConfigError, match="pretrain.dapt.packing=true: .* would see each other; .* roberta"):
        check_model(asked(packing=True), tmp_path)


def test_a_model_of_neither_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="a vit can be pretrained neither on masked nor on next tokens"):
        is_causal(AutoConfig.for_model("vit"))


def test_general_text_has_no_difference_from_itself() -> None:
    with pytest.raises(ConfigError, match="strategy=difference: .*this stage reads general text itself"):
        check_masking("pretrain.dapt.masking", MaskingConfig("difference", 0.15, 3.0, 4), "general")
