"""The candidates for a word: from a masked LM, from neighbours in an embedding table, from the recipes."""

from __future__ import annotations

import itertools

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as token_models
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from adapt.models import loading
from adapt.store.sources import ASSETS
from adapt.text_attacks import names
from adapt.text_attacks.masked_lm import Guesser, combinations, masked, unmasked
from adapt.text_attacks.neighbours import neighbour_words
from adapt.text_attacks.recipes import RECIPES, Tools
from adapt.text_attacks.vocabulary import tokens_of, whole_words
from adapt.text_attacks.words import is_word, split

TINY = ASSETS / "tiny"
TEXT = "Return the Eigenvalues of a square matrix, and the unnormalised eigenvectors of it."


@pytest.fixture(scope="module")
def guesser() -> Guesser:
    model, missing = loading.load_masked_lm(TINY, dropout=0.0)
    assert missing == []
    return Guesser(model, loading.load_tokenizer(TINY), max_length=64, count=20)


@pytest.fixture(scope="module")
def plain():
    return AutoModelForMaskedLM.from_pretrained(TINY).eval()


def position_of(word: str) -> int:
    return split(TEXT).words.index(word)


@torch.no_grad()
def top_tokens(plain, tokenizer, text: str, place: int, count: int) -> list[str]:
    logits = plain(**tokenizer(text, return_tensors="pt")).logits[0, place]
    return tokenizer.convert_ids_to_tokens(logits.topk(count).indices.tolist())


@pytest.mark.parametrize("word", ["the", "square", "matrix", "unnormalised"])
def test_bae_takes_the_guesses_at_the_mask(guesser: Guesser, plain, word: str) -> None:
    sentence, position = split(TEXT), position_of(word)
    text = sentence.with_word(position, "[MASK]").text
    place = guesser.tokenizer(text)["input_ids"].index(guesser.tokenizer.mask_token_id)
    expected = [
        token
        for token in top_tokens(plain, guesser.tokenizer, text, place, 20)
        if token.isalpha() and token != word  # neither pieces nor punctuation
    ]
    assert masked(guesser)(sentence, position) == expected
    assert len(expected) > 3


def test_bae_reads_the_text_as_it_is_now(guesser: Guesser) -> None:
    position = position_of("matrix")
    changed = split(TEXT).with_word(position_of("square"), "string")
    assert masked(guesser)(changed, position) != masked(guesser)(split(TEXT), position)


def test_a_mask_in_the_text_itself_is_not_mistaken_for_ours(guesser: Guesser) -> None:
    sentence = split(f"[MASK] {TEXT}", guesser.tokenizer.all_special_tokens)
    assert sentence.words[0] == "Return"
    ours = masked(guesser)(sentence, 5)
    other = masked(guesser)(sentence, 0)
    assert ours != other


def test_bert_attack_takes_the_guesses_at_the_word_in_place(guesser: Guesser, plain) -> None:
    sentence, position = split(TEXT), position_of("matrix")
    ids = guesser.tokenizer(TEXT)["input_ids"]
    place = ids.index(guesser.tokenizer.convert_tokens_to_ids("matrix"))
    tokens = top_tokens(plain, guesser.tokenizer, TEXT, place, 20)
    assert tokens[0] == "matrix"  # nothing is masked, so the word itself is likeliest, and is left out
    propose = unmasked(guesser, sentence)
    assert propose(sentence, position) == [token for token in tokens[1:] if token.isalpha()]
    elsewhere = sentence.with_word(position_of("square"), "string")
    assert propose(elsewhere, position) == propose(sentence, position)  # only the original text is read, once


def test_bert_attack_joins_the_guesses_of_a_word_of_several_tokens(guesser: Guesser, plain) -> None:
    word = "unnormalised"
    pieces = guesser.tokenizer.tokenize(word)
    assert len(pieces) > 1
    sentence, position = split(TEXT), position_of(word)
    few = Guesser(guesser.model, guesser.tokenizer, max_length=64, count=5)
    proposed = unmasked(few, sentence)(sentence, position)
    place = guesser.tokenizer.tokenize(TEXT).index(pieces[0]) + 1
    with torch.no_grad():
        logits = plain(**guesser.tokenizer(TEXT, return_tensors="pt")).logits[0].log_softmax(-1)
    tops = [logits[place + i].topk(5) for i in range(len(pieces))]
    every = itertools.product(*[list(zip(t.values.tolist(), t.indices.tolist(), strict=True)) for t in tops])
    ranked = sorted(every, key=lambda choice: -sum(value for value, _ in choice))[:5]
    texts = [
        "".join(guesser.tokenizer.convert_ids_to_tokens([i for _, i in choice])).replace("##", "") for choice in ranked
    ]
    heads = [guesser.tokenizer.convert_ids_to_tokens([i for _, i in choice]) for choice in ranked]
    whole = [
        text
        for text, tokens in zip(texts, heads, strict=True)
        if all(token.startswith("##") for token in tokens[1:]) and not tokens[0].startswith("##") and text != word
    ]
    assert proposed == whole
    assert all(is_word(text) for text in proposed)


def test_the_best_combinations_are_those_of_a_full_search() -> None:
    random = torch.Generator().manual_seed(0)
    tokens = [[(float(torch.randn((), generator=random)), 10 * i + j) for j in range(6)] for i in range(4)]
    every = [
        (sum(value for value, _ in choice), tuple(token for _, token in choice))
        for choice in itertools.product(*tokens)
    ]
    expected = sorted(every, key=lambda entry: -entry[0])[:9]
    assert [ids for _, ids in combinations(tokens, 9)] == [ids for _, ids in expected]


def test_a_word_beyond_the_limit_has_no_candidates(guesser: Guesser) -> None:
    short = Guesser(guesser.model, guesser.tokenizer, max_length=5, count=20)
    sentence = split(TEXT)
    last = len(sentence.words) - 1
    assert masked(short)(sentence, last) == [] == unmasked(short, sentence)(sentence, last)
    assert unmasked(short, sentence)(sentence, 0)


def test_whole_words_of_word_pieces() -> None:
    tokenizer = loading.load_tokenizer(TINY)
    words = whole_words(tokenizer)
    tokens = tokenizer.get_vocab()
    assert words[tokens["matrix"]] == "matrix"
    pieces = {
        number for token, number in tokens.items() if token.startswith("##") or not any(c.isalpha() for c in token)
    }
    assert not set(words) & pieces and not set(words) & set(tokenizer.all_special_ids)
    assert len(words) > 4000


def test_whole_words_of_byte_pairs() -> None:
    """As in RoBERTa: "Ġcat" is the word, "cat" is the end of another word."""
    pairs = Tokenizer(token_models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>", "<mask>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    pairs.train_from_iterator(["the cat saw a concat and a big dog , the dogcat"] * 20, trainer)
    pairs.post_processor = processors.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pairs, bos_token="<s>", eos_token="</s>", mask_token="<mask>")
    words = whole_words(tokenizer)
    tokens = tokenizer.get_vocab()
    assert words[tokens["Ġcat"]] == "cat"
    assert tokens["cat"] not in words and tokens["Ġ,"] not in words and tokens["<mask>"] not in words


def test_tokens_of_a_span() -> None:
    offsets = [(0, 0), (0, 2), (2, 5), (6, 9), (0, 0)]
    assert tokens_of(offsets, 0, 5) == [1, 2]
    assert tokens_of(offsets, 6, 9) == [3]
    assert tokens_of(offsets, 5, 6) == []


def test_neighbours_are_the_nearest_by_cosine_and_whole_words() -> None:
    table = torch.tensor([[1.0, 0.0], [0.9, 0.1], [5.0, 1.0], [0.0, 1.0], [1.0, 0.01], [0.99, 0.0], [-1.0, 0.0]])
    words = {0: "cat", 1: "dog", 2: "horse", 3: "iron", 5: "Cat", 6: "tin"}  # token 4 is a part of a word
    ids = {word: number for number, word in words.items()}
    nearest = neighbour_words(table, words, lambda word: [ids[word]] if word in ids else [4, 4])
    assert nearest("cat", 3) == ["dog", "horse", "iron"]  # cosines .994, .981, 0; not "Cat"
    assert nearest("cat", 1) == ["dog"]
    assert nearest("cat", 50) == ["dog", "horse", "iron", "tin"]
    assert nearest("catalogue", 3) == []


@pytest.fixture(scope="module")
def tools(guesser: Guesser) -> Tools:
    tokenizer = guesser.tokenizer
    table = guesser.model.encoder.get_input_embeddings().weight

    def encode(word: str) -> list[int]:
        return tokenizer(f" {word}", add_special_tokens=False)["input_ids"]

    nearest = neighbour_words(table, whole_words(tokenizer), encode)
    return Tools(20, 0, frozenset({"the", "of", "a", "and", "it"}), guesser, nearest)


def test_every_recipe_has_its_name() -> None:
    assert tuple(RECIPES) == names.RECIPES
    assert names.needs_masked_lm(["typos", "bae"]) and not names.needs_masked_lm(["embedding", "typos", "case"])


@pytest.mark.parametrize("name", names.RECIPES)
def test_no_recipe_proposes_the_word_itself_and_the_order_of_words_does_not_matter(tools: Tools, name: str) -> None:
    recipe, sentence = RECIPES[name](tools), split(TEXT)
    positions = [i for i, word in enumerate(sentence.words) if recipe.may_change(word)]
    one, other = recipe.start(sentence, 3), recipe.start(sentence, 3)
    forwards = {position: one(sentence, position) for position in positions}
    backwards = {position: other(sentence, position) for position in reversed(positions)}
    assert forwards == backwards
    assert sum(map(len, forwards.values())) > len(positions)
    for position, words in forwards.items():
        assert sentence.words[position] not in words
        if name != "case":
            assert len(words) <= tools.candidates
            assert sentence.words[position].lower() not in [word.lower() for word in words]


def test_bert_attack_alone_leaves_stop_words(tools: Tools) -> None:
    bert_attack, bae = RECIPES["bert_attack"](tools), RECIPES["bae"](tools)
    assert not bert_attack.may_change("The") and bae.may_change("The")
    sentence = split(TEXT)
    for position, word in enumerate(sentence.words):
        if bert_attack.may_change(word):
            assert not set(bert_attack.start(sentence, 0)(sentence, position)) & tools.stop_words


def test_how_words_are_hidden_for_their_rank(tools: Tools) -> None:
    sentence = split("the cat sat")
    assert RECIPES["bert_attack"](tools).hide(sentence, 1) == "the [MASK] sat"
    for name in ("bae", "embedding", "typos", "case"):
        assert RECIPES[name](tools).hide(sentence, 1) == "the sat"


def test_misspellings_differ_between_examples_and_not_between_calls(tools: Tools) -> None:
    recipe, sentence = RECIPES["typos"](tools), split("a wonderful mathematical function")
    lists = [tuple(recipe.start(sentence, example)(sentence, 2)) for example in (0, 1, 0)]
    assert lists[0] == lists[2] != lists[1]
