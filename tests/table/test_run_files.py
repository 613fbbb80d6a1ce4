"""The table from a folder of runs is the same as from reading them one by one, whatever is in the cache."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adapt import results
from adapt.table import run_files

VALUE = st.one_of(
    *(st.none(), st.integers(-(2**40), 2**40), st.sampled_from([0, 1, 0.0, 1.0, -0.0, "1", "1.0", ""])),
    *(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5), st.sampled_from(["none", "uniform"])),
)
KEYS = ["seed", "model.name", "finetune.epochs", "noise"]
# A column of numbers has no truth values: pandas holds 1.0 and True for equal.
CONFIG = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(KEYS, VALUE) | {"flag": st.none() | st.booleans() | st.just("uniform")}
)
ROW = st.fixed_dictionaries(
    {
        **{name: st.sampled_from(["none", "test", "dev", "macro_f1"]) for name in ("split", "attack", "metric")},
        **{"attack_epsilon": st.sampled_from([0, 0.0, 0.1]), "attack_steps": st.integers(0, 20)},
        **{"value": st.one_of(st.floats(-1e300, 1e300), st.integers(-9, 9)), "n": st.sampled_from([None, 1, 40])},
    }
)
LABELS = st.fixed_dictionaries(
    {name: st.integers(0, 9) if name == "seed" else st.sampled_from(["none", "x", "0.5"]) for name in results.FACTORS}
)
PROVENANCE = {"commit": "1", "dirty": False, "created_at": "2025-01-01", "versions": "v", "device": "cpu", "threads": 2}
PROVENANCE["processes"] = 1
RUN = st.fixed_dictionaries(
    {
        **{"factors": LABELS, "config": CONFIG, "measurements": st.lists(ROW, max_size=3)},
        **{"provenance": st.just(PROVENANCE), "label": st.none() | LABELS},
    }
)


def one_by_one(root: Path, experiment: str | None) -> pd.DataFrame:
    """The table in the simplest way: one dict per run, repeated for each of its measurements."""
    runs, measured, lengths = [], [], []
    for path in sorted(root.glob("runs/*.json")):
        label = root / "studies" / "s" / path.name
        if experiment and not label.exists():
            continue
        run = json.loads(path.read_text())
        factors = json.loads(label.read_text()) if experiment else run["factors"]
        names = {"run_id": run["run_id"], "experiment": "s" if label.exists() else "none"}
        runs.append(run["config"] | names | factors | run["provenance"])
        measured += [[row[name] for name in results.MEASUREMENT] for row in run["measurements"]]
        lengths.append(len(run["measurements"]))
    rows = pd.DataFrame(measured, columns=list(results.MEASUREMENT))
    joined = results.typed(pd.DataFrame(runs)).iloc[np.repeat(np.arange(len(runs)), lengths)].reset_index(drop=True)
    return results.typed(pd.concat([joined.drop(columns=list(results.MEASUREMENT)), rows], axis=1))


def write(root: Path, number: int, run: dict) -> None:
    name = f"{number:04x}"
    record = {"run_id": name, "evaluation": "e"} | {key: run[key] for key in run if key != "label"}
    for folder in (root / "runs", root / "studies" / "s"):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "runs" / f"{name}.json").write_text(json.dumps(record))
    if run["label"] is not None:
        (root / "studies" / "s" / f"{name}.json").write_text(json.dumps({"run_id": name} | run["label"]))


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(first=st.lists(RUN, max_size=5), then=st.lists(RUN, max_size=4))
def test_the_table_is_that_of_reading_each_file(first, then) -> None:
    """Without a cache, with one, and after files were added and changed; for all runs and for one study."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_files, "CACHE_FROM", 1)
        root = Path(folder)
        for runs in (first, then):  # the second replaces runs of the first, and may leave some of them
            for number, run in enumerate(runs):
                write(root, number, run)
            for experiment in ("s", None, "s", None):
                pd.testing.assert_frame_equal(results.load(root, experiment), one_by_one(root, experiment))


def run(value: float = 0.5, **config: object) -> dict:
    row = dict(split="test", attack="none", attack_epsilon=0.0, attack_steps=0, metric="macro_f1", value=value, n=40)
    factors = {name: 3 if name == "seed" else "none" for name in results.FACTORS}
    return dict(factors=factors, label=factors, config=config, measurements=[row], provenance=PROVENANCE)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs, in the cache."""
    monkeypatch.setattr(run_files, "CACHE_FROM", 1)
    for number in range(3):
        write(tmp_path, number, run(number / 10))
    results.load(tmp_path)
    return tmp_path


def parsed(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[float]]:
    """How many files a load parses, and the values that it returns."""
    count, loads = [], json.loads
    monkeypatch.setattr(run_files.json, "loads", lambda text: (count.append(isinstance(text, bytes)), loads(text))[1])
    values = results.load(root)["value"].tolist()
    monkeypatch.setattr(run_files.json, "loads", loads)
    return sum(count), values


def test_what_is_cached_is_not_parsed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(root, monkeypatch) == (0, [0.0, 0.1, 0.2])
    write(root, 1, run(0.9))  # as many bytes as before
    write(root, 3, run(0.3))
    assert parsed(root, monkeypatch) == (2, [0.0, 0.9, 0.2, 0.3])
    assert parsed(root, monkeypatch)[0] == 0
    (root / "runs" / "0000.json").unlink()
    assert parsed(root, monkeypatch) == (0, [0.9, 0.2, 0.3])


def test_a_file_with_the_size_and_time_of_another_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "runs" / "0001.json"
    before = path.stat()
    write(root, 1, run(0.9))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert parsed(root, monkeypatch) == (1, [0.0, 0.9, 0.2])


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 5000, "cut", "flipped"])
def test_a_damaged_cache_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | str) -> None:
    cache = root / "runs" / run_files.CACHE
    whole = cache.read_bytes()
    place = whole.rindex(b"macro_f1")
    made = {"cut": whole[:-9], "flipped": whole[:place] + b"micro_f1" + whole[place + 8 :]}
    cache.write_bytes(made.get(damage, damage))
    assert parsed(root, monkeypatch) == (3, [0.0, 0.1, 0.2])
    assert cache.read_bytes() == whole
    cache.unlink()
    assert parsed(root, monkeypatch)[0] == 3 and parsed(root, monkeypatch)[0] == 0


def test_where_nothing_can_be_written_nothing_is_cached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "runs" / run_files.CACHE).unlink()

    def refuse(path: Path, content: bytes) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(run_files, "replace", refuse)
    assert parsed(root, monkeypatch) == parsed(root, monkeypatch) == (3, [0.0, 0.1, 0.2])


def test_a_study_keeps_what_is_cached_of_other_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "studies" / "s" / "0000.json").unlink()
    write(root, 1, run(0.9))
    assert results.load(root, "s")["value"].tolist() == [0.9, 0.2]
    assert parsed(root, monkeypatch) == (0, [0.0, 0.9, 0.2])


def test_a_few_runs_leave_no_cache(tmp_path: Path) -> None:
    write(tmp_path, 0, run())
    results.load(tmp_path)
    assert not list(tmp_path.rglob(run_files.CACHE))
