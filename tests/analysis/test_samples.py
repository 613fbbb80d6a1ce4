"""Samples: those of one language model are kept once, frozen exactly, and stand side by side in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from adapt import results
from adapt.table import samples as kept_samples
from analysis import report
from analysis.report import drawings, html
from analysis.report.samples import named
from analysis.report.samples import samples as section
from analysis.study import samples
from analysis.study.record import Merge

PROMPTS = ["The cat", "A <b>bold</b> dog"]


def lines(said: str) -> str:
    """Two prompts, the truth and two ways to go on; ``said`` tells language models apart."""
    rows = [
        {"prompt_hash": str(number), "prompt": prompt, "decoding": decoding, "answer": f" {said} {decoding} é {number}",
         "ended": decoding == "greedy", "tokens": 3, "repetition": None if number else 0.25}
        for decoding in ("truth", "greedy", "sampled")
        for number, prompt in enumerate(PROMPTS)
    ]  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs of one language model, one of another, one that was not asked."""
    for run_id, said in {"a1": "base", "a2": "base", "b1": "adapted"}.items():
        kept_samples.write(tmp_path, run_id, lines(said))
    return tmp_path


@pytest.fixture
def rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the runs a1 and a2 (not adapted) and b1 (DAPT), with a loss and repetition of their language models."""
    base = table[(table["pretrain"] == "none") & (table["adversary"] == "none") & (table["model"] == "tiny")]
    base = base[base["finetune.method"] == "full"]
    adapted = table[(table["pretrain"] == "dapt") & (table["adversary"] == "none")]
    runs = [base[base["seed"] == 0].assign(run_id="a1"), base[base["seed"] == 1].assign(run_id="a2")]
    runs.append(adapted[adapted["seed"] == 0].assign(run_id="b1"))
    result = []
    for run, loss in zip(runs, (3.0, 3.0, 2.0), strict=True):
        one = run.iloc[:1].assign(attack="none", attack_epsilon=0.0, attack_steps=0)
        result += [run, one.assign(split="domains/corpus", metric="clm_loss", value=loss)]
        result += [one.assign(split=f"samples/corpus/{way}", metric="seq_rep_4", value=loss / 10)
                  for way in ("truth", "greedy", "sampled")]  # fmt: skip
    return pd.concat(result, ignore_index=True)


def test_runs_of_one_language_model_share_its_name(root: Path) -> None:
    rows = samples.of_root(root, ["a1", "a2", "b1", "none"])
    assert len(rows) == 18 and rows.groupby("run_id")["model"].nunique().eq(1).all()
    assert rows.groupby("model")["run_id"].nunique().tolist() in ([1, 2], [2, 1])
    assert samples.of_root(root, ["none"]).empty and samples.load(root).empty


def test_frozen_samples_are_those_of_the_root_and_are_kept(root: Path, tmp_path: Path) -> None:
    def recorded(*run_ids: str, **outcome: list[str]) -> Merge:
        return Merge(pd.DataFrame({"run_id": run_ids}), **outcome)

    assert samples.freeze("study", root, recorded("a1", "a2", "b1", merged=["a1", "a2", "b1"]), tmp_path / "book") == 3
    file = tmp_path / "book" / "study" / "samples.jsonl"
    once = file.read_bytes()
    assert once.decode().count("é") == 12  # two models of six lines, not three runs of six
    frozen, now = samples.load(file.parent), samples.of_root(root, ["a1", "a2", "b1"])
    pd.testing.assert_frame_equal(frozen, now, check_dtype=False)
    (root / "samples" / "a1.jsonl").unlink()
    assert samples.freeze("study", root, recorded("a1", "a2", "b1", same=["a2", "b1"]), tmp_path / "book") == 3
    assert file.read_bytes() == once
    kept_samples.write(root, "b1", lines("other"))
    samples.freeze("study", root, recorded("a1", "b1", differ=["b1"]), tmp_path / "book")
    assert "other" not in file.read_text("utf-8") and "a2" not in file.read_text("utf-8")
    samples.freeze("study", root, recorded("a1", "b1", differ=["b1"]), tmp_path / "book", replace=True)
    assert "other greedy" in file.read_text("utf-8") and "adapted" not in file.read_text("utf-8")


def test_a_line_separator_within_a_text_ends_no_line(tmp_path: Path) -> None:
    """str.splitlines cuts at these too, and JSON that is not ASCII alone writes them as they are."""
    said = "a\u2028b\u2029c\u0085d"
    kept_samples.write(tmp_path, "a1", "".join(
        json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in lines(said).splitlines()
    ))  # fmt: skip
    assert results.samples(tmp_path, "a1")["answer"].str.contains(said).all()
    merged = Merge(pd.DataFrame({"run_id": ["a1"]}), merged=["a1"])
    assert samples.freeze("study", tmp_path, merged, tmp_path / "book") == 1
    frozen = samples.load(tmp_path / "book" / "study")
    assert len(frozen) == 6 and frozen["answer"].str.contains(said).all()


def test_the_report_sets_them_side_by_side(rows: pd.DataFrame, root: Path, monkeypatch) -> None:
    written = samples.of_root(root, ["a1", "a2", "b1"])
    assert list(named(rows, written).values()) == ["not adapted", "DAPT"]
    told = section(rows, written)
    assert told.count("base greedy é 0") == told.count("adapted sampled é 1…") == 1
    assert "&lt;b&gt;bold&lt;/b&gt;" in told and "<b>" not in told
    assert "20.1" in told and "7.4" in told  # exp(3), exp(2)
    assert "0.300" in told and "0.200" in told
    monkeypatch.setattr(drawings, "drawn", lambda table: html.Html("<p>figures</p>"))
    page = report.page(rows, "study", written)
    assert 'id="samples-title"' in page and "base greedy é 0" in page
    assert 'id="samples-title"' not in report.page(rows, "study", samples.load(root))
    assert results.samples(root, "a1")["repetition"].isna().sum() == 3


def test_a_true_continuation_goes_on_unless_its_text_ended(rows: pd.DataFrame, root: Path) -> None:
    written = samples.of_root(root, ["a1"])
    assert "base truth é 0…" in section(rows, written)
    written.loc[(written["decoding"] == "truth") & (written["prompt_hash"] == "0"), "tokens"] = 2
    told = section(rows, written)
    assert "base truth é 0<" in told and "base truth é 1…" in told


def test_a_study_half_done_has_one_language_model(rows: pd.DataFrame, root: Path) -> None:
    """Nothing varies, so that its architecture names it."""
    done = rows[rows["run_id"] == "a1"]
    written = samples.of_root(root, ["a1", "a2"])
    assert list(named(done, written[written["run_id"] == "a1"]).values()) == ["tiny"]
    assert "base greedy é 0" in section(done, written)


def test_language_models_of_two_architectures_are_named_by_these(rows: pd.DataFrame, root: Path) -> None:
    two = rows[rows["run_id"] != "b1"]
    two = pd.concat([two, two[two["run_id"] == "a1"].assign(run_id="b1", model="other")])
    written = samples.of_root(root, ["a1", "b1"])
    assert list(named(two, written).values()) == ["other", "tiny"]
    assert "adapted greedy é 0" in section(two, written)
