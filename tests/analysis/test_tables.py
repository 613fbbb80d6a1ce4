"""The summary, the record of clean runs, and the published rows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from adapt.runs import journal
from analysis import cells, tables
from analysis.pages import paper_tables
from analysis.study import frozen, record

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def small(table):
    """Three seeds of two methods: six runs."""
    table = table[~cells.is_baseline_model(table)]
    return table[(table["seed"] < 3) & table["pretrain"].isin(["none", "dapt"]) & (table["adversary"] == "none")]


def merged(root, experiments, **options):
    return record.merge("synthetic", root, experiments, **options)


def test_summary_by_hand(table):
    cell = (table["pretrain"] == "dapt") & (table["adversary"] == "fgm")
    clean = table[cell & (table["split"] == "test") & (table["metric"] == "macro_f1")]["value"]
    robust = table[cell & (table["attack"] == "pgd") & (table["attack_epsilon"] == 0.2)]["value"]
    seconds = table[cell & (table["metric"] == "train_seconds") & (table["split"] == "train")]["value"]
    rows = tables.summary(table).set_index(["pretrain", "adversary"]).loc[("dapt", "fgm")]
    assert len(tables.summary(table)) == 12 + 2
    assert (rows["seeds"], rows["adaptations"], rows["metric"], len(clean)) == (6, 1, "macro_f1", 6)
    assert rows["clean"] == pytest.approx(clean.sum() / 6)
    assert rows["clean_sd"] == pytest.approx((((clean - clean.sum() / 6) ** 2).sum() / 5) ** 0.5)
    assert rows["robust@0.2"] == pytest.approx(robust.mean())
    assert rows["train_seconds"] == pytest.approx(seconds.mean()) and rows["forward_passes"] == 600
    both = tables.summary(table).set_index(["pretrain", "adversary"]).loc[("dapt+tapt", "fgm")]
    assert (rows["pretrain_train_seconds"], both["pretrain_train_seconds"]) == (100, 200)


def test_text_says_what_a_reader_needs(table):
    text = tables.format_summary(table)
    assert "DAPT+TAPT" in text and "linear probe" in text and "TF-IDF" in text
    assert "Difference to 'not adapted, plain', macro-F1, clean" in text
    assert "accuracy, under attack, epsilon 0.1" in text and "given this adaptation" in text
    assert "nan" not in text and "Note" not in text


def with_another_task(table):
    """The same runs on ChemProt, in micro-F1."""
    own = table[~cells.is_baseline_model(table) & (table["attack"] == "none")]
    metric = own["metric"].replace("macro_f1", "micro_f1")
    other = own.assign(task="jsonl:chemprot", metric=metric, run_id="c" + own["run_id"], **{"task.metric": "micro_f1"})
    return pd.concat([own, other], ignore_index=True)


def test_of_several_tasks_each_has_a_block_in_its_own_metric(table):
    text = tables.format_summary(with_another_task(table))
    heads = [line for line in text.splitlines() if "ifference to" in line]
    ending = "clean; p: exact sign-flip test over seeds; Holm: over the 4 comparisons of 2 such blocks"
    assert heads == [
        f"ChemProt: Difference to 'not adapted, plain', micro-F1, {ending}",
        f"pydoc topic: Difference to 'not adapted, plain', macro-F1, {ending}",
    ]
    lines = [line for line in text.splitlines() if line.startswith("DAPT, FGM ")]
    assert len(lines) == 2 and lines[0] == lines[1]
    assert "Holm: over" not in tables.format_summary(table)
    notes = " ".join(paper_tables.paper_table(with_another_task(table)).notes)
    assert "clean: to 'not adapted, plain', 6 pairs, Holm over 4 comparisons" in notes


def clean_part(table, n: int):
    """The rows of the clean part of test, n examples of it: .02 below test."""
    test = table[(table["split"] == "test") & (table["attack"] == "none")]
    return pd.concat([table, test.assign(split="test_clean", value=test["value"] - 0.02, n=n)], ignore_index=True)


def test_the_clean_part_of_test_is_shown_where_it_is_not_all_of_it(table):
    part = tables.summary(clean_part(table, 321))
    whole = tables.summary(table)
    assert part["unleaked"].to_numpy() == pytest.approx(part["clean"].to_numpy() - 0.02)
    assert part["unleaked_sd"].to_numpy() == pytest.approx(part["clean_sd"].to_numpy(), nan_ok=True)
    assert part[whole.columns].equals(whole)
    text = tables.format_summary(clean_part(table, 321))
    assert "unleaked: on the 321 examples that no training text holds" in text and "  unleaked  " in text
    assert tables.format_summary(clean_part(table, 500)) == tables.format_summary(table)


def test_text_of_one_run_has_no_comparison(table):
    text = tables.format_summary(table[table["run_id"] == "tiny-full-dapt-fgm-2"])
    assert "0.677" in text and "Difference" not in text and "nan" not in text


def test_text_names_the_gaps(table):
    gap = table[~((table["pretrain"] == "dapt") & (table["seed"] == 4))]
    gap = gap.assign(dirty=gap["seed"] == 0, commit=gap["seed"].map(lambda s: "abcdef0" if s else "1234567"))
    notes = "\n".join(tables.caveats(gap))
    assert "14 of 76 runs come from a dirty tree" in notes
    assert "2 commits: 1234567, abcdef0" in notes
    assert "missing DAPT, FGM: seed 4" in notes
    assert notes in tables.format_summary(gap)


def test_an_empty_table_is_refused(table):
    with pytest.raises(cells.NotInTable, match="no rows"):
        tables.summary(table.iloc[:0])


def test_clean_runs_are_merged_and_dirty_ones_refused(tmp_path, small, write_study):
    write_study(tmp_path, small[small["seed"] > 0])
    write_study(tmp_path, small[small["seed"] == 0], dirty=True)
    outcome = merged(tmp_path, tmp_path / "lab")
    rows = frozen.load(tmp_path / "lab" / "synthetic" / "results.csv")
    assert set(rows["seed"]) == {1, 2} and not rows["dirty"].any()
    assert set(outcome.refused) == set(small.loc[small["seed"] == 0, "run_id"])
    assert set(outcome.merged) == set(rows["run_id"])
    assert "finetune.epochs" not in (tmp_path / "lab/synthetic/results.csv").read_text().splitlines()[0]
    assert set(rows["finetune.epochs"]) == {3}


def test_a_study_grows_over_days_and_machines(tmp_path, small, write_study):
    for machine, seed in enumerate((2, 0, 1)):
        write_study(tmp_path / str(machine), small[small["seed"] == seed])
        merged(tmp_path / str(machine), tmp_path / "lab")
    write_study(tmp_path / "all", small)
    merged(tmp_path / "all", tmp_path / "other")
    csv = Path("synthetic/results.csv")
    assert (tmp_path / "lab" / csv).read_bytes() == (tmp_path / "other" / csv).read_bytes()


def test_merging_again_changes_no_byte_whatever_the_time_it_took(tmp_path, small, write_study):
    write_study(tmp_path, small)
    merged(tmp_path, tmp_path)
    before = (tmp_path / "synthetic/results.csv").read_bytes()
    slower = small.assign(value=small["value"].where(small["metric"] != "train_seconds", 99.0))
    write_study(tmp_path, slower, created_at="2031-01-01T00:00:00")
    outcome = merged(tmp_path, tmp_path)
    assert len(outcome.same) == small["run_id"].nunique() and not outcome.merged and not outcome.differ
    assert (tmp_path / "synthetic/results.csv").read_bytes() == before


def test_the_record_is_kept_unless_replaced(tmp_path, small, write_study):
    write_study(tmp_path, small)
    merged(tmp_path, tmp_path)
    other = small.assign(value=small["value"].where(small["seed"] != 1, 0.25))
    write_study(tmp_path, other)
    outcome = merged(tmp_path, tmp_path)
    assert set(outcome.differ) == set(small.loc[small["seed"] == 1, "run_id"])
    assert 0.25 not in outcome.table["value"].tolist()
    assert 0.25 in merged(tmp_path, tmp_path, replace=True).table["value"].tolist()
    assert not merged(tmp_path, tmp_path).differ


def test_a_run_of_newer_code_takes_the_place_of_the_one_with_its_settings(tmp_path, small, write_study, capsys):
    write_study(tmp_path / "old", small)
    merged(tmp_path / "old", tmp_path / "lab")
    newer = small[(small["seed"] == 1) & (small["pretrain"] == "dapt")].assign(adaptation="rebuilt")
    newer = newer.assign(run_id=newer["run_id"] + "-newer", value=0.25, **{"adversary.length": 1.0})
    write_study(tmp_path / "new", newer)
    outcome = merged(tmp_path / "new", tmp_path / "lab")
    old = small[(small["seed"] == 1) & (small["pretrain"] == "dapt")]
    assert outcome.superseded == sorted(old["run_id"].unique())
    rows = frozen.load(tmp_path / "lab" / "synthetic" / "results.csv")
    assert rows["run_id"].nunique() == small["run_id"].nunique()
    assert set(rows.loc[rows["value"] == 0.25, "run_id"]) == set(newer["run_id"])
    elsewhere = newer.assign(run_id=newer["run_id"] + "-lr", **{"finetune.method": "other"})  # another point
    write_study(tmp_path / "other", elsewhere)
    assert merged(tmp_path / "other", tmp_path / "lab").superseded == []


def test_of_two_runs_of_the_same_settings_the_later_one_counts(tmp_path, small, write_study, capsys):
    """Edited code gives the same settings another run; a command spelt in another way leaves both in the study."""
    edited = small[small["seed"] == 0]
    later = edited.assign(run_id="e" + edited["run_id"], created_at="2999-01-01T00:00:00+00:00")
    write_study(tmp_path / "root", pd.concat([small, later], ignore_index=True))
    first = merged(tmp_path / "root", tmp_path / "lab")
    assert first.outdated == sorted(edited["run_id"].unique())
    assert set(first.table["run_id"]) == {*small["run_id"], *later["run_id"]} - set(edited["run_id"])
    csv = tmp_path / "lab" / "synthetic" / "results.csv"
    recorded = csv.read_bytes()
    assert merged(tmp_path / "root", tmp_path / "lab").merged == [] and csv.read_bytes() == recorded
    tables.main(["synthetic", "--root", str(tmp_path / "root"), "--experiments", str(tmp_path / "lab")])
    assert "outdated: 2 runs" in capsys.readouterr().out


def with_new_keys(rows):
    """The same runs under the next generation of keys: every id is another, the adaptations' too."""
    return rows.assign(
        run_id="2" + rows["run_id"],
        adaptation=rows["adaptation"].where(rows["adaptation"] == "none", "2" + rows["adaptation"]),
        versions=rows["versions"] + "; keys 2",
    )


def test_a_study_that_is_run_again_under_new_keys_is_replaced_whole(tmp_path, small, write_study, capsys):
    lab, ids = tmp_path / "lab", sorted(small["run_id"].unique())
    write_study(tmp_path / "before", small)
    merged(tmp_path / "before", lab)
    csv = lab / "synthetic" / "results.csv"
    recorded = csv.read_bytes()
    half = small[small["run_id"].isin(ids[:3])]
    write_study(tmp_path / "after", with_new_keys(half))
    outcome = merged(tmp_path / "after", lab)
    assert (outcome.merged, outcome.superseded, outcome.waiting) == ([], [], ids[3:])
    assert csv.read_bytes() == recorded
    tables.main(["synthetic", "--root", str(tmp_path / "after"), "--experiments", str(lab)])
    assert "left out: all new runs, because 3 runs on record" in capsys.readouterr().out
    assert csv.read_bytes() == recorded
    write_study(tmp_path / "after", with_new_keys(small))
    outcome = merged(tmp_path / "after", lab)
    assert (outcome.superseded, outcome.waiting) == (ids, [])
    assert sorted(outcome.table["run_id"].unique()) == [f"2{run_id}" for run_id in ids]


def test_a_seed_of_new_keys_is_not_added_to_a_record_of_old_ones(tmp_path, small, write_study):
    lab, old = tmp_path / "lab", small[small["seed"] < 2]
    write_study(tmp_path / "before", old)
    merged(tmp_path / "before", lab)
    write_study(tmp_path / "after", with_new_keys(small[small["seed"] == 2]))
    assert merged(tmp_path / "after", lab).waiting == sorted(old["run_id"].unique())
    outcome = merged(tmp_path / "after", lab, replace=True)
    assert set(outcome.table["seed"]) == {2} and not outcome.waiting


def test_make_table_says_what_happened(tmp_path, small, write_study, capsys):
    write_study(tmp_path, small[~((small["seed"] == 1) & (small["pretrain"] == "dapt"))])
    write_study(tmp_path, small[small["seed"] == 0], dirty=True)
    journal.failed(tmp_path, "synthetic", ("pretrain=[dapt]", "seed=1"), "Traceback\nValueError: loss is nan")
    arguments = ["synthetic", "--root", str(tmp_path), "--experiments", str(tmp_path)]
    assert tables.main(arguments) == 1  # some runs are left out
    text = capsys.readouterr().out
    assert "merged: 3 new runs" in text and "left out: 2 runs, because no commit holds the sources that made" in text
    assert "Left out: 2 runs" in (tmp_path / "synthetic/table.md").read_text()
    assert "DAPT: seed 1" in text and "failed: pretrain=[dapt] seed=1: ValueError: loss is nan" in text
    shutil.rmtree(tmp_path / "runs")
    assert tables.main(arguments) == 0 and "merged: 0 new runs" in capsys.readouterr().out


def test_a_study_of_dirty_runs_only_gives_no_record(tmp_path, small, write_study, capsys):
    write_study(tmp_path, small, dirty=True)
    assert tables.main(["synthetic", "--root", str(tmp_path), "--experiments", str(tmp_path)]) == 1
    assert "left out: 6 runs" in capsys.readouterr().out
    assert not (tmp_path / "synthetic").exists()


def test_an_unknown_study_is_an_error_that_names_the_known(tmp_path, small, write_study, capsys):
    write_study(tmp_path, small)
    with pytest.raises(SystemExit) as stopped:
        tables.main(["quickstrat", "--root", str(tmp_path), "--experiments", str(tmp_path)])
    assert stopped.value.code == 2 and "['synthetic']" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["tables", "figures.paired_differences", "figures.__main__"])
def test_analysis_imports_no_torch(module):
    code = f"import sys, analysis.{module}; assert not {{'torch', 'transformers', 'accelerate'}} & set(sys.modules)"
    if module == "tables":  # which prints at the end of every run
        code += "; assert not {'matplotlib', 'scipy.stats'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_a_clean_part_that_lacks_a_class_stands_beside_all_examples_of_its_classes(table):
    part = clean_part(table, 321)
    whole = part[(part["split"] == "test_clean") & (part["metric"] == "macro_f1")]
    one = whole["run_id"] == whole["run_id"].iloc[0]  # in one run alone the clean part lacks a class
    added = whole[one].assign(metric="whole_macro_f1", value=whole["value"] + 0.1, n=500)
    result = tables.summary(pd.concat([part, added], ignore_index=True))
    moved = (result["same classes"] - result["clean"]).round(6)
    assert (moved != 0).sum() == 1 and (moved == 0).sum() == len(result) - 1
    assert "same classes: on all examples, over the classes that those have" in tables.format_summary(
        pd.concat([part, added], ignore_index=True)
    )
    assert "same classes" not in tables.summary(part).columns


def test_all_metrics_that_runs_have_are_a_page(table):
    names = dict(tables.pages(table))
    assert "metrics.md" not in names  # macro-F1 and accuracy alone
    test = table[(table["split"] == "test") & (table["metric"] == "macro_f1")]
    more = [test.assign(metric=metric, value=test["value"] / 2) for metric in ("mcc", "ece", "f1_stats")]
    page = dict(tables.pages(pd.concat([table, *more], ignore_index=True)))["metrics.md"]
    assert "| method" in page and "MCC" in page and "ECE (15 bins)" in page and "F1 of each class" in page
    mean = test[(test["pretrain"] == "dapt") & (test["adversary"] == "fgm") & (test["model"] == "tiny")]["value"].mean()
    lines = [line for line in page.splitlines() if " DAPT, FGM" in line]
    assert len(lines) == 2  # of the metrics and of the classes
    assert f"{mean / 2:.3f} (" in lines[0] and f"{mean:.3f} (" in lines[0] and f"{mean / 2:.3f} (" in lines[1]
