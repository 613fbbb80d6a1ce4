"""The table of a paper: what is bold by hand, and the same numbers in each format."""

from __future__ import annotations

import csv
import io
import math
import re

import pandas as pd
import pytest
from frames import runs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis import tables
from analysis.cells import NotInTable
from analysis.pages import paper_formats, paper_tables
from analysis.pages.paper_formats import Column, Entry, PaperTable, Row

MARKUP = re.compile(r"\\textbf\{([^}]*)\}|\*\*|†|\$\^\{\\dagger\}\$|\$")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]?inf")

GAINS = {"none": [0.0] * 6, "dapt": [0.02] * 6, "tapt": [0.03, 0.02, 0.025, 0.03, 0.035, -0.01]}


def study(gains: dict[str, list[float]], seeds: int = 6) -> pd.DataFrame:
    return runs(*[(chain, "none", seed, 0.40 + 0.01 * seed + gain[seed]) for chain, gain in gains.items()
                  for seed in range(seeds)])  # fmt: skip


def by_chain(table: PaperTable) -> dict[str, tuple[Entry, ...]]:
    return {row.words[0]: row.entries for row in table.rows}


def test_a_small_study_by_hand():
    shown = by_chain(paper_tables.paper_table(study(GAINS)))
    seeds, score, difference, p = shown["DAPT"]
    # scores .42 to .47: mean .445, sd .018708, half of the interval 2.5706 x .018708 / sqrt 6 = .019633
    assert (seeds.value, score.value) == (6, pytest.approx(0.445))
    assert score.further == pytest.approx((0.445 - 0.019633, 0.445 + 0.019633), abs=1e-5)
    assert difference.value == pytest.approx(0.02) and difference.further == pytest.approx((0.02, 0.02))
    # all six differences have one sign: p = 2/64; TAPT: sum .13, only flipping the -.01 gives as much: p = 4/64
    assert (p.value, *p.further) == pytest.approx((2 / 64, 2 * 2 / 64))
    assert (shown["TAPT"][3].value, *shown["TAPT"][3].further) == pytest.approx((4 / 64, 4 / 64))
    assert shown["TAPT"][1].value > score.value and not shown["TAPT"][1].bold  # the best, but not shown
    assert not score.bold and shown["not adapted"][2:] == (Entry(), Entry())


def test_bold_is_the_best_where_the_test_supports_it_and_a_dagger_holds_after_holm():
    better = GAINS | {"tapt": [0.03] * 6}
    one = by_chain(paper_tables.paper_table(study(better)))
    assert [entries[1].bold for entries in one.values()] == [False, False, True]
    assert not one["TAPT"][1].dagger  # 2 x 2/64 is above .05
    alone = by_chain(paper_tables.paper_table(study({"none": [0.0] * 6, "tapt": [0.03] * 6})))
    assert alone["TAPT"][1].bold and alone["TAPT"][1].dagger
    worse = by_chain(paper_tables.paper_table(study({"none": [0.0] * 6, "tapt": [-0.03] * 6})))
    assert not any(entries[1].bold for entries in worse.values())  # supported, and not the best
    reference = runs(("none", "none", 0, 0.9, {"model": "tfidf"}))
    beaten = paper_tables.paper_table(pd.concat([study(better), reference], ignore_index=True))
    assert not any(row.entries[1].bold for row in beaten.rows)  # a baseline model is better than all
    few = paper_tables.paper_table(study(better, seeds=5))
    assert not any(row.entries[1].bold for row in few.rows) and "No score is bold" in "\n".join(few.notes)


def test_golden():
    table = study({"none": [0.0] * 6, "tapt": [0.03] * 6}).assign(task="my_task&more")
    texts = paper_formats.formats(paper_tables.paper_table(table), label="my_study")
    assert texts["table.csv"].splitlines() == [
        "pretrain,seeds,score,score_low,score_high,score_mark,difference,difference_low,difference_high,p,p_holm",
        "not adapted,6,0.425,0.405,0.445,,,,,,",
        'TAPT,6,0.455,0.435,0.475,"best, supported after Holm",+0.030,+0.030,+0.030,0.031,0.031',
    ]
    lines = texts["table.md"].splitlines()
    assert lines[2] == "| pretrain | seeds | macro-F1: score | macro-F1: difference | macro-F1: p (Holm) |"
    assert lines[5] == "| TAPT | 6 | **0.455**† [0.435, 0.475] | +0.030 [+0.030, +0.030] | 0.031 (0.031) |"
    latex = texts["table.tex"]
    assert r"\caption{my task\&more, tiny: macro-F1 on test, mean over seeds.}" in latex
    assert r"\label{tab:my-study}" in latex
    assert (
        r"TAPT & 6 & \textbf{0.455}$^{\dagger}$ [0.435, 0.475] & $+0.030$ [$+0.030$, $+0.030$] & 0.031 (0.031) \\"
        in latex.splitlines()
    )
    notes = "\n".join(texts["table.md"].splitlines()[7:])
    assert "10 test examples" in notes and "given this adaptation" not in notes and "Holm over 1 comparison)" in notes
    assert "Bold: the best score of its task" in notes and "†: after Holm's correction too" in notes


def test_nothing_is_bold_and_has_a_p_where_one_adaptation_serves_all_seeds():
    table = study({"none": [0.0] * 6, "tapt": [0.03] * 6})
    shared = table.assign(adaptation_seed=table["adaptation_seed"].where(table["adaptation"] == "none", "0"))
    texts = paper_formats.formats(paper_tables.paper_table(shared), label="one")
    assert texts["table.csv"].splitlines()[2] == "TAPT,6,0.455,0.435,0.475,,+0.030,+0.030,+0.030,,"
    assert r"TAPT & 6 & 0.455 [0.435, 0.475] & $+0.030$ [$+0.030$, $+0.030$] &" in texts["table.tex"]
    assert "| TAPT | 6 | 0.455 [0.435, 0.475] | +0.030 [+0.030, +0.030] |" in texts["table.md"]
    for kind in ("table.md", "table.tex"):
        assert "too few for a test of the method" in texts[kind] and "given this adaptation" in texts[kind]


def test_scores_and_radii_are_those_of_the_summary(table):
    summary = tables.summary(table)
    shown = paper_tables.paper_table(table, epsilons=[0.05, 0.4], spread="sd")
    assert [row.entries[1].value for row in shown.rows] == summary["clean"].tolist()
    assert [row.entries[4].value for row in shown.rows] == pytest.approx(summary["robust@0.05"].tolist(), nan_ok=True)
    spreads = [row.entries[1].further for row in shown.rows]
    sds = [s[0] if s else float("nan") for s in spreads]
    assert sds == pytest.approx(summary["clean_sd"].tolist(), nan_ok=True) and sum(map(bool, spreads)) == 13
    assert [column.name for column in shown.columns][4:] == [
        *("score@0.05", "difference@0.05", "p@0.05", "score@0.4", "difference@0.4", "p@0.4"),
    ]
    reference = [column.name for column in paper_tables.paper_table(table).columns]
    assert reference[4:] == ["score@0.1", "difference@0.1", "p@0.1"]


def test_published_scores_follow_under_their_source():
    table = study({"none": [0.0] * 6, "dapt": [0.03] * 6}).assign(task="jsonl:acl_arc")
    shown = paper_tables.paper_table(table)
    assert shown.words == ("source", "model", "pretrain") and shown.rule_before == 2
    theirs = {row.words: row.entries for row in shown.rows[2:]}
    seeds, score, difference, p = theirs["gururangan2020", "roberta-base", "DAPT"][:4]
    # Gururangan et al. 2020, table 5: ACL-ARC, 75.4 (2.5) after DAPT, 63.0 (5.8) before; t of 4 degrees 2.7764
    assert (seeds.value, score.value, difference.value) == (5, 0.754, pytest.approx(0.124))
    assert score.further == pytest.approx((0.754 - 0.031041, 0.754 + 0.031041), abs=1e-5)
    assert not score.bold and pd.isna(p.value)
    assert "under their citation keys" in "\n".join(shown.notes)
    latex = paper_formats.latex(shown, "t").splitlines()
    assert latex.count(r"\midrule") == 2


def test_what_is_not_possible_is_said(table):
    with pytest.raises(ValueError, match="spread='se': possible are interval, sd"):
        paper_tables.paper_table(table, spread="se")
    with pytest.raises(NotInTable, match="no rows"):
        paper_tables.paper_table(table.iloc[:0])
    with pytest.raises(NotInTable, match="epsilon 0.3"):
        paper_tables.paper_table(table, epsilons=[0.3])


finite = st.floats(-1e3, 1e3) | st.just(float("nan"))
words = st.text(st.sampled_from(list("abz &%$#_{}~^\\<>|\"*'`")), max_size=8)


@st.composite
def paper(draw) -> PaperTable:
    number = st.sampled_from([".3f", "+.3f", ".2g"])
    width = draw(st.integers(1, 4))
    behind = draw(st.sampled_from([(), ("sd",), ("low", "high")]))
    columns = [Column(draw(words), draw(words), f"score{i}", draw(number), behind) for i in range(width)]
    entry = st.builds(Entry, finite, st.tuples(*[st.floats(-9, 9)] * len(behind)), st.booleans(), st.booleans())
    row = st.builds(Row, st.tuples(words, words), st.tuples(*[entry] * width))
    rows = draw(st.lists(row, min_size=1, max_size=4))
    return PaperTable(draw(words), ("a", "b"), tuple(columns), rows, draw(st.lists(words, max_size=2)))


def split_at(separator: str, line: str) -> list[str]:
    """The cells of a line, at separators that no backslash escapes."""
    return re.split(rf"(?<!\\){separator}", line)


NAN = Entry(math.nan, (), False, True)
TWO_OF_ONE_HEADING = PaperTable(
    *("", ("a", "b"), (Column("", "", "score0"), Column("", "", "score1"))),
    *([Row(("", ""), (Entry(116.475, (), False, True), NAN))], []),
)


@settings(max_examples=80, deadline=None)
@example(TWO_OF_ONE_HEADING)
@given(paper())
def test_every_format_holds_the_same_numbers(table):
    texts = paper_formats.formats(table, label="t")
    width = 2 + len(table.columns)
    body = texts["table.tex"].split("\\toprule\n")[1].split("\\bottomrule")[0]
    latex = [split_at("&", line[:-3]) for line in body.splitlines() if line.endswith(r" \\")]
    assert {len(line) for line in latex[1:]} == {width}  # as many cells in each row: it compiles
    pipes = [split_at(r"\|", line)[1:-1] for line in texts["table.md"].splitlines() if line.startswith("| ")]
    assert {len(line) for line in pipes} == {width}
    plain = list(csv.reader(io.StringIO(texts["table.csv"])))
    assert len({len(line) for line in plain}) == 1
    for line, pipe, row, shown in zip(latex[2:], pipes[2:], plain[1:], table.rows, strict=True):
        expected = [
            n for column, entry in zip(table.columns, shown.entries, strict=True)
            for n in paper_formats.numbers_of(column, entry)
        ]  # fmt: skip
        for cells in (line[2:], pipe[2:]):
            text = " ".join(MARKUP.sub(r"\1", cell) for cell in cells)
            assert NUMBER.findall(text) == expected
        assert [cell for cell in row[2:] if NUMBER.fullmatch(cell)] == expected
        marks = [cell for cell in row[2:] if "best" in cell]
        assert len(marks) == sum(entry.bold or entry.dagger for entry in shown.entries)


@given(words)
def test_no_letter_of_latex_s_own_is_left(text):
    escaped = re.sub(r"\\(?:[&%$#_{}]|text[a-z]+\{\})", "", paper_formats.escaped(text))
    assert not re.search(r'[&%$#_{}~^\\<>|"]', escaped)


def test_make_table_writes_them_and_the_same_bytes_each_time(tmp_path, table, write_study, capsys):
    small = table[(table["seed"] < 2) & table["pretrain"].isin(["none", "dapt"]) & (table["adversary"] == "none")]
    write_study(tmp_path, small[small["finetune.method"] == "full"])
    names = ("table.tex", "table.md", "table.csv")
    result = []
    for root in (tmp_path, tmp_path / "gone"):
        assert tables.main(["synthetic", "--root", str(root), "--experiments", str(tmp_path / "lab")]) == 0
        result.append([(tmp_path / "lab" / "synthetic" / name).read_bytes() for name in names])
    assert result[0] == result[1]
