"""A spool that drops documents early chooses the same documents as one that keeps them all."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data import spool
from adapt.data.spool import Spool
from adapt.data.text import in_hash_order, normalise


def fault(text: str) -> str | None:
    return "banned" if "secret" in text else None


def kept(texts: list[str], limit: int | None, wanted: int) -> tuple[list[str], Counter]:
    """The texts that are chosen if the spool knows ``limit``, and the counts of those left out, by reason."""
    taken = Spool(limit, fault)
    for text in texts:
        taken.add(text)
    documents = taken.close()
    rows, dropped = documents.chosen(wanted, lambda row: fault(documents.texts[row]))
    return [documents.texts[row] for row in rows], taken.dropped(documents, rows, dropped)


@settings(deadline=None, max_examples=60)
@given(
    numbers=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(["word {}", "Word {}!", "secret {}"])), max_size=120
    ),
    wanted=st.integers(1, 12),
)
def test_the_same_documents_are_chosen_as_if_all_were_on_disk(numbers: list, wanted: int) -> None:
    texts = [form.format(number) for number, form in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "ROOM", 4)
        bounded = kept(texts, wanted, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "ROOM", 1000)
        assert bounded == kept(texts, wanted, wanted)  # and the same counts of texts left out
    assert bounded[0] == kept(texts, None, wanted)[0]


def test_they_are_the_lowest_by_hash_without_repetitions_and_faults() -> None:
    texts = [f"word {number}" for number in range(50)] + ["secret 1", "WORD 7", "word 7", "word 7"]
    chosen, dropped = kept(texts, None, 1000)
    assert {normalise(text) for text in chosen} == {f"word {number}" for number in range(50)}
    assert chosen == in_hash_order(chosen, str) and dropped == {"banned": 1, "duplicate": 3}
    assert kept(texts, None, 10)[0] == chosen[:10]


def test_a_long_stream_never_fills_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "ROOM", 100)
    taken, sizes, files = Spool(50, fault), [], []
    for number in random.Random(0).sample(range(20_000), 20_000):
        taken.add(f"word {number}")
        sizes.append(len(taken._places) // spool.DIGEST)
        files.append(taken._files)
    assert max(sizes) < 100 and files[-1] < 30
    rows, _ = taken.close().chosen(50, lambda row: None)
    assert len(rows) == 50
