"""Classification by decoders: padding on either side, padding tokens within a text, folders, attacks."""

from pathlib import Path

import pytest
import torch
import yaml
from adapted import CONF, METHODS, needs, option
from decoders import END, SHAPES, causal_lm, config, shaken, write_decoder
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)
from world import pipeline, sentence

from adapt import results
from adapt.adapters import stage
from adapt.adapters.check import check_method
from adapt.checks.models import check_model, skeleton
from adapt.config import Config, ConfigError, EvaluateConfig, FinetuneConfig, PeftConfig
from adapt.models import heads, loading
from adapt.models.decoders import is_decoder, last_token_head
from adapt.runs import finetuned
from adapt.tasks import tagging

PAD = 7
IDS = torch.tensor([11, 12, 13, 14, PAD])  # the last word is what rows are filled with


TEXTS = [sentence(label, number) for number in range(30) for label in ("animal", "metal")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("decoders")
    return {name: write_decoder(top / name, TEXTS, name) for name in ("gpt2", "llama")}


def classifier(architecture: str, pooling: str) -> heads.Classifier:
    torch.manual_seed(0)
    if pooling == "cls":
        model = AutoModelForSequenceClassification.from_config(config(architecture, 60, num_labels=3))
        return heads.Classifier(shaken(model), None).eval()
    return heads.Classifier(causal_lm(architecture).model.base_model, heads.MeanHead(16, 3, 0.0)).eval()


def padded(ids: torch.Tensor, side: str, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    where = (length - len(ids), 0) if side == "left" else (0, length - len(ids))
    return torch.nn.functional.pad(ids, where, value=PAD), torch.nn.functional.pad(torch.ones_like(ids), where)


def check_padding(model: heads.Classifier, near: float = 1e-5) -> None:
    """A text alone, with padding on either side, and beside a longer text.

    near: bf16 and int8 inputs round by what else is in a batch.
    """
    other = torch.arange(20, 29)
    with torch.no_grad():
        alone = model(IDS[None], torch.ones_like(IDS)[None])
        for side in ("left", "right"):
            ids, mask = padded(IDS, side)
            result = model(torch.stack([other, ids]), torch.stack([torch.ones_like(other), mask]))[1:]
            torch.testing.assert_close(
                result, alone, atol=near, rtol=near, msg=lambda text, side=side: f"{side}: {text}"
            )
        changed = IDS.clone()
        changed[-1] = 9
        assert (model(changed[None], torch.ones_like(IDS)[None]) - alone).abs().max() > 1e-3  # the last word is read


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", SHAPES)
def test_a_text_alone_is_answered_as_in_a_padded_batch(architecture: str, pooling: str) -> None:
    check_padding(classifier(architecture, pooling))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])  # absolute positions, rotary ones
@pytest.mark.parametrize("method", METHODS)
def test_so_it_is_under_every_method(method: str, architecture: str, folders: dict[str, Path], tmp_path: Path) -> None:
    model_file = {"gpt2": "gpt2", "llama": "tiny_decoder"}[architecture]
    names = yaml.safe_load((CONF / "model" / f"{model_file}.yaml").read_text())["modules"]
    cfg = option(method, *(f"model.modules.{name}=[{','.join(given)}]" for name, given in names.items()))
    needs(cfg)
    folder = folders[architecture]
    try:
        check_method("peft", cfg, skeleton(AutoConfig.from_pretrained(folder)))
    except ConfigError as error:
        pytest.skip(str(error))
    for pooling in ("cls", "mean"):
        torch.manual_seed(0)
        model = loading.new_classifier(folder, labels=["x", "y"], pooling=pooling, dropout=0.0)
        stage.begin(model, cfg, tmp_path, unquantized=names["unquantized"])
        for weight in model.parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, std=0.3)
        check_padding(model.eval(), {None: 1e-5, "nf4": 0.1, "int8": 0.1}[cfg.quantization])


KINDS = [kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING if kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING]


@pytest.mark.full
@pytest.mark.parametrize("architecture", sorted({kind.model_type for kind in KINDS}))
def test_so_is_every_decoder_that_transformers_lets_classify(architecture: str) -> None:
    """For architectures whose sizes have the common names, so that they can be made small; others are skipped."""
    try:
        given = config(architecture, 60, num_labels=3)
        if not is_decoder(given):
            pytest.skip("no decoder")
        with torch.device("meta"):
            size = sum(p.numel() for p in AutoModelForSequenceClassification.from_config(given).parameters())
        if size > 1e7:
            pytest.skip(f"{size} parameters")
        model = classifier(architecture, "cls")
        model(IDS[None], torch.ones_like(IDS)[None])
        last_token_head(model.model)
    except Exception as error:
        pytest.skip(f"cannot be made small: {error!r:.80}")
    check_padding(model)


@pytest.mark.parametrize("architecture", SHAPES)
def test_a_decoders_own_head_is_that_of_transformers(architecture: str) -> None:
    """Where transformers' rule holds: no token of the text is the padding token."""
    model = classifier(architecture, "cls")
    model.model.config.pad_token_id = PAD
    ids, mask = torch.tensor([[11, 12, 13, 14, 15], [21, 22, 23, PAD, PAD]]), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    with torch.no_grad():
        dense = model.model(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(model(ids, mask), dense, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_saved_classifier_opens_to_the_bit(
    folders: dict[str, Path], tmp_path: Path, architecture: str, pooling: str
) -> None:
    torch.manual_seed(1)
    model = loading.new_classifier(folders[architecture], labels=["x", "y"], pooling=pooling, dropout=0.1).eval()
    tokenizer = loading.load_tokenizer(folders[architecture])
    model.save(tmp_path, tokenizer, ["x", "y"])
    again, _ = loading.load_classifier(tmp_path)
    given = {"input_ids": torch.tensor([[5, 6, 7], [8, 9, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    assert torch.equal(model(**given), again.eval()(**given))
    if pooling == "cls":
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(plain(**given).logits, model(**given), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_decoder_tags_words_alone_as_in_a_batch(folders: dict[str, Path], architecture: str, pooling: str) -> None:
    """A word's tag depends only on what came before, not on the words after it."""
    torch.manual_seed(0)
    tagger = tagging.new_tagger(folders[architecture], labels=["O", "B-x"], pooling=pooling, dropout=0.0).eval()
    tokenizer = loading.load_tokenizer(folders[architecture])
    sentences = [["the", "cat", "and", "iron", "ore"], ["the", "cat"]]
    encoded = tagging.encode_words(tokenizer, sentences, 32)
    tags = [torch.zeros(len(words), dtype=torch.long) for words in sentences]

    def scores(*indices: int) -> torch.Tensor:
        batch = tagging.collate_words(tokenizer, encoded, indices, tags)
        return tagging.Tagging().logits(tagger, batch).detach()

    both, long, short = scores(0, 1), scores(0), scores(1)
    torch.testing.assert_close(both, torch.cat([long, short]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short, long[:2], atol=1e-5, rtol=1e-5)
    assert (long[0] - long[1]).abs().max() > 1e-3


def asked(pooling: str) -> Config:
    cfg = Config(evaluate=EvaluateConfig(text=None, domains=None), peft=PeftConfig(method=None))
    cfg.task.kind = "classification"
    cfg.finetune = FinetuneConfig(method="full", pooling=pooling, max_length=32)
    cfg.finetune.retention.frozen_layers, cfg.task.text_pair_column = 0, None
    return cfg


def test_a_decoder_without_padding_token_has_its_own_head(folders: dict[str, Path]) -> None:
    check_model(asked("cls"), folders["gpt2"])


@pytest.mark.parametrize("architecture", ["xlnet", "bert"])
def test_an_own_head_that_reads_something_else_is_refused(folders, tmp_path: Path, architecture: str) -> None:
    """XLNet's sums up its last position, padding or not; BERT's, as a decoder, its first, which sees one token."""
    more = {"is_decoder": True} if architecture == "bert" else {}
    AutoConfig.for_model(architecture, vocab_size=300, **more).save_pretrained(tmp_path)
    loading.load_tokenizer(folders["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="finetune.pooling=cls: .*ForSequenceClassification has no linear head"):
        check_model(asked("cls"), tmp_path)
    with pytest.raises(ConfigError, match="its weights cannot be read"):  # there are none; all else is right
        check_model(asked("mean"), tmp_path)


@pytest.mark.parametrize(("architecture", "pooling"), [("gpt2", "cls"), ("llama", "mean")])
def test_a_chain_with_an_adversary_and_an_attack(
    world: Path, folders: dict[str, Path], tmp_path: Path, architecture: str, pooling: str
) -> None:
    """DAPT and fine-tuning under FGM, then PGD, on a decoder: the perturbation enters at its word embedding."""
    more = [f"model.path={folders[architecture]}", f"finetune.pooling={pooling}", "adversary=fgm", "pretrain=[dapt]"]
    run = pipeline(world, tmp_path, *more, "pretrain.dapt.batch_size=8", "pretrain.dapt.micro_batch_size=8")
    run_id = run.run()
    rows = results.load(tmp_path).set_index(["split", "metric", "attack_epsilon"])["value"]
    assert rows["train", "ascent_gain", 0.0] > 0
    assert rows["dapt/heldout", "clm_loss", 0.0] > 0
    assert 0 <= rows["test", "accuracy", 0.1] <= 1
    tokenizer = loading.load_tokenizer(folders[architecture])
    model, _ = loading.load_classifier(finetuned.finetuned_folder(run_id, tmp_path))
    assert model.pooling == pooling and END in tokenizer.get_vocab()
