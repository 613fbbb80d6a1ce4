"""New tokens: which words get one, that they match only whole words, and how their rows start."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import decoders as decoding
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast
from world import pipeline as pipeline_of

from adapt import results
from adapt.config import ConfigError, RuntimeConfig, VocabularyConfig
from adapt.data.corpora import Corpus, write_corpus
from adapt.models import vocabulary as module
from adapt.models.loading import load_masked_lm, load_tokenizer
from adapt.models.vocabulary import backend_of, choose_words, fertility, tables, words_in_use
from adapt.runs.pipeline import Pipeline
from adapt.stages.vocabulary import vocabulary

GENERAL = [
    "the cat sat on the mat and the dog ran to the old house near a river",
    "a man or a woman and then in the net",
]
DOMAIN = ["the methyltransferase and the cat", "a cat of methyltransferase in vivo", "in vivo the methylated dog"] * 4
OLD_WORDS = "the cat concatenates a methylation near the invivo house; methyltransferases ran"
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
ARCHITECTURES = ("bert", "roberta", "gpt2")


def wordpiece() -> PreTrainedTokenizerFast:
    pieces = Tokenizer(models.WordPiece(unk_token="<unk>"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoding.WordPiece()
    letters = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=list(SPECIAL.values()), initial_alphabet=letters, show_progress=False
    )
    pieces.train_from_iterator([*GENERAL, *(f"a{letter}" for letter in letters)], trainer)
    return finished(pieces)


def byte_level() -> PreTrainedTokenizerFast:
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoding.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        GENERAL,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return finished(pieces)


def finished(pieces: Tokenizer) -> PreTrainedTokenizerFast:
    pieces.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=pieces, cls_token="<s>", sep_token="</s>", **SPECIAL)


def write_model(folder: Path, architecture: str, **changes: Any) -> Path:
    """A random model of 16 dimensions whose weights, biases included, all differ from 0."""
    tokenizer = wordpiece() if architecture in ("bert", "distilbert", "electra") else byte_level()
    tokenizer.save_pretrained(folder)
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}
    shape = {"max_position_embeddings": 64, "pad_token_id": 1, **(gpt2 if architecture == "gpt2" else bert), **changes}
    config = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **shape)
    torch.manual_seed(0)
    auto = AutoModelForCausalLM if architecture == "gpt2" else AutoModelForMaskedLM
    model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_corpus(Corpus(DOMAIN, ["methyltransferase in vivo", "the cat"], {}), folder)
    return folder


@pytest.fixture(scope="module")
def extended(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path, list]]:
    """By architecture: the parent's folder, the extended one's, and its rows."""
    made: dict[str, tuple[Path, Path, list]] = {}

    def make(architecture: str, **changes: Any) -> tuple[Path, Path, list]:
        key = f"{architecture} {changes}"
        if key not in made:
            root = tmp_path_factory.mktemp("models")
            parent = write_model(root / "parent", architecture, **changes)
            made[key] = (parent, root / "child", extend(parent, text, root / "child"))
        return made[key]

    return make


def extend(parent: Path, text: Path, out: Path, *, new_tokens: int = 3, min_frequency: int = 4) -> list:
    cfg = VocabularyConfig("extended", new_tokens, min_frequency)
    return vocabulary(cfg, {"model": parent, "text": text}, out, RuntimeConfig())


def language_model(folder: Path, architecture: str) -> Any:
    return (AutoModelForCausalLM if architecture == "gpt2" else AutoModelForMaskedLM).from_pretrained(folder).eval()


def config(new_tokens: int = 10, min_frequency: int = 1) -> VocabularyConfig:
    return VocabularyConfig("extended", new_tokens, min_frequency)


def test_words_are_ranked_by_the_tokens_that_they_save_and_ties_by_the_alphabet() -> None:
    tokenizer = wordpiece()
    chosen = choose_words(tokenizer, ["zyx zyx xyz xyz qqqqq the the the the"], config())
    assert [word.token for word in chosen] == ["qqqqq", "xyz", "zyx"]
    assert [word.saved for word in chosen] == [4, 4, 4]  # 1 x (5 - 1) and twice 2 x (3 - 1)
    assert chosen[1].pieces == tuple(tokenizer.convert_tokens_to_ids(["x", "##y", "##z"]))
    assert [word.token for word in choose_words(tokenizer, ["zyx zyx zyx qqqqq"], config())] == ["zyx", "qqqqq"]


def test_what_is_no_candidate() -> None:
    tokenizer = wordpiece()
    text = ["XYZ Xyz xyz rare 123456 xyz_qqq qqq_xyz <mask> the the"] * 3  # a number, runs with _, a special token
    assert [(word.token, word.occurrences) for word in choose_words(tokenizer, text, config(min_frequency=4))] == [
        ("xyz", 9)
    ]
    assert [word.token for word in choose_words(tokenizer, text, config(1, 2))] == ["xyz"]  # at most one


def test_a_byte_level_word_has_its_space_and_its_case() -> None:
    chosen = choose_words(byte_level(), ["Xyzzy a xyzzy a xyzzy-a (xyzzy) Ünïvoß a Ünïvoß"], config())
    counts = {word.token: word.occurrences for word in chosen}
    assert counts["Ġxyzzy"] == 2 and counts["xyzzy"] == 1 and counts["Xyzzy"] == 1
    assert backend_of(byte_level()).decoder.decode([max(counts, key=len)]).strip() == "Ünïvoß"
    assert not any("-" in token or "(" in token for token in counts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_new_rows_are_the_mean_of_their_pieces_and_old_rows_are_untouched(architecture: str, extended: Any) -> None:
    parent, child, _ = extended(architecture)
    before, after = (tables(language_model(folder, architecture)) for folder in (parent, child))
    record = json.loads((child / "vocabulary.json").read_text())
    assert len(record) == 3
    assert (
        len(before) == len(after) == (1 if architecture == "gpt2" else 2)
    )  # the embedding, tied; the masked LM's bias
    tokenizer = load_tokenizer(parent)
    for old, new in zip(before, after, strict=True):
        assert len(new) == len(old) + 3
        assert torch.equal(new[: len(old)], old)
        for word in record:
            pieces = tokenizer.convert_tokens_to_ids(word["pieces"])
            assert len(pieces) >= 2
            torch.testing.assert_close(new[word["id"]], old[pieces].sum(0) / len(pieces), rtol=0, atol=1e-7)


def test_an_output_matrix_of_its_own_starts_from_its_own_rows(extended: Any) -> None:
    parent, child, _ = extended("gpt2", tie_word_embeddings=False)
    before, after = (tables(language_model(folder, "gpt2")) for folder in (parent, child))
    assert len(before) == len(after) == 2
    (word, *_), tokenizer = json.loads((child / "vocabulary.json").read_text()), load_tokenizer(parent)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new[word["id"]], old[tokenizer.convert_tokens_to_ids(word["pieces"])].mean(0))
    assert not torch.allclose(after[0][word["id"]], after[1][word["id"]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_text_without_new_words_has_the_tokens_and_logits_that_it_had(architecture: str, extended: Any) -> None:
    parent, child, _ = extended(architecture)
    old, new = (load_tokenizer(folder)(OLD_WORDS, return_tensors="pt") for folder in (parent, child))
    assert torch.equal(old["input_ids"], new["input_ids"])
    size = language_model(parent, architecture).config.vocab_size
    with torch.no_grad():
        before, after = (language_model(folder, architecture)(**old).logits for folder in (parent, child))
    assert before.shape[-1] == size and after.shape[-1] == size + 3
    torch.testing.assert_close(after[..., :size], before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_token_is_a_whole_word_and_nothing_else(architecture: str, extended: Any) -> None:
    parent, child, _ = extended(architecture)
    old, new = load_tokenizer(parent), load_tokenizer(child)
    ids = {word["id"]: word["token"] for word in json.loads((child / "vocabulary.json").read_text())}
    assert "methyltransferase" in {token.removeprefix("Ġ") for token in ids.values()}
    whole = new("the methyltransferase, a (methyltransferase)", add_special_tokens=False)["input_ids"]
    assert len(set(whole) & set(ids)) >= 1
    number = ["a methyltransferase2"] if architecture == "bert" else []  # byte-level BPE parts letters from digits
    for text in ["a methyltransferases", "a xmethyltransferase", "a demethyltransferase_x", *number]:
        assert new(text)["input_ids"] == old(text)["input_ids"]
    if architecture == "bert":
        upper = new("METHYLTRANSFERASE-Methyltransferase", add_special_tokens=False)["input_ids"]
        assert [ids.get(token) for token in upper] == ["methyltransferase", None, "methyltransferase"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoding_gives_the_text_back_and_offsets_its_letters(architecture: str, extended: Any) -> None:
    _, child, _ = extended(architecture)
    tokenizer = load_tokenizer(child)
    text = "the methyltransferase and the cat in vivo"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert "methyltransferase" in [text[start:end].strip() for start, end in encoded["offset_mapping"]]
    again = child.parent / "saved again"
    tokenizer.save_pretrained(again)  # as every stage after it does
    (again / "config.json").write_text((child / "config.json").read_text())
    assert load_tokenizer(again)(text)["input_ids"] == tokenizer(text)["input_ids"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_count_tokens_and_give_the_fertility_of_both_parts(architecture: str, extended: Any) -> None:
    parent, child, rows = extended(architecture)
    value = {(row["split"], row["metric"]): row["value"] for row in rows}
    old, new = load_tokenizer(parent), load_tokenizer(child)
    assert value["train", "tokens_added"] == 3
    for part, texts in {"train": DOMAIN, "heldout": ["methyltransferase in vivo", "the cat"]}.items():
        words = sum(len(text.split()) for text in texts)
        for metric, tokenizer in {"fertility_before": old, "fertility": new}.items():
            tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
            assert value[part, metric] == pytest.approx(tokens / words)
        assert value[part, "fertility"] < value[part, "fertility_before"]


def test_fertility_of_known_words_is_one_and_does_not_depend_on_the_tokenizers_truncation() -> None:
    tokenizer = wordpiece()
    tokenizer("the the the", truncation=True, max_length=3)  # leaves its setting in the backend
    assert fertility(tokenizer, ["the cat the cat the cat the cat", "the the"]) == 1.0


def test_the_folder_is_the_same_bytes_each_time_and_holds_no_path(text: Path, extended: Any, tmp_path: Path) -> None:
    parent, child, _ = extended("bert")
    extend(parent, text, tmp_path / "again")
    for file in sorted(child.iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
        assert file.suffix == ".safetensors" or str(parent.parent) not in file.read_text()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_head_that_the_parent_lacks_is_still_new_in_the_child(architecture: str, text: Path, tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", architecture)
    AutoModel.from_pretrained(parent).save_pretrained(tmp_path / "encoder")
    load_tokenizer(parent).save_pretrained(tmp_path / "encoder")
    extend(tmp_path / "encoder", text, tmp_path / "child")
    _, missing = load_masked_lm(tmp_path / "encoder", dropout=0.0)
    model, still = load_masked_lm(tmp_path / "child", dropout=0.0)
    assert missing and still == missing
    old = AutoModel.from_pretrained(parent).get_input_embeddings().weight
    assert torch.equal(model.encoder.get_input_embeddings().weight[: len(old)], old)  # type: ignore[operator]


def test_spare_rows_of_a_padded_embedding_are_used_first(text: Path, tmp_path: Path) -> None:
    size = len(byte_level()) + 40
    parent = write_model(tmp_path / "parent", "roberta")
    model = AutoModelForMaskedLM.from_pretrained(parent)
    model.resize_token_embeddings(size, mean_resizing=False)
    model.save_pretrained(parent)
    extend(parent, text, tmp_path / "child")
    assert AutoConfig.from_pretrained(tmp_path / "child").vocab_size == size
    (word, *_) = json.loads((tmp_path / "child" / "vocabulary.json").read_text())
    table = tables(language_model(tmp_path / "child", "roberta"))[0]
    pieces = load_tokenizer(parent).convert_tokens_to_ids(word["pieces"])
    torch.testing.assert_close(table[word["id"]], table[pieces].mean(0))


def test_no_word_that_qualifies_is_refused(text: Path, tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", "bert")
    with pytest.raises(
        ConfigError, match=r"vocabulary.min_frequency=1000: of the text's 10 different words, none .* lower it"
    ):
        extend(parent, text, tmp_path / "child", min_frequency=1000)


def test_a_tokenizer_without_whole_words_is_refused() -> None:
    pieces = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0)], unk_id=0))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(ConfigError, match=r"of the kind Unigram; only WordPiece and byte-level BPE can be extended"):
        choose_words(PreTrainedTokenizerFast(tokenizer_object=pieces), ["a b"], config())


def test_a_tokenizer_larger_than_its_model_is_refused(text: Path, tmp_path: Path) -> None:
    parent = write_model(tmp_path / "parent", "bert")
    tokenizer = load_tokenizer(parent)
    size = len(tokenizer)
    tokenizer.add_tokens(["another", "vocabulary"])
    tokenizer.save_pretrained(parent)
    with pytest.raises(ConfigError, match=rf"tokenizer has {size + 2} tokens, its model only {size}; give the"):
        extend(parent, text, tmp_path / "child")


# In the chain ---------------------------------------------------------------------------------------------------------


def pipeline(world: Path, root: Path, *more: str) -> Pipeline:
    """A run on a BERT whose pieces are letters for most words of the world."""
    parent = root / "parent"
    if not parent.exists():
        write_model(parent, "bert", max_position_embeddings=128)
    return pipeline_of(world, root, f"model.path={parent}", "vocabulary=extended", "vocabulary.min_frequency=2", *more)


def keys(chain: Pipeline, kind: str) -> list[str]:
    """The keys of all stages of a kind that the chain's end is made from."""

    def ancestors(stage: Any) -> Iterator[Any]:
        yield stage
        for given in getattr(stage, "inputs", {}).values():
            yield from ancestors(given)

    result = {chain.key(stage): stage for stage in ancestors(chain.stages[-1]) if getattr(stage, "kind", "") == kind}
    return list(result)


def test_a_chain_trains_with_its_new_tokens_and_stages_share_them(world: Path, tmp_path: Path) -> None:
    dapt = pipeline(world, tmp_path, "pretrain=[dapt]")
    dapt.run()
    both = pipeline(world, tmp_path, "pretrain=[dapt,tapt]", "seed=3")
    assert keys(dapt, "vocabulary") == keys(both, "vocabulary") and len(keys(both, "vocabulary")) == 1
    assert set(keys(dapt, "pretrain")) < set(keys(both, "pretrain"))
    assert len(keys(both, "tokens")) == 2
    fewer = pipeline(world, tmp_path, "pretrain=[dapt]", "vocabulary.new_tokens=2")
    plain = pipeline(world, tmp_path, "pretrain=[dapt]", "vocabulary=none")
    for other in (fewer, plain):
        assert not set(keys(dapt, "pretrain")) & set(keys(other, "pretrain"))
        assert not set(keys(dapt, "tokens")) & set(keys(other, "tokens"))
    table = results.load(tmp_path)
    value = table.set_index(["split", "metric"])["value"]
    assert value["vocabulary/train", "tokens_added"] == 10
    assert value["vocabulary/heldout", "fertility"] < value["vocabulary/heldout", "fertility_before"]
    for stage in (dapt.stages[0], dapt.stages[-2]):  # what is trained on still has the new tokens
        folder = dapt.build(stage).folder
        assert len(load_tokenizer(folder)) == AutoConfig.from_pretrained(folder).vocab_size == len(wordpiece()) + 10


def test_without_a_stage_whose_text_they_come_from_new_tokens_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocabulary=extended: .* pretrain=\[\]; add a stage, or vocabulary=none"):
        pipeline(world, tmp_path, "pretrain=[]")


def test_a_model_is_checked_behind_its_vocabulary_stage_too(world: Path, tmp_path: Path) -> None:
    chain = pipeline(world, tmp_path, "pretrain=[dapt]", "pretrain.dapt.max_length=500")
    with pytest.raises(ConfigError, match=r"pretrain.dapt.max_length=500: .* positions for 128 tokens"):
        chain.check_model()


SCRIPTS = {
    "Hindi": "विद्यार्थी पुस्तकालय में किताबें पढ़ते हैं",
    "Bengali": "ছাত্ররা গ্রন্থাগারে বই পড়ে",
    "pointed Hebrew": "הַתַּלְמִידִים קוֹרְאִים בַּסִּפְרִיָּה",
    "pointed Arabic": "يَقْرَأُ الطُّلَّابُ فِي الْمَكْتَبَةِ",
    "Tamil": "மாணவர்கள் நூலகத்தில் புத்தகங்கள் படிக்கிறார்கள்",
    "decomposed French": "les e\u0301le\u0300ves lisent a\u0300 la bibliothe\u0300que",
    "Persian with joiners": "می\u200cخواهم کتاب\u200cها را بخوانم",
}


def of_letters(texts: list[str]) -> PreTrainedTokenizerFast:
    """A cased WordPiece tokenizer that knows every character of the texts, and no word."""
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    tokens = [*SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters)]
    model = models.WordPiece({token: number for number, token in enumerate(tokens)}, unk_token="<unk>")
    pieces = Tokenizer(model)
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False, clean_text=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **SPECIAL)


@pytest.mark.parametrize("script", SCRIPTS)
def test_new_tokens_of_scripts_with_marks_are_whole_words_that_occur(script: str, tmp_path: Path) -> None:
    """A mark is part of its word: Python's ``\\w`` ends the word before it, the backend after it."""
    texts = [SCRIPTS[script]] * 5
    of_letters(texts).save_pretrained(tmp_path)
    words = words_in_use(tmp_path, texts, config(10, 5))
    whole = {word for word in SCRIPTS[script].split() if len(word) > 1}
    assert {word.token for word in words} == whole
    assert all(word.occurrences == 5 for word in words)


def test_a_word_that_the_tokenizer_never_writes_makes_room_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such word is known any more; one is played."""
    texts = ["qqqqq zyx vwx " * 5]
    wordpiece().save_pretrained(tmp_path)
    assert [word.token for word in words_in_use(tmp_path, texts, config(2))] == ["qqqqq", "vwx"]
    counted = module.occurrences
    never = load_tokenizer(tmp_path)

    def but_one(tokenizer: Any, ids: list[int], some: list[str]) -> list[int]:
        names = tokenizer.convert_ids_to_tokens(ids)
        return [
            0 if name == "qqqqq" else times for name, times in zip(names, counted(tokenizer, ids, some), strict=True)
        ]

    monkeypatch.setattr(module, "occurrences", but_one)
    assert [word.token for word in words_in_use(tmp_path, texts, config(2))] == ["vwx", "zyx"]
    assert len(load_tokenizer(tmp_path)) == len(never)  # the folder is as it was


def test_rows_say_how_many_new_tokens_each_part_uses(extended: Any) -> None:
    _, _, rows = extended("bert")
    used = {(row["split"], row["metric"]): (row["value"], row["n"]) for row in rows if "tokens" in row["metric"]}
    assert used == {
        ("train", "tokens_added"): (3, None),
        ("train", "tokens_used"): (3, 3),
        ("heldout", "tokens_used"): (2, 3),  # methyltransferase, vivo
    }
