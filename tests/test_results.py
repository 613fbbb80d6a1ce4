"""The schema, round trips, and what a reader may rely on while others write."""

from __future__ import annotations

import json
import math
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from adapt import results

FACTORS = dict(model="tiny", corpus="scientific", task="pydoc_topic", pretrain="dapt+tapt", peft=None, adversary="fgm")
FACTORS |= dict(budget="quick", seed=3, adversary_epsilon=0.5, adversary_steps=1, adaptation="k", adaptation_seed="0+0")
PROVENANCE = dict(commit="1234567", dirty=False, created_at="2025-01-01T00:00:00", versions="torch 2.13")
PROVENANCE |= dict(device="cpu", threads=2, processes=1)
CONFIG = {"task": {"metric": "macro_f1", "path": None}, "seed": 3, "pretrain": {"dapt": {"lr": 5e-4, "b": [0.9, 0.98]}}}


def measured(metric="macro_f1", value=0.5, **changes):
    row = dict(split="test", attack="none", attack_epsilon=0.0, attack_steps=0, metric=metric, value=value, n=40)
    return row | changes


def write(root, run_id="a1", measurements=None, experiment="quickstart", **changes):
    given = dict(factors=FACTORS, config=CONFIG, provenance=PROVENANCE) | changes
    rows = measurements or [measured()]
    return results.write(root, run_id, evaluation="e1", measurements=rows, experiment=experiment, **given)


def test_a_run_comes_back_as_rows(tmp_path):
    attacked = measured("accuracy", 1 / 3, attack="pgd", attack_epsilon=0.1, attack_steps=10)
    write(tmp_path, measurements=[measured(), attacked])
    table = results.load(tmp_path, "quickstart")
    config = ["pretrain.dapt.b", "pretrain.dapt.lr", "task.metric", "task.path"]
    assert list(table.columns) == [*results.COLUMNS, *config]
    assert table["value"].tolist() == [0.5, 1 / 3]
    assert table["attack_epsilon"].tolist() == [0.0, 0.1]
    first = table.iloc[0]
    assert (first["source"], first["peft"], first["experiment"]) == ("ours", "none", "quickstart")
    assert (first["adversary_epsilon"], first["adversary_steps"], first["seed"]) == ("0.5", "1", 3)
    assert (first["pretrain.dapt.lr"], first["pretrain.dapt.b"]) == (5e-4, "[0.9, 0.98]")
    assert pd.isna(first["task.path"])


def test_no_runs_is_an_empty_table_of_the_schema(tmp_path):
    for table in (results.load(tmp_path), results.load(tmp_path, "none such")):
        assert table.empty and list(table.columns) == list(results.COLUMNS)
    assert results.failed(tmp_path).empty and results.studies(tmp_path) == []


def test_two_studies_share_a_run_under_their_own_labels(tmp_path):
    write(tmp_path, experiment="one")
    write(tmp_path, experiment="two", factors=FACTORS | {"budget": "full"})
    write(tmp_path, run_id="b2", experiment=None)
    assert results.load(tmp_path, "one")["budget"].tolist() == ["quick"]
    assert results.load(tmp_path, "two")["budget"].tolist() == ["full"]
    assert results.load(tmp_path)["experiment"].tolist() == ["one,two", "none"]
    assert results.studies(tmp_path) == ["one", "two"]


def test_writing_again_changes_no_byte(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    assert write(tmp_path) == path and path.read_bytes() == before
    assert len(results.load(tmp_path)) == 1


def test_a_sweep_does_not_unsay_that_a_search_tried_a_run(tmp_path):
    write(tmp_path)
    results.mark(tmp_path, "quickstart", ["a1"], "3 trials")
    write(tmp_path)
    write(tmp_path, experiment="other")
    assert results.load(tmp_path, "quickstart")[results.TUNING].tolist() == ["3 trials"]
    assert results.TUNING not in results.load(tmp_path, "other").columns
    (tmp_path / "studies" / "quickstart" / "a1.json").write_text('{"run_id')  # torn: written whole again
    write(tmp_path)
    assert results.TUNING not in results.load(tmp_path, "quickstart").columns


def test_a_missing_number_is_a_missing_row(tmp_path):
    absent = [measured("peak_memory_bytes", None), measured("accuracy", math.nan)]
    write(tmp_path, measurements=[measured(), *absent])
    assert results.load(tmp_path)["metric"].tolist() == ["macro_f1"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"measurements": [measured(value=math.inf)]}, "infinite"),
        ({"measurements": [measured(), measured(value=0.6)]}, "two measurements of one run"),
        ({"measurements": [measured(score=1)]}, r"unknown=\['score'\]"),
        ({"measurements": [{"metric": "accuracy", "value": 1.0}]}, "missing=.*attack_epsilon"),
        ({"factors": FACTORS | {"optimizer": "adam"}}, r"factors .* unknown=\['optimizer'\]"),
        ({"factors": {k: v for k, v in FACTORS.items() if k != "task"}}, r"missing=\['task'\]"),
        ({"provenance": {}}, "provenance .* missing=.*commit"),
    ],
)
def test_rows_outside_the_schema_are_refused_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, **changes)
    assert list(tmp_path.rglob("*.*")) == []


def test_what_a_killed_writer_leaves_is_no_run(tmp_path):
    write(tmp_path)
    (tmp_path / "runs" / ".b2.json.tmp").write_text('{"run_id": "b2", "meas')
    assert results.load(tmp_path)["run_id"].tolist() == ["a1"]


def test_a_broken_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "runs" / "b2.json").write_text("{}")
    with pytest.raises(ValueError, match=r"b2.json is not the file of a run"):
        results.load(tmp_path)


def _write_many(root: Path, worker: int) -> None:
    for i in range(20):
        write(root, run_id=f"shared{i}")
        write(root, run_id=f"worker{worker}-{i}")


def test_parallel_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(tmp_path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        results.load(tmp_path)  # never sees half a file
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(results.load(tmp_path, "quickstart")) == 20 + 3 * 20
    assert not list(tmp_path.rglob("*.tmp"))


def test_same_rows_ignores_time_memory_and_date_only(tmp_path):
    costs = dict(train_seconds=3.0, peak_memory_bytes=1e6, tokens_per_second=9.0, forward_passes=7)

    def table(**changes):
        root = tmp_path / json.dumps(changes, sort_keys=True).replace("/", "")
        values = {"macro_f1": 0.5} | costs | {k: v for k, v in changes.items() if k not in PROVENANCE}
        provenance = PROVENANCE | {k: v for k, v in changes.items() if k in PROVENANCE}
        write(root, measurements=[measured(k, v) for k, v in values.items()], provenance=provenance)
        return results.load(root)

    same = table()
    assert results.same_rows(same, table(train_seconds=9.0, peak_memory_bytes=2e6, tokens_per_second=1.0))
    assert results.same_rows(same, table(created_at="2030-01-01T00:00:00"))
    assert results.same_rows(same, same.iloc[::-1])
    assert not results.same_rows(same, table(macro_f1=0.5 + 1e-16 * 2))
    assert not results.same_rows(same, table(forward_passes=8))
    assert not results.same_rows(same, table(commit="7654321"))
    assert not results.same_rows(same, table(accuracy=0.5))


def test_importing_it_brings_no_torch():
    code = "import sys, adapt.results; assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
