"""The documents that are chosen for a task's texts, checked by hand on small corpora."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from adapt.config import ConfigError
from adapt.data.selection import choose, tfidf

QUERY = ["the cat chased the mouse", "gold and silver melt"]
CORPUS = [
    "rain fell on hills",
    "a cat saw a mouse",
    "The cat chased the mouse!",  # a copy except for case and punctuation
    "silver and gold coins",
    "gold rings",
    "a mouse ran",
    "seven boats sailed",
]
AMONG = [0, 1, 3, 4, 5, 6]


def test_copies_of_a_query_are_not_eligible() -> None:
    assert choose.eligible(CORPUS, QUERY).tolist() == AMONG


def test_tfidf_is_what_scikit_learn_fits() -> None:
    texts = [*CORPUS, *QUERY]
    ours = tfidf.fitted(iter(texts)).transform(texts).toarray()
    theirs = TfidfVectorizer(min_df=2, sublinear_tf=True).fit(texts)
    columns = [theirs.vocabulary_[word] for word in sorted(theirs.vocabulary_)]
    np.testing.assert_allclose(ours, theirs.transform(texts).toarray()[:, columns], atol=1e-6)


def test_the_union_of_nearest_documents_in_the_order_of_the_corpus() -> None:
    chosen = choose.by_tfidf(QUERY, CORPUS, np.array(AMONG), 2)
    assert chosen.documents.tolist() == [1, 3, 4, 5]
    assert chosen.queries is not None and chosen.queries.tolist() == [0, 1, 1, 0]
    assert choose.selected_texts(CORPUS, chosen) == [CORPUS[1], CORPUS[3], CORPUS[4], CORPUS[5]]


def test_a_document_that_shares_no_word_is_no_neighbour() -> None:
    chosen = choose.by_tfidf(QUERY, CORPUS, np.array(AMONG), len(AMONG))
    assert 6 not in chosen.documents and chosen.scores is not None and (chosen.scores > 0).all()


def test_a_document_near_two_queries_is_chosen_once_by_the_first() -> None:
    rows = {"q0": [1, 0], "q1": [0.6, 0.8], "d0": [0, 1], "d1": [0.8, 0.6]}

    def embed(texts: list[str]) -> np.ndarray:
        return np.array([rows[text] for text in texts], np.float32)

    chosen = choose.by_neighbours(["q0", "q1"], ["d0", "d1"], np.arange(2), 1, embed)
    assert chosen.documents.tolist() == [1]
    assert chosen.queries is not None and chosen.queries.tolist() == [0]
    assert chosen.scores == pytest.approx([0.8])
    assert chosen.mean_similarity == pytest.approx((0.8 + 0.96) / 2)


def test_blocks_read_a_lazy_corpus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "BLOCK", 2)
    parts = list(choose.blocks(iter("abcdefgh"), np.array([1, 2, 5, 6, 7])))
    assert [(numbers.tolist(), texts) for numbers, texts in parts] == [
        ([1, 2], ["b", "c"]),
        ([5, 6], ["f", "g"]),
        ([7], ["h"]),
    ]
    whole = choose.by_tfidf(QUERY, CORPUS, np.array(AMONG), 2)
    monkeypatch.setattr(choose, "BLOCK", 4096)
    assert whole.documents.tolist() == choose.by_tfidf(QUERY, CORPUS, np.array(AMONG), 2).documents.tolist()


def test_dsir_prefers_the_target_s_words_and_its_kl_reduction_shows_it() -> None:
    metal = [f"gold silver ore number {i} melts" for i in range(30)]
    animal = [f"cat dog horse number {i} runs" for i in range(30)]
    query, corpus = ["gold ore melts", "silver ore melts"], [*animal, *metal]
    among = np.arange(60)
    chosen = choose.by_dsir(query, corpus, among, 20, seed=0)
    assert len(chosen.documents) == 20 and chosen.documents.min() >= 30
    control = choose.at_random(among, 20, seed=0)
    gained, by_chance = (choose.measures(query, corpus, among, c) for c in (chosen, control))
    assert gained["kl_reduction"] > by_chance["kl_reduction"] + 0.1
    assert gained["words"] == 20 * 6 and gained["documents"] == 20
    assert gained["query_vocabulary_covered"] == 1  # gold, silver, ore, melts
    assert choose.measures(query, corpus, among, choose.at_random(among, 60, 0))["kl_reduction"] == 0


def test_a_random_choice_is_distinct_among_the_eligible_and_its_seed_s() -> None:
    among = np.arange(0, 200, 2)
    first, again, other = (choose.at_random(among, 40, seed).documents.tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 40 and set(first) <= set(among.tolist()) and first == sorted(first)


def test_the_record_says_what_was_chosen_and_why(tmp_path) -> None:
    chosen = choose.by_tfidf(QUERY, CORPUS, np.array(AMONG), 2)
    choose.write_record(chosen, choose.selected_texts(CORPUS, chosen), tmp_path)
    table = pq.read_table(tmp_path / "chosen.parquet").to_pydict()
    assert list(table) == ["document", "text", "score", "query"]
    assert table["document"] == [1, 3, 4, 5] and table["query"] == [0, 1, 1, 0] and table["text"][1] == CORPUS[3]
    assert choose.recorded_documents(tmp_path) == 4
    control = choose.at_random(np.array(AMONG), 3, 0)
    choose.write_record(control, choose.selected_texts(CORPUS, control), tmp_path)
    table = pq.read_table(tmp_path / "chosen.parquet").to_pydict()
    assert table["score"] == table["query"] == [None] * 3


def test_more_than_there_is_is_refused_with_the_number_there_is() -> None:
    among = np.array(AMONG)
    with pytest.raises(ConfigError, match=r"selection\.neighbours=7: the corpus has 6 documents"):
        choose.by_tfidf(QUERY, CORPUS, among, 7)
    with pytest.raises(ConfigError, match=r"selection\.documents=7: the corpus has 6 documents"):
        choose.by_dsir(QUERY, CORPUS, among, 7, 0)
    with pytest.raises(ConfigError, match=r"selection\.documents=7"):
        choose.at_random(among, 7, 0)


def test_a_corpus_in_another_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of 2 documents of the corpus shares a word"):
        choose.by_tfidf(["cat dog"], ["Hund Katze", "Hund Vogel"], np.arange(2), 1)
    with pytest.raises(ConfigError, match="no two of 3 texts share a word"):
        choose.by_tfidf(["cat dog"], ["Hund Katze", "Maus Vogel"], np.arange(2), 1)
