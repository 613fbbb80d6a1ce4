"""What counts as the same text, and as a unit of it, in any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.data import characters
from adapt.data.leakage import BannedTexts
from adapt.data.leaks.overlap import OverlapSearch
from adapt.data.near_duplicates import jaccard, shingles_of
from adapt.data.selection import choose, tfidf
from adapt.data.text import distinct, normalise
from adapt.data.vocabulary_overlap import content_words, frequent_words, overlap

# One sentence each: "The parcel came quickly, the wrapping was neat, and I would buy at the same shop again next time."
SENTENCES = {
    "Latin": "Das Päckchen kam schnell, die Verpackung war schön, und ich würde im selben Geschäft wieder bestellen.",
    "Greek": "Το δέμα ήρθε γρήγορα, η συσκευασία ήταν προσεγμένη και θα αγόραζα ξανά από το ίδιο κατάστημα.",
    "Cyrillic": "Посылка пришла быстро, упаковка была аккуратной, и в следующий раз я снова куплю в этом же магазине.",
    "Hangul": "배송이 아주 빠르고 포장이 깔끔해서 다음에도 같은 가게에서 주문하려고 합니다 정말 감사합니다.",
    "Han": "包裹送得很快，包装也很整齐，下次我还会在同一家商店购买，谢谢店主。",
    "Kana": "にもつはとてもはやくとどき、ラッピングもきれいでした。つぎもおなじみせでかいたいとおもいます。",
    "Japanese": "荷物はとても早く届き、包装もきれいでした。次も同じ店で買いたいと思います。",
    "Thai": "พัสดุมาถึงเร็วมาก ห่อมาอย่างเรียบร้อย ครั้งหน้าจะซื้อจากร้านเดิมอีกแน่นอน",
    "Khmer": "កញ្ចប់បានមកដល់យ៉ាងលឿន ការវេចខ្ចប់ស្អាតណាស់ លើកក្រោយខ្ញុំនឹងទិញពីហាងដដែល",
    "Burmese": "ပါဆယ်က မြန်မြန်ရောက်တယ် ထုပ်ပိုးမှုကလည်း သေသပ်တယ် နောက်တစ်ခါလည်း ဒီဆိုင်က ဝယ်မယ်",
    "Devanagari": "पार्सल बहुत जल्दी आया और पैकिंग भी साफ़ थी, अगली बार मैं इसी दुकान से फिर ख़रीदूँगा।",
    "Bengali": "পার্সেলটি খুব তাড়াতাড়ি এসেছে এবং মোড়কটি পরিষ্কার ছিল, পরের বার আমি একই দোকান থেকে আবার কিনব।",
    "Tamil": "பொதி மிக விரைவாக வந்தது, உறை நேர்த்தியாக இருந்தது, அடுத்த முறையும் நான் அதே கடையில் மீண்டும் வாங்குவேன்.",
    "Arabic": "وصل الطرد بسرعة وكان التغليف أنيقا وسأشتري من المتجر نفسه في المرة القادمة إن شاء الله.",
    "Hebrew": "החבילה הגיעה מהר והאריזה היתה מסודרת ובפעם הבאה אקנה שוב באותה חנות בלי שום ספק.",
}
UNLIKE = {  # another sentence of the same script
    "Han": "昨天的会议推迟到下周三举行，请各位同事提前准备好相关的材料并准时参加。",
    "Japanese": "昨日の会議は来週の水曜日に延期されましたので、資料を用意して時間通りに参加してください。",
    "Thai": "การประชุมเมื่อวานเลื่อนไปเป็นวันพุธหน้า ขอให้ทุกคนเตรียมเอกสารและมาให้ตรงเวลา",
    "Hangul": "어제 회의는 다음 주 수요일로 연기되었으니 모두 자료를 미리 준비하고 제시간에 참석해 주시기 바랍니다.",
}
ANY = pytest.mark.parametrize("script", SENTENCES)
FORMS = pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])


@pytest.mark.parametrize(
    "hidden", ["\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufe0f", "\u200e", "\u034f"]
)
@ANY
def test_what_cannot_be_seen_does_not_count(script: str, hidden: str) -> None:
    text = SENTENCES[script]
    for place in (0, 3, len(text) // 2, len(text)):
        assert normalise(text[:place] + hidden + text[place:]) == normalise(text)


@ANY
@FORMS
def test_composed_and_decomposed_copies_are_the_same(script: str, form: str) -> None:
    copy = unicodedata.normalize(form, SENTENCES[script])
    assert normalise(copy) == normalise(SENTENCES[script])
    assert list(distinct([SENTENCES[script], copy, copy.upper()], str)) == [SENTENCES[script]]
    assert BannedTexts([SENTENCES[script]]).found_in(f"42: {copy} (2)") and content_words(copy)


@pytest.mark.parametrize(
    "one, other",
    [
        ("ﬁnal oﬀer", "final offer"),
        ("ＦＵＬＬ　ｗｉｄｔｈ１", "full width1"),
        ("ｶﾞｲﾄﾞ ﾌﾞｯｸ", "ガイドブック"),
        ("STRASSE", "Straße"),
        ("İSTANBUL", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("ΟΔΟΣ", "οδος"),
        ("㎏ of Å", "kg of å"),
        ("مُحَمَّدٌ", "محمد"),
        ("محـــمد", "محمد"),
        ("שָׁלוֹם", "שלום"),
        ("1️⃣ first", "1 first"),
        ("s̶t̶r̶u̶c̶k̶", "struck"),
        ("ᄒ\u1161ᆫ국", "한국"),
        ("天 气\n很好", "天气很好"),
        ("用 Python 编程", "用Python编程"),
    ],
)
def test_two_ways_to_write_one_text(one: str, other: str) -> None:
    assert normalise(one) == normalise(other) != ""


@pytest.mark.parametrize(
    "one, other",
    [
        ("की", "का"),  # vowel signs
        ("कि", "की"),
        ("কি", "কী"),
        ("มา", "มี"),
        ("ป่า", "ป้า"),  # tones
        ("မိ", "မီ"),
        ("résumé", "resume"),
        ("かき", "かぎ"),
        ("ハハ", "パパ"),
        ("أ", "ا"),  # another letter, not a point
        ("x y", "xy"),
    ],
)
def test_texts_that_differ_in_what_is_always_written(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_sentences_that_differ_in_vowel_signs_alone_are_no_duplicates() -> None:
    texts = [f"{first} {second}" for first in ("कल", "काल", "कील", "कुल") for second in ("दिन", "दीन", "दान", "दूना")]
    assert list(distinct(texts, str)) == texts


@ANY
def test_a_text_that_stands_verbatim_in_a_document_is_found(script: str) -> None:
    text = SENTENCES[script]
    search = OverlapSearch([text])
    search.add(f"前文 before {text} after 2024 あと หลัง")
    (hit,) = search.hits()
    assert hit.level == "contained" and hit.share == 1.0 and hit.first is not None
    assert normalise(hit.first.passage) == normalise(text)


@pytest.mark.parametrize("script", UNLIKE)
def test_another_sentence_of_the_script_is_no_leak_and_no_near_duplicate(script: str) -> None:
    banned = BannedTexts([SENTENCES[script]])
    assert not banned.found_in(UNLIKE[script]) and not banned.found_in(UNLIKE[script] * 20)
    assert jaccard(shingles_of(SENTENCES[script]), shingles_of(UNLIKE[script])) == 0


@ANY
def test_near_duplicates_share_most_of_their_shingles(script: str) -> None:
    text = SENTENCES[script] + " ".join(str(number) for number in range(40))
    assert jaccard(shingles_of(text), shingles_of(unicodedata.normalize("NFD", text).upper() + " x")) > 0.8


@pytest.mark.parametrize(
    "text",
    [
        "이 가게는 정말 친절하고 좋았습니다",
        "这家店的服务非常好",
        "この店のサービスはとてもよかった",
        "ร้านนี้บริการดีมากและอาหารอร่อย",
    ],
)
def test_a_short_text_counts_as_one_gram(text: str) -> None:
    search = OverlapSearch([text])
    search.add(f"어제 昨日 {text} 그리고 以上")
    assert [hit.level for hit in search.hits()] == ["contained"]
    assert BannedTexts([text]).found_in(f"xx {text}。yy")
    assert not BannedTexts([text]).found_in(text[:-2])


@pytest.mark.parametrize(
    "text", ["네", "정말 좋아요", "很好", "はい、そうです", "ใช่ครับ", "a b c d e f g", "It works as we said"]
)
def test_a_phrase_is_found_only_as_a_whole(text: str) -> None:
    search = OverlapSearch([text])
    search.add(f"x {text} y")
    assert not search.hits()
    search.add(text + "!")
    assert [hit.level for hit in search.hits()] == ["normalised"]


def test_an_agglutinative_text_of_few_long_words_is_one_gram() -> None:
    text = "Muvaffakiyetsizleştiricileştiriveremeyebileceklerimizden misiniz"
    assert BannedTexts([text]).found_in(f"Peki {text.upper()} dedi") and not BannedTexts([text]).found_in("misiniz")


def test_units_of_a_mixed_text_are_those_of_each_run() -> None:
    form = normalise("用 Python 3 编程 or สวัสดี!")
    assert characters.units(form) == ["用", "python", "3", "编", "程", "or", "ส", "วั", "ส", "ดี"]
    assert characters.words(form) == ["用", "python", "3", "编程", "or", "สวั", "วัส", "สดี"]
    assert characters.joined(characters.units(form)) == form


def test_an_n_gram_of_words_is_the_same_in_a_mixed_text() -> None:
    english = "one two three four five six seven eight nine"
    assert set(characters.grams(english, 8)) <= set(characters.grams(normalise(f"他说 {english} 了"), 8))


def test_n_grams_are_worth_n_words() -> None:
    """Of Han, 1.5 characters are worth a word: 12 for 8 words, so 13 characters have two 8-grams."""
    assert [len(gram) for gram in characters.grams("一二三四五六七八九十百千万", 8)] == [12, 12]
    assert [len(gram) for gram in characters.grams("a" + "一二三四五六七八九十百千", 8)] == [12, 12]
    assert [len(gram) for gram in characters.grams("かきくけこさしすせそたちつてとなにぬねのはひふへほ", 8)] == [24, 24]


@pytest.mark.parametrize(
    "text, words", [("一二三四五六", 4), ("a 一二三 b", 4), ("ab cd  ef", 3), ("", 0), ("สวัสดีครับ", 2)]
)
def test_length_in_words(text: str, words: int) -> None:
    assert characters.length(text) == words


@given(st.text())
def test_the_fast_path_is_the_slow_one(text: str) -> None:
    assert normalise(text) == characters.normalised(characters.comparable(text))
    assert characters.units(normalise(text)) == characters.units(characters.joined(characters.units(normalise(text))))


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_plain_text_of_europe_is_lower_case_alone(text: str) -> None:
    if characters.is_plain(text):
        assert characters.comparable(text) == text.lower() == characters._folded(text)


@pytest.mark.parametrize("script", UNLIKE)
def test_selection_tells_the_texts_of_the_query(script: str) -> None:
    halves = [[sentence[start:] for start in range(0, 12, 2)] for sentence in (SENTENCES[script], UNLIKE[script])]
    query, corpus = halves[0][:2], [*halves[0][2:], *halves[1][2:]]
    among = choose.eligible(corpus, query)
    assert set(choose.by_tfidf(query, corpus, among, 1).documents) <= {0, 1, 2, 3}
    assert set(choose.by_dsir(query, corpus, among, 4, 0).documents) == {0, 1, 2, 3}
    assert tfidf.fitted([*query, *corpus]).transform(query[:1]).nnz > 5


@ANY
def test_a_domain_shares_its_own_vocabulary(script: str) -> None:
    words = frequent_words([SENTENCES[script]])
    copies = frequent_words([unicodedata.normalize("NFD", SENTENCES[script]).upper()])
    assert overlap(words, copies)[0] == 1.0 and len(words) > 5
