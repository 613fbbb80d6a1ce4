"""What becomes of a run whose processes end in whatever way."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from adapt import worker
from adapt.config import ConfigError
from adapt.runs.launch import WorkerFailed, after_failure, ended_by, read_outcome

RUN = {"run_ids": ["abc"]}


@pytest.mark.parametrize("exit_code", [0, 1, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL])
def test_a_finished_run_is_finished_whatever_its_processes_do_at_their_end(exit_code: int) -> None:
    assert after_failure(RUN, exit_code, 2, None) == "abc"


def test_a_refusal_is_one_sentence_and_an_error_has_its_traceback() -> None:
    with pytest.raises(ConfigError, match="^task.path=x: no such folder$"):
        after_failure({"error": "task.path=x: no such folder", "refusal": True, "traceback": "..."}, 1, 2, None)
    with pytest.raises(WorkerFailed, match="one of 2 processes failed: the loss is nan\nTraceback"):
        after_failure({"error": "the loss is nan", "refusal": False, "traceback": "Traceback"}, 1, 2, None)


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (-signal.SIGKILL, r"SIGKILL \(out of memory is the usual reason\) before it could say why"),
        (-signal.SIGABRT, "SIGABRT before"),
        (3, "exit code 3 before"),
        (0, "all of them ended without a result"),
    ],
)
def test_a_process_that_says_nothing_is_told_by_its_end(exit_code: int, said: str) -> None:
    with pytest.raises(WorkerFailed, match=f"one of 4 processes failed: .*{said}"):
        after_failure({}, exit_code, 4, None)


@pytest.mark.parametrize("content", [None, "", '{"run_ids": ["a', "[]", "null"])
def test_an_outcome_that_is_missing_or_torn_says_nothing(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "outcome.json").write_text(content)
    assert read_outcome(tmp_path / "outcome.json") == {}


def test_the_first_outcome_counts_and_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "outcome.json"
    worker.note(file, {"error": "first", "refusal": False, "traceback": ""})
    worker.note(file, RUN)
    assert json.loads(file.read_text())["error"] == "first" and list(tmp_path.iterdir()) == [file]
    worker.note(None, RUN)


def test_a_signal_without_a_name_has_its_number() -> None:
    assert ended_by(-200) == "signal 200" and ended_by(2) == "exit code 2"


@pytest.mark.parametrize("content", [None, "- a list", "a: [1", "seed: 3", "model: {name: 1, nothing: 2}"])
def test_a_workers_config_that_is_none_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="config.yaml: (cannot be read as|is not) the resolved config of a run"):
        worker.read_config(file)
