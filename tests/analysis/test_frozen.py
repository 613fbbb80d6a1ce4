"""A table is the same after it was two CSV files, and git sees what was added."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_results import CONFIG, FACTORS, measured, write

from adapt import results
from analysis.study import frozen

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip)
names = names.filter(lambda text: text and not text[0].isdigit())
values = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(values, names, st.integers(0, 9) | st.none()), min_size=1, max_size=4))
def test_every_bit_is_kept(tmp_path_factory, runs):
    root = tmp_path_factory.mktemp("root")
    for i, (value, model, patience) in enumerate(runs):
        config = CONFIG | {"finetune": {"patience": patience}}
        write(root, f"r{i}", [measured(value=value)], factors=FACTORS | {"model": model, "seed": i}, config=config)
    table = results.load(root)
    frozen.save(table, root / "results.csv")
    assert results.same_rows(frozen.load(root / "results.csv"), table)


def test_a_new_run_adds_lines_and_changes_none(tmp_path):
    for seed in (1, 5):
        write(tmp_path, run_id=f"r{seed}", factors=FACTORS | {"seed": seed})
    files = [tmp_path / "results.csv", tmp_path / "runs.csv"]
    frozen.save(results.load(tmp_path), files[0])
    before = [file.read_text().splitlines() for file in files]
    write(tmp_path, run_id="r3", factors=FACTORS | {"seed": 3})
    frozen.save(results.load(tmp_path), files[0])
    for old, file in zip(before, files, strict=True):
        new = file.read_text().splitlines()
        assert [line for line in new if line in old] == old and len(new) == len(old) + 1


def test_what_holds_for_a_run_stands_once(tmp_path):
    write(tmp_path, measurements=[measured(), measured("accuracy", 0.25)])
    config = CONFIG | {"task": {"metric": "macro_f1", "path": "data"}}
    write(tmp_path, run_id="b2", factors=FACTORS | {"task": "another"}, config=config)
    frozen.save(results.load(tmp_path), tmp_path / "results.csv")
    headers = [(tmp_path / name).read_text().splitlines()[0].split(",") for name in ("results.csv", "runs.csv")]
    config = ["pretrain.dapt.b", "pretrain.dapt.lr", "task.metric", "task.path"]
    assert headers[0] == [name for name in results.COLUMNS if name not in results.PROVENANCE]
    assert headers[1] == ["run_id", *results.PROVENANCE, *config]
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    assert results.same_rows(frozen.load(tmp_path / "results.csv"), results.load(tmp_path))


def test_runs_of_the_same_names_differ_in_a_column(tmp_path):
    for number, (method, seed) in enumerate([("full", 0), ("full", 1), ("linear_probe", 0), ("linear_probe", 1)]):
        config = CONFIG | {"finetune": {"method": method, "epochs": 3, "seed": seed}}
        write(tmp_path, f"r{number}", [measured(value=number / 4)], factors=FACTORS | {"seed": seed}, config=config)
    frozen.save(results.load(tmp_path), tmp_path / "results.csv")
    alone = pd.read_csv(tmp_path / "results.csv")
    assert set(alone.columns) - set(results.COLUMNS) == {"finetune.method"}
    assert alone.groupby("finetune.method")["value"].mean().to_dict() == {"full": 0.125, "linear_probe": 0.625}
    assert results.same_rows(frozen.load(tmp_path / "results.csv"), results.load(tmp_path))


def test_a_csv_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="x.csv lacks the columns split, attack"):
        frozen.load(tmp_path / "x.csv")


def test_rows_without_their_runs_are_refused(tmp_path):
    write(tmp_path)
    write(tmp_path, run_id="b2", factors=FACTORS | {"seed": 4})
    frozen.save(results.load(tmp_path), tmp_path / "results.csv")
    lines = (tmp_path / "runs.csv").read_text().splitlines(keepends=True)
    (tmp_path / "runs.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"runs\.csv lacks 1 runs of .*results\.csv, such as b2"):
        frozen.load(tmp_path / "results.csv")


def test_a_setting_that_is_a_word_in_one_run_and_a_number_in_another_reads_the_same(tmp_path):
    for run_id, noise in (("a1", 1.0), ("b1", "uniform"), ("c1", 0.5), ("d1", 1)):
        write(tmp_path, run_id, config={"adversary": {"noise": noise}})
    table = results.load(tmp_path, "quickstart")
    frozen.save(table, tmp_path / "t.csv")
    for read in (table, frozen.load(tmp_path / "t.csv")):
        noise = read.drop_duplicates("run_id").set_index("run_id")["adversary.noise"]
        assert noise.to_dict() == {"a1": "1", "b1": "uniform", "c1": "0.5", "d1": "1"}
