"""``adapt`` is one command: if the first word is a verb, that verb's command, else a run."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command import adapt_here
from world import REPOSITORY

from adapt.__main__ import VERBS


def test_adapt_is_the_only_console_script() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert settings["project"]["scripts"] == {"adapt": "adapt.__main__:main"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_its_own_help_under_its_name(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(VERBS[verb][0]).main(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: adapt {verb} ")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_also_a_module(verb: str) -> None:
    source = Path(importlib.import_module(VERBS[verb][0]).__file__ or "").read_text()
    assert 'if __name__ == "__main__":' in source or VERBS[verb][0].endswith("__main__")


def test_help_lists_the_verbs_then_hydras_groups_and_needs_no_torch() -> None:
    code = "import sys; from adapt.__main__ import main; main(); sys.exit(3 if 'torch' in sys.modules else 0)"
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    places = [next(n for n, line in enumerate(lines) if line.startswith(f"  {verb} ")) for verb in VERBS]
    assert places == list(range(places[0], places[0] + len(VERBS)))
    assert places[-1] < lines.index("== Groups: choose an option with group=option ==")


def test_a_misspelt_verb_is_told_the_verb() -> None:
    answer = adapt_here("statsu", "experiment=quickstart")
    assert answer.code == 1
    assert answer.err.startswith("error: statsu: no such verb; did you mean status? possible: export, figures, ")


def test_a_verb_gets_the_words_after_it(tmp_path: Path) -> None:
    answer = adapt_here("gc", "--root", str(tmp_path))
    assert (
        answer.code == 1 and answer.err == f"error: --root {tmp_path}: has no store; give the runtime.root of your runs"
    )
    (tmp_path / "store").mkdir()
    assert "0 folders that no run needs" in adapt_here("gc", "--root", str(tmp_path)).out


def test_the_exit_code_is_the_verbs(tmp_path: Path) -> None:
    answer = adapt_here("figures", "nothing", "--experiments", str(tmp_path))
    assert answer.code == 2 and answer.err.startswith("usage: adapt figures ")
