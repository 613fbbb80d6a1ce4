"""The stage store: keys, atomicity, locks, checksums."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.store.entries import MANIFEST, Store
from adapt.store.keys import digest, key_of

CONFIG = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=5)))


def build_text(text: str):
    def build(folder: Path) -> dict:
        (folder / "out.txt").write_text(text)
        return {"rows": []}

    return build


@given(CONFIG)
def test_a_key_does_not_depend_on_the_order_of_a_config(config: dict) -> None:
    backwards = dict(reversed(config.items()))
    assert key_of("k", {"m": 1}, config, {"a": "x"}) == key_of("k", {"m": 1}, backwards, {"a": "x"})


@given(CONFIG, CONFIG)
def test_different_configs_have_different_keys(one: dict, other: dict) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_a_version_a_kind_and_an_input_are_part_of_the_key() -> None:
    keys = {key_of(kind, {"m": v}, {}, {"a": i}) for kind in "kl" for v in (1, 2) for i in "xy"}
    assert len(keys) == 8


def test_an_entry_is_built_once_and_found_again(tmp_path: Path) -> None:
    first = Store(tmp_path).get_or_build("k", "1" * 64, {}, build_text("hello"))
    assert (first.folder / "out.txt").read_text() == "hello"

    def never(folder: Path) -> dict:
        raise AssertionError("built twice")

    again = Store(tmp_path).get_or_build("k", "1" * 64, {}, never)
    assert again.manifest == first.manifest


def test_equal_output_has_equal_content_and_other_output_has_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    content = [
        store.get_or_build("k", key * 64, {"config": key}, build_text(text)).content
        for key, text in (("1", "a"), ("2", "a"), ("3", "b"))
    ]
    assert content[0] == content[1] != content[2]


def test_a_failed_build_leaves_no_entry(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("broken")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        store.get_or_build("k", "1" * 64, {}, fail)
    assert store.find("k", "1" * 64) is None
    entry = store.get_or_build("k", "1" * 64, {}, build_text("whole"))
    assert sorted(path.name for path in entry.folder.iterdir()) == ["out.txt", MANIFEST]


def test_a_checkpoint_survives_a_failed_build_and_nothing_else_does(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict:
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "state").write_text("step 5")
        (folder / "half.txt").write_text("half")
        raise RuntimeError("broken")

    def resume(folder: Path) -> dict:
        assert [path.name for path in folder.iterdir()] == ["checkpoint"]
        (folder / "out.txt").write_text((folder / "checkpoint" / "state").read_text())
        return {"rows": []}

    store = Store(tmp_path)
    with pytest.raises(RuntimeError):
        store.get_or_build("k", "1" * 64, {}, fail)
    entry = store.get_or_build("k", "1" * 64, {}, resume)
    assert (entry.folder / "out.txt").read_text() == "step 5"
    assert not (entry.folder / "checkpoint").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_entry_is_reported_and_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    folder = Store(tmp_path).get_or_build("k", "1" * 64, {}, build_text("hello")).folder
    victim = folder / ("stage.json" if damage == "manifest" else "out.txt")
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_text({"flip": "jello", "truncate": "hell", "manifest": "{"}[damage])
    fresh = Store(tmp_path)
    assert fresh.find("k", "1" * 64) is None
    assert "corrupt" in caplog.text
    assert (fresh.get_or_build("k", "1" * 64, {}, build_text("hello")).folder / "out.txt").read_text() == "hello"


def slow_builder(root: Path, log: Path) -> None:
    def build(folder: Path) -> dict:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.5)
        (folder / "out.txt").write_text("x")
        return {}

    Store(root).get_or_build("k", "1" * 64, {}, build)


def test_of_several_processes_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=slow_builder, args=(tmp_path / "store", tmp_path / "log")) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "built\n"
