"""Misspellings of other scripts than Latin: what is typed, what stays whole, and which attacks have nothing to try."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import pipeline, sentence, write_jsonl

from adapt import results
from adapt.config import ConfigError
from adapt.data import tasks
from adapt.data.kinds.classification import Example
from adapt.stages.candidates import candidates
from adapt.text_attacks import characters, hangul, measure
from adapt.text_attacks.keyboards import LAYOUTS, NEIGHBOURS
from adapt.text_attacks.scripts import clusters, is_mark, script

SYLLABLES = st.text(alphabet=[chr(place) for place in range(0xAC00, 0xD7A4)], min_size=1, max_size=6)
JAMO = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㄲㄸㅃㅆㅉㅏㅑㅓㅕㅗㅛㅜㅠㅡㅣㅐㅔㅒㅖ"
WORDS = {
    "Hangul": "재미있는영화",
    "Hiragana": "ありがとう",
    "Katakana": "コンピュータ",
    "Cyrillic": "кошками",
    "Greek": "παράθυρο",
    "Hebrew": "חתולים",
    "Arabic": "المكتبات",
    "Devanagari": "विद्यार्थी",
    "Bengali": "বিদ্যালয়",
    "Thai": "โรงเรียน",
    "Georgian": "ბიბლიოთეკა",
    "Latin": "naïveté",
}


@given(SYLLABLES)
def test_the_keys_of_syllables_write_them_again(word: str) -> None:
    assert hangul.typed(hangul.keys_of(word)) == word
    assert hangul.keys_of(unicodedata.normalize("NFD", word)) == hangul.keys_of(word)


@given(st.lists(st.sampled_from(JAMO), max_size=12))
def test_no_key_is_lost_whatever_is_typed(keys: list[str]) -> None:
    assert hangul.keys_of(hangul.typed(keys)) == keys


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("영화", "ㅇㅕㅇㅎㅗㅏ"),  # a vowel of two keys
        ("값이", "ㄱㅏㅂㅅㅇㅣ"),  # a final of two keys
        ("읽어", "ㅇㅣㄹㄱㅇㅓ"),
        ("있다", "ㅇㅣㅆㄷㅏ"),  # a final that the shift key types
        ("ㅋㅋ", "ㅋㅋ"),
        ("k팝", "kㅍㅏㅂ"),
    ],
)
def test_keys_by_hand(word: str, keys: str) -> None:
    assert "".join(hangul.keys_of(word)) == keys and hangul.typed(list(keys)) == word


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ("ㄱㅏㄱㅅㅏ", "각사"),  # the last letter of a final moves on to the vowel
        ("ㄱㅏㅂㅅㅏ", "갑사"),
        ("ㄱㅏㄸㅏ", "가따"),  # not a final
        ("ㅏㄱ", "ㅏㄱ"),
        ("ㅇㅗㅏㅣ", "와ㅣ"),
        ("ㅎㅎㅏ", "ㅎ하"),
    ],
)
def test_what_the_input_method_writes(keys: str, written: str) -> None:
    assert hangul.typed(list(keys)) == written


def test_misspellings_of_a_korean_word_by_hand() -> None:
    """영화 is typed ㅇ ㅕ ㅇ ㅎ ㅗ ㅏ; the first and the last key stay."""
    assert characters.drops("영화") == ["ㅇㅇ화", "여화", "여와", "영하"]
    assert characters.swaps("영화") == ["ㅇ여화", "옇와", "여오하"]  # ㅇㅇㅕㅎㅗㅏ, ㅇㅕㅎㅇㅗㅏ, ㅇㅕㅇㅗㅎㅏ
    assert characters.repeats("영화") == ["여ㅕㅇ화", "영ㅇ화", "영ㅎ화", "영호ㅘ"]
    assert {"용화", "양화", "연화", "영허ㅏ"} <= set(
        characters.keyboard("영화")
    )  # ㅛ, ㅑ, ㄴ, ㅓ lie beside ㅕ, ㅇ, ㅗ
    assert characters.slips_of_shift("있다고") == ["잇다고", "있따고", "있다꼬"]


@pytest.mark.parametrize("name", WORDS)
def test_a_word_of_each_script_has_misspellings_that_are_valid(name: str) -> None:
    word = WORDS[name]
    for form in ("NFC", "NFD"):
        given_word = unicodedata.normalize(form, word)
        found = characters.typos(given_word, 500, (0, 1, 2))
        assert script(given_word) == name and len(found) >= 4, (name, form)
        assert given_word not in found
        for changed in found:
            assert not is_mark(changed[0]), changed
            assert changed[0] == given_word[0] or name == "Hangul"
            assert unicodedata.is_normalized(form, changed) or name != "Hangul", changed


@pytest.mark.parametrize("word", ["école", "fiancée", "Ångström", "über-groß", "résumés"])
def test_marks_move_with_their_letter(word: str) -> None:
    """A decomposed word is edited as its composed form is."""
    decomposed = unicodedata.normalize("NFD", word)
    for edit in (characters.swaps, characters.drops, characters.repeats):
        assert [unicodedata.normalize("NFC", new) for new in edit(decomposed)] == edit(word), edit.__name__


@pytest.mark.parametrize("word", ["विद्यार्थी", "হিন্দি", "ประเทศ", "שָׁלוֹם", "كِتَابٌ", "မြန်မာ"])
def test_no_mark_is_torn_from_its_letter(word: str) -> None:
    whole = clusters(word)
    for edit in (characters.swaps, characters.drops, characters.repeats):
        for changed in edit(word):
            assert set(clusters(changed)) <= set(whole), (edit.__name__, changed)


def test_keyboards_are_symmetric_and_hold_what_their_standards_say() -> None:
    for name, near in NEIGHBOURS.items():
        for key, others in near.items():
            assert key not in others and all(key in near[other] for other in others), (name, key)
        assert len("".join(LAYOUTS[name]).replace(" ", "")) == len(near)
    assert set(NEIGHBOURS["Hangul"]["ㅎ"]) == set("ㄹㅗㅅㅛㅍㅠ")
    assert set(NEIGHBOURS["Cyrillic"]["а"]) == set("вкепсм")
    assert set(NEIGHBOURS["Greek"]["δ"]) == set("σφερχψ")
    assert set(NEIGHBOURS["Devanagari"]["\u094d"]) == {"\u0947", "\u093f", "\u093e", "\u0940", "\u0902"}  # marks alone


@pytest.mark.parametrize(
    ("kana", "others"),
    [("か", "が"), ("は", "ばぱ"), ("ぱ", "はば"), ("つ", "づっ"), ("っ", "つ"), ("ン", ""), ("ヤ", "ャ")],
)
def test_kana_that_are_confused(kana: str, others: str) -> None:
    assert set(characters.confusions(f"あ{kana}あ")) == {f"あ{other}あ" for other in others}


@pytest.mark.parametrize("word", ["영", "가", "猫", "漢字", "の", "ある", "ки", "12345", "!!!!!"])
def test_short_words_and_han_have_none_of_their_own(word: str) -> None:
    assert not characters.can_be_misspelt(word) or not any(map(str.isalpha, word))


def task_of(folder: Path, texts: list[str]) -> dict[str, Path]:
    examples = [Example(number, text, number % 2) for number, text in enumerate(texts)]
    folder.mkdir()
    tasks.write_task(tasks.Task(["a", "b"], "accuracy", dict.fromkeys(("train", "dev", "test"), examples)), folder)
    return {"task": folder}


@pytest.mark.parametrize(
    ("recipe", "text", "script_found", "possible"),
    [
        ("case", "이 영화 정말 재미있다", "Hangul", "bae, bert_attack, embedding, typos"),
        ("case", "यह फिल्म बहुत अच्छी है", "Devanagari", "bae, bert_attack, embedding, typos"),
        ("case", "ภาพยนตร์เรื่องนี้ดีมาก", "Thai", "bae, bert_attack, embedding, typos"),
        ("case", "הסרט הזה טוב מאוד", "Hebrew", "bae, bert_attack, embedding, typos"),
        ("typos", "这部电影非常好看", "Han", "bae, bert_attack, embedding"),
        ("typos", "a an the cat", "Latin", "bae, bert_attack, embedding, case"),
        ("case", "12 345 !", "no letter", "bae, bert_attack, embedding"),
    ],
)
def test_an_attack_by_typing_that_can_change_nothing_is_refused(
    tmp_path: Path, recipe: str, text: str, script_found: str, possible: str
) -> None:
    inputs = task_of(tmp_path / "task", [text, text, text])
    with pytest.raises(ConfigError) as refused:
        candidates(None, inputs, tmp_path, None, recipes=[recipe], max_examples=None)  # type: ignore[arg-type]
    said = str(refused.value)
    assert f"evaluate.text.recipes={recipe}: it can change no word of the 3 test texts" in said
    assert script_found in said and said.endswith(f"possible are {possible}")


@pytest.mark.parametrize("recipe", ["case", "typos"])
@pytest.mark.parametrize("texts", [["이 영화", "the Cats sleep"], ["кошка спит"], ["这部 movie"]])
def test_an_attack_that_can_change_one_word_is_let_through(tmp_path: Path, recipe: str, texts: list[str]) -> None:
    inputs = task_of(tmp_path / "task", texts)
    assert candidates(None, inputs, tmp_path, None, recipes=[recipe], max_examples=None) == []  # type: ignore[arg-type]


TEXT = ["evaluate=text", "budget.text_attack_examples=6", "budget.text_attack_queries=60", "finetune=linear_probe"]


def test_a_run_is_refused_before_anything_is_trained(world: Path, tmp_path: Path) -> None:
    for split, numbers in {"train": range(8), "dev": range(50, 54), "test": range(60, 64)}.items():
        rows = [
            {"text": sentence(label, number), "label": label} for number in numbers for label in ("animal", "metal")
        ]
        rows = [row | {"text": "이 영화 정말 재미있다"} for row in rows] if split == "test" else rows
        write_jsonl(tmp_path / "task" / f"{split}.jsonl", rows)
    given_words = [*TEXT, f"task.path={tmp_path / 'task'}", "evaluate.text.recipes=[case]", "allow_unknown=true"]
    with pytest.raises(ConfigError, match="recipes=case: it can change no word .* Hangul: there is no upper case"):
        pipeline(world, tmp_path / "root", *given_words).run()
    assert {folder.name for folder in (tmp_path / "root" / "store").iterdir()} & {"finetune", "evaluate"} == set()


def test_an_attack_that_tried_nothing_is_refused_after_the_fact(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others propose depends on models, so it is known only at the end."""
    monkeypatch.setattr(measure, "neighbour_words", lambda *parts: lambda word, count: [])
    with pytest.raises(
        ConfigError, match="recipes=embedding: it found no other word for any of the . attacked examples"
    ):
        pipeline(world, tmp_path, *TEXT, "evaluate.text.recipes=[embedding]").run()


@pytest.mark.parametrize(
    ("foreign", "recipe"), [("这部电影非常好看", "typos"), ("이 영화 정말", "case"), ("の に を", "typos")]
)
def test_examples_without_a_candidate_are_counted(world: Path, tmp_path: Path, foreign: str, recipe: str) -> None:
    for split, numbers in {"train": range(16), "dev": range(50, 54), "test": range(60, 64)}.items():
        rows = [
            {"text": sentence(label, number), "label": label} for number in numbers for label in ("animal", "metal")
        ]
        rows += [{"text": foreign, "label": label} for label in ("animal", "metal")] * 2 if split == "test" else []
        write_jsonl(tmp_path / "task" / f"{split}.jsonl", rows)
    given_words = ["evaluate=text", f"evaluate.text.recipes=[{recipe}]", "evaluate.text.max_examples=null"]
    given_words += ["finetune=linear_probe", f"task.path={tmp_path / 'task'}", "allow_unknown=true"]
    pipeline(world, tmp_path / "root", *given_words).run()
    (file,) = (tmp_path / "root").glob("store/evaluate/*/text_attacks.parquet")
    records = pd.read_parquet(file)
    mine = records[records["original_text"] == foreign]
    assert len(mine) == 4 and set(mine["status"]) == {"skipped", "failed"} and (mine["tried"] == 0).all()
    table = results.load(tmp_path / "root")
    (row,) = table[table["metric"] == "untried"].itertuples()
    attacked = records[records["status"].isin(["failed", "success"])]
    assert (row.attack, row.value, row.n) == (f"text:{recipe}", 2, len(attacked))
