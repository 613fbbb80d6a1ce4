"""The user's own code: allowed by the user and by no config, read before it is imported, keyed by its source."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from command import adapt_here
from omegaconf import OmegaConf
from world import pipeline

from adapt import worker
from adapt.checks.targets import check_binds
from adapt.checks.values import check_any
from adapt.config import AdversaryConfig, ConfigError
from adapt.project import packages
from adapt.store import keys
from adapt.store.entries import MANIFEST

WORDS = ("evaluate=clean", "adversary=gust")


def test_the_flag_is_taken_out_wherever_it_stands(project: Path) -> None:
    assert packages.take_flag(["seed=1", "--packages", "a,b", "-m"]) == ["seed=1", "-m"]
    assert packages.given() == ["a", "b"]
    assert packages.take_flag(["--packages=c"]) == []
    assert packages.given() == ["c"]
    with pytest.raises(ConfigError, match="--packages: needs the name"):
        packages.take_flag(["seed=1", "--packages"])


@pytest.mark.parametrize("name", ["../x", "a-b", "a..b", "1a", "os.system()"])
def test_a_bad_name_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(packages.VARIABLE, name)
    with pytest.raises(ConfigError, match="must be the name of a Python package"):
        packages.named()


def test_a_package_that_is_not_there_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(packages.VARIABLE, "nowhere_at_all")
    with pytest.raises(ConfigError, match="nowhere_at_all: no such package in .*project, and none is installed"):
        packages.named()


def test_only_what_the_user_names_may_be_a_target(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, target = "adversary.method._target_", f"{package}.gust.gust"
    with pytest.raises(ConfigError, match=rf"may name only adapt\.\*.*adapt --packages {package} \.\.\., or ADAPT_PA"):
        check_any(key, target)
    monkeypatch.setenv(packages.VARIABLE, package)
    check_any(key, target)
    check_any(f"pretrain_{key}", target)
    for other in ("os.system", f"{package}2.gust.gust", f"x{package}.gust.gust"):
        with pytest.raises(ConfigError, match="may name only"):
            check_any(key, other)
    with pytest.raises(ConfigError, match="may name only"):  # its source would be in no key
        check_any("peft.method._target_", target)


def test_no_config_can_name_a_package(package: str) -> None:
    variable = f"hydra.job.env_set.{packages.VARIABLE}"
    study = Path("conf", "experiment", "theirs.yaml")
    study.parent.mkdir()
    study.write_text(f"# @package _global_\nhydra: {{job: {{env_set: {{{packages.VARIABLE}: {package}}}}}}}\n")
    for more, said in {
        "seed=0": f"adversary.method._target_={package}.gust.gust: a config may name only",
        "experiment=theirs": f"{variable}: a config may set no variable; set it in the shell",
        f"+{variable}={package}": f"{variable}: a config may set no variable; set it in the shell",
        f"+packages={package}": "packages: no such key",
    }.items():
        answer = adapt_here(*WORDS, more, "runtime.dry_run=true")
        assert answer.code == 1 and answer.err.startswith(f"error: {said}"), answer.err
    assert f"{package}.gust" not in sys.modules


def test_signatures_are_read_without_importing_the_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(packages.VARIABLE, package)
    packages.named()
    Path(package, "__init__.py").write_text("raise RuntimeError('imported')\n")
    target = f"{package}.gust.gust"
    check_binds("adversary.method", {"_target_": target, "weight": 1.0})
    with pytest.raises(ConfigError, match=r"adversary\.method\.wait: .* has no such setting; did you mean weight"):
        check_binds("adversary.method", {"_target_": target, "wait": 1.0})
    with pytest.raises(ConfigError, match="no such module"):
        check_binds("adversary.method", {"_target_": f"{package}.gale.gale"})
    assert package not in sys.modules


def test_a_source_is_known_by_its_hash_and_by_that_of_what_it_imports(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.VARIABLE, package)
    module = f"{package}.gust"
    first = keys.source_version(module)
    assert first[0] == module and len(str(first[1])) == 64
    for file in ("gust.py", "helpers.py"):
        keys.source_version.cache_clear()
        before = keys.source_version(module)
        path = Path(package, file)
        path.write_text(path.read_text() + "\nANOTHER = 1\n")
        keys.source_version.cache_clear()
        assert keys.source_version(module) != before
    Path(package, "unread.py").write_text("")
    now = keys.source_version(module)
    keys.source_version.cache_clear()
    assert keys.source_version(module) == now
    assert keys.source_version("peft")[1] != keys.source_version(module)[1]


def test_a_package_that_is_named_is_known_by_its_source_even_if_it_is_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys.source_version("tqdm.std")[1] == __import__("tqdm").__version__
    keys.source_version.cache_clear()
    monkeypatch.setenv(packages.VARIABLE, "tqdm")
    assert len(str(keys.source_version("tqdm.std")[1])) == 64
    keys.source_version.cache_clear()


def test_a_run_trains_with_it_and_again_after_an_edit(
    package: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.VARIABLE, package)
    first = pipeline(world, tmp_path / "root", *WORDS)
    first.run()
    (entry,) = (tmp_path / "root" / "store" / "finetune").glob(f"*/{MANIFEST}")
    assert f"{package}.gust.gust" in entry.read_text()
    assert pipeline(world, tmp_path / "root", *WORDS).finished()
    Path(package, "helpers.py").write_text("HALF = 0.25\n")
    keys.source_version.cache_clear()
    assert not pipeline(world, tmp_path / "root", *WORDS).finished()


def test_a_process_of_a_run_sees_the_same(
    package: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(packages.VARIABLE, package)
    cfg = pipeline(world, tmp_path / "root", *WORDS).cfg
    (tmp_path / "run.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
    assert isinstance(worker.read_config(tmp_path / "run.yaml").adversary, AdversaryConfig)
    monkeypatch.setenv(packages.VARIABLE, "")
    with pytest.raises(ConfigError, match="may name only"):
        worker.read_config(tmp_path / "run.yaml")


def test_the_flag_of_the_command_is_for_its_processes_too(package: str) -> None:
    answer = adapt_here("--packages", package, *WORDS, "runtime.dry_run=true")
    assert answer.code == 0, answer.err
    assert os.environ[packages.VARIABLE] == package
