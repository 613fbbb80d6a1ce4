"""The places of words among tokens, and the tags that the head predicts for them."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram, WordPiece
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from adapt.config import ConfigError
from adapt.models import loading
from adapt.tasks.tagging import (
    EncodedWords,
    Tagging,
    TokenClassifier,
    collate_words,
    encode_words,
    first_tokens,
    load_tagger,
    new_tagger,
    predict_tags,
    tag_spaces,
)

LABELS = ["O", "B-X", "I-X"]
SENTENCES = [
    ["Unhappiness", "grows", ",", "they", "say", "."],
    ["the", "growing", "ill", "-", "temperedness", "of", "Zürich", "(", "x_1", ")"],
    ["naïve", "co-operation", "3.5%", "…", "of"],
]
SPECIAL = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


def fast(kind: str) -> PreTrainedTokenizerBase:
    """A tokenizer with a small vocabulary, so that most words have several pieces."""
    spaced = kind == "byte-level spaced"
    if kind == "wordpiece":
        pieces, trainer = Tokenizer(WordPiece(unk_token="<unk>")), trainers.WordPieceTrainer
        pieces.normalizer = normalizers.BertNormalizer()
        pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "metaspace":
        pieces, trainer = Tokenizer(Unigram()), trainers.UnigramTrainer
        pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        pieces, trainer = Tokenizer(BPE()), trainers.BpeTrainer
        pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
        pieces.decoder = decoders.ByteLevel()
    more = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()} if "byte" in kind else {}
    if kind == "metaspace":
        more = {"unk_token": "<unk>"}
    texts = [" ".join(words) for words in SENTENCES]
    size = 330 if "byte" in kind else 80
    pieces.train_from_iterator(
        texts, trainer(vocab_size=size, special_tokens=list(SPECIAL.values()), show_progress=False, **more)
    )
    ends = [(name, pieces.token_to_id(name)) for name in ("<s>", "</s>")]
    pieces.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **SPECIAL)


@pytest.mark.parametrize("kind", ["wordpiece", "byte-level spaced", "metaspace"])
def test_places_of_words_equal_word_ids_where_those_are_right(kind: str) -> None:
    tokenizer = fast(kind)
    ours = encode_words(tokenizer, SENTENCES, 64)
    theirs = tokenizer(SENTENCES, is_split_into_words=True)
    assert ours.ids == theirs["input_ids"]
    assert max(map(len, ours.ids)) > max(map(len, SENTENCES)) + 2  # there are words of several pieces
    for number, words in enumerate(SENTENCES):
        numbers = theirs.word_ids(number)
        assert ours.words[number] == list(range(len(words)))
        assert ours.places[number] == [numbers.index(word) for word in range(len(words))]


def test_byte_level_words_keep_their_space_without_a_prefix_space() -> None:
    """is_split_into_words=True would read ``theysay`` here: no piece of it would begin a word."""
    plain, spaced = fast("byte-level"), fast("byte-level spaced")
    ours, glued = encode_words(plain, SENTENCES, 64), plain(SENTENCES, is_split_into_words=True)["input_ids"]
    right = plain([" ".join(words) for words in SENTENCES])["input_ids"]
    assert ours.ids == right != glued
    for words, places, ids in zip(SENTENCES, ours.places, ours.ids, strict=True):
        assert len(places) == len(words)
        starts = [plain.convert_ids_to_tokens(ids[place]) for place in places]
        assert all(piece.startswith("Ġ") for piece in starts[1:])
    assert encode_words(spaced, SENTENCES, 64).words == ours.words


def test_first_tokens_by_hand() -> None:
    words = ["ab", "c", "de"]  # "ab c de"
    split = [(0, 0), (0, 1), (1, 2), (2, 4), (4, 5), (5, 7), (0, 0)]  # " c" with its space; a lone space; "de"
    assert first_tokens(words, split) == [1, 3, 4]
    assert first_tokens(words, [(0, 0), (0, 2), (0, 0)]) == [1, None, None]  # cut
    assert first_tokens(words, [(0, 2), (5, 7)]) == [0, None, 1]  # a character that is dropped
    assert first_tokens(words, [(0, 4), (4, 7)]) == [0, 0, 1]  # a token over two words answers for both
    assert first_tokens([], [(0, 0)]) == []


def test_words_after_the_cut_are_tagged_outside(tmp_path: Path, world: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    sentences = [["cat"] * 10, ["dog", "gold"]]
    encoded = encode_words(tokenizer, sentences, 6)
    assert [len(words) for words in encoded.words] == [4, 2]
    model = tagger(world, "mean")
    with torch.no_grad():
        model.head.out.bias.copy_(torch.tensor([0.0, 100.0, 0.0]))
    answers = predict_tags(model, tokenizer, encoded, [10, 2], batch_size=1, device=torch.device("cpu"))
    assert answers == [[1] * 4 + [0] * 6, [1, 1]]


def tagger(world: Path, pooling: str, dropout: float = 0.0) -> TokenClassifier:
    torch.manual_seed(3)
    return new_tagger(world / "model", labels=LABELS, pooling=pooling, dropout=dropout).eval()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_logits_are_those_of_the_words_whatever_the_batch(world: Path, pooling: str) -> None:
    tokenizer, model = loading.load_tokenizer(world / "model"), tagger(world, pooling)
    sentences = [["cat", "gold", "dog"], ["tin", "paw", "cat", "ore", "fur"], ["dog"]]
    encoded = encode_words(tokenizer, sentences, 64)
    tags = [torch.arange(len(words)) % 3 for words in sentences]
    batch = collate_words(tokenizer, encoded, [0, 1, 2], tags)
    objective = Tagging()
    logits = objective.logits(model, batch)
    assert logits.shape == (9, 3) and logits.dtype == torch.float32 and objective.items(batch) == 9
    assert objective.targets(batch).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0]
    assert objective.rows(batch).tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 2]
    words = [
        tokenizer.convert_ids_to_tokens(batch["input_ids"].flatten()[place].item()) for place in batch["positions"]
    ]
    assert words == [word for sentence in sentences for word in sentence]
    single = [objective.logits(model, collate_words(tokenizer, encoded, [index], tags)) for index in range(3)]
    torch.testing.assert_close(torch.cat(single), logits, atol=1e-5, rtol=0)
    expected = torch.nn.functional.cross_entropy(logits, objective.targets(batch))
    assert objective.losses(model, batch).mean().item() == pytest.approx(expected.item())


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_saved_tagger_answers_the_same(world: Path, tmp_path: Path, pooling: str) -> None:
    tokenizer, model = loading.load_tokenizer(world / "model"), tagger(world, pooling)
    encoded = encode_words(tokenizer, [["cat", "gold"]], 64)
    batch = collate_words(tokenizer, encoded, [0], [torch.zeros(2, dtype=torch.long)])
    model.save(tmp_path, tokenizer, LABELS)
    again, labels = load_tagger(tmp_path)
    assert labels == LABELS
    torch.testing.assert_close(Tagging().logits(again.eval(), batch), Tagging().logits(model, batch))
    if pooling == "cls":
        plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
        theirs = plain(batch["input_ids"], batch["attention_mask"]).logits[0, 1:-1]
        torch.testing.assert_close(theirs, Tagging().logits(model, batch))
        assert plain.config.id2label == dict(enumerate(LABELS))


def test_the_head_is_drawn_from_the_seed_and_dropped_out_in_training(world: Path) -> None:
    weights = [tagger(world, pooling).state_dict() for pooling in ("mean", "mean")]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    model, tokenizer = tagger(world, "mean", dropout=0.5), loading.load_tokenizer(world / "model")
    batch = collate_words(tokenizer, encode_words(tokenizer, [["cat"] * 20], 64), [0], [torch.zeros(20).long()])
    hidden = torch.ones(1, 16)
    assert torch.equal(model.head(hidden), model.head(hidden))
    model.train()
    assert not torch.equal(Tagging().logits(model, batch), Tagging().logits(model, batch))


def test_a_classifiers_folder_is_no_tagger(world: Path, tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    classifier = loading.new_classifier(world / "model", labels=["a", "b"], pooling="mean", dropout=0.0)
    classifier.save(tmp_path, tokenizer, ["a", "b"])
    with pytest.raises(ConfigError, match="no fine-tuned tagger"):
        load_tagger(tmp_path)


def test_a_tokenizer_without_offsets_is_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = loading.load_tokenizer(world / "model")
    monkeypatch.setattr(type(tokenizer), "is_fast", property(lambda self: False))
    with pytest.raises(ConfigError, match=r"task\.kind=tagging: .* does not tell where its tokens are"):
        encode_words(tokenizer, SENTENCES, 64)


@pytest.mark.parametrize(
    ("words", "answered", "expected"),
    [
        ("김| |군", [1, 0, 2], [1, 2, 2]),  # within a span
        ("김| |군", [1, 0, 1], [1, 0, 1]),  # between two spans
        ("김| |군", [0, 0, 2], [0, 0, 2]),  # before a span
        ("a| | |b| |c", [1, 0, 0, 2, 0, 0], [1, 2, 2, 2, 0, 0]),  # two spaces; a span that ends
        ("a| |b", [1, 0, 4], [1, 0, 4]),  # another type
        ("a| ", [1, 0], [1, 0]),  # at the end
        (" |a", [0, 1], [0, 1]),  # at the start
    ],
)
def test_a_space_is_tagged_by_its_neighbours(words: str, answered: list[int], expected: list[int]) -> None:
    sentence = words.split("|")
    seen = [[place for place, word in enumerate(sentence) if word.strip()]]
    encoded = EncodedWords([[]], None, [[]], seen)
    assert tag_spaces([answered], [sentence], encoded) == [expected]


@pytest.mark.parametrize("kind", ["wordpiece", "byte-level", "metaspace"])
def test_words_around_a_space_have_tokens_of_their_own(kind: str) -> None:
    encoded = encode_words(fast(kind), [["of", " ", "they", "say"]], 32)
    (places,) = encoded.places
    assert {0, 2, 3} <= set(encoded.words[0]) and len(set(places)) == len(places)
