"""Rates by hand, and the journal that survives a kill."""

from pathlib import Path

import pyarrow.parquet

from adapt.text_attacks.measure import words_allowed
from adapt.text_attacks.records import Journal, Record, rows, write_parquet


def record(
    example: int,
    status: str,
    *,
    queries: int = 10,
    words: int = 10,
    changed: int = 0,
    asked: bool = True,
    tried: int = 5,
) -> Record:
    score = 0.9 if asked else None
    return Record(
        recipe="bae", example=example, label=0, status=status, queries=queries, words=words, changed=changed,
        tried=tried, original_text="one \u2028 two", text="x", original_score=score, score=score, predicted=0,
        error="Traceback" if status == "crashed" else None, seconds=0.5,
    )  # fmt: skip


RECORDS = [
    record(0, "success", queries=10, changed=1),
    record(1, "success", queries=20, words=20, changed=6),
    record(2, "failed", queries=60, changed=3, tried=0),  # nothing to try: it counts as robust
    record(3, "skipped", queries=1),
    record(4, "skipped", queries=1),
    record(5, "crashed", asked=False, queries=1),
    record(6, "crashed", queries=5),
    record(7, "success", queries=30, changed=2),
]


def test_rates_by_hand() -> None:
    measured = {(row["metric"], row["attack_epsilon"]): (row["value"], row["n"]) for row in rows("bae", RECORDS, 0.3)}
    assert measured == {
        ("accuracy", 0.0): (5 / 8, 8),  # 0, 1, 2, 6, 7 were right; 5 never answered
        ("accuracy", 0.3): (1 / 8, 8),  # only example 2: neither skipped nor crashed ones are robust
        ("attack_success_rate", 0.3): (3 / 4, 4),
        ("attacked", 0.3): (4.0, 8),
        ("untried", 0.3): (1.0, 4),
        ("skipped", 0.3): (2.0, 8),
        ("crashed", 0.3): (2.0, 8),
        ("mean_queries", 0.3): (30.0, 4),  # (10 + 20 + 60 + 30) / 4
        ("mean_words_changed", 0.3): ((0.1 + 0.3 + 0.2) / 3, 3),
        ("attack_seconds", 0.3): (4.0, 8),
    }
    assert {(row["split"], row["attack"]) for row in rows("bae", RECORDS, 0.3)} == {("test", "text:bae")}


def test_a_rate_of_nothing_is_no_row() -> None:
    crashed = {row["metric"]: row["value"] for row in rows("bae", [RECORDS[5]], 0.3) if row["attack_epsilon"]}
    assert crashed == {"accuracy": 0.0, "attacked": 0.0, "skipped": 0.0, "crashed": 1.0, "attack_seconds": 0.5}
    failed = {row["metric"] for row in rows("bae", [RECORDS[2]], 0.3)}
    assert "attack_success_rate" in failed and "mean_words_changed" not in failed


def test_the_share_of_words_rounds_down_but_leaves_one() -> None:
    assert [words_allowed(words, 0.3) for words in (1, 3, 4, 9, 10, 11, 100)] == [1, 1, 1, 2, 3, 3, 30]
    assert words_allowed(100, 0.29) == 29
    assert words_allowed(7, 1.0) == 7


def test_a_journal_gives_back_what_it_was_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "checkpoint" / "text-bae.jsonl")
    assert journal.read() == {}
    for one in RECORDS:
        journal.append(one)
    assert journal.read() == {one.example: one for one in RECORDS}


def test_a_torn_line_is_forgotten_and_the_next_starts_afresh(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "text-bae.jsonl")
    journal.append(RECORDS[0])
    journal.append(RECORDS[1])
    whole = journal.file.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first, first + 1, len(whole) - 1):
        journal.file.write_bytes(whole[:cut])
        assert list(journal.read()) == [0]
        journal.append(RECORDS[1])
        assert journal.file.read_bytes() == whole


def test_parquet_holds_every_field_but_the_time(tmp_path: Path) -> None:
    write_parquet(RECORDS, tmp_path / "one.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "one.parquet")
    assert table.num_rows == len(RECORDS)
    assert "seconds" not in table.column_names and {"status", "error", "original_text"} <= set(table.column_names)
    assert table.column("original_score").to_pylist()[5] is None
    write_parquet([], tmp_path / "none.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").schema == table.schema
