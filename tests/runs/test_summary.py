"""The end of a command: what it says about the jobs that finished and failed, however it ended."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from command import adapt_here, as_fresh_process
from world import overrides

from adapt import __main__
from adapt.runs import summary
from adapt.runs.pipeline import Pipeline
from adapt.runs.summary import Finished, JobFailed


class Unpicklable(Exception):
    """Cannot be unpickled: pickle calls the class with one argument too few."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def test_an_outcome_comes_through_pickle_whatever_the_error_was() -> None:
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(Unpicklable("a", "b")))
    try:
        raise JobFailed("seed=1", "Unpicklable: a", "Traceback ...") from Unpicklable("a", "b")
    except JobFailed as failed:
        again = pickle.loads(pickle.dumps(failed))
    assert (again.overrides, again.message, again.trace) == ("seed=1", "Unpicklable: a", "Traceback ...")
    finished = Finished("seed=0", "outputs", None, "r")
    assert pickle.loads(pickle.dumps(finished)) == finished


def test_every_failure_of_a_sweep_is_named_and_on_demand_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-m", "seed=-1,-2", "finetune.batch_size=0,8", f"runtime.root={tmp_path}"]
    said = adapt_here(*words)
    assert said.code == 1 and said.err.count("in the run ") == 4
    assert "Traceback" not in said.err and said.err.count("error: ") == len(set(said.err.split("error: ")[1:]))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    traced = adapt_here(*words)
    assert traced.code == 1 and traced.err.count("Traceback") == 4 and traced.err.count("in the run ") == 4


def test_an_interrupted_sweep_ends_with_the_summary_of_what_finished(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = Pipeline.run

    def interrupted(self: Pipeline) -> str:
        if self.cfg.seed == 1:
            raise KeyboardInterrupt
        return run(self)

    monkeypatch.setattr(Pipeline, "run", interrupted)
    summary.forget()
    words = ("-m", *overrides(world, tmp_path), "evaluate=clean", "seed=0,1,2")
    with as_fresh_process(words), pytest.raises(SystemExit) as ended:
        __main__.main()
    said = capsys.readouterr()
    assert ended.value.code == 130 and "\n1 runs, " in said.out
    assert said.err.rstrip().endswith("interrupted: 1 of 3 runs are done, 1 cut; the same command goes on")
