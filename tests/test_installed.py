"""adapt from a wheel, in an environment and a folder of its own, and an sdist. Offline; no package is fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from world import REPOSITORY

from adapt.store import release

pytestmark = pytest.mark.full
SCRIPT = "import setuptools.build_meta as build, sys; getattr(build, sys.argv[1])(sys.argv[2])"


def call(*words: str | Path, cwd: Path, code: int = 0, **variables: str) -> str:
    """Stdout of a command, which must end with the code; its stderr too, where that is not 0."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ADAPT_PACKAGES")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git knows, committed: a clean tree whatever the working tree is."""
    root = tmp_path_factory.mktemp("source")
    names = call("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
    for name in filter(None, names):
        if name.split("/")[0] not in ("tests", "experiments") and (REPOSITORY / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((REPOSITORY / name).read_bytes())
    call("git", "init", "-q", cwd=root)
    call("git", "add", "-A", cwd=root)
    call("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", cwd=root)
    return root


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-c", SCRIPT, "build_wheel", folder, cwd=source)
    (file,) = folder.glob("adapt-*.whl")
    return file


@pytest.fixture(scope="module")
def adapt(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment that has adapt from the wheel, and all else from this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    inside = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    (inside / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # after its own; no editable adapt in it
    call(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel, cwd=place)
    said = call(python, "-c", "import adapt, adapt.config; print(adapt.__file__, adapt.config.CONF)", cwd=place)
    assert said.split() == [str(inside / "adapt" / "__init__.py"), str(inside / "adapt" / "conf")]
    return place / "bin" / "adapt"


def test_a_wheel_has_what_runs_and_analysis_read(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        known = json.loads(packed.read("adapt/RELEASE"))
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"adapt", "analysis"}
    conf = {file.relative_to(source).as_posix() for file in (source / "conf").rglob("*.yaml")}
    assert {f"adapt/{name}" for name in conf} == {name for name in names if name.startswith("adapt/conf/")}
    published = {file.relative_to(source).as_posix() for file in (source / "analysis" / "published").glob("*.csv")}
    assert {*published, "analysis/report/script.js", "analysis/report/style.css"} <= names
    assert "adapt/assets/tiny/model.safetensors" in names and "adapt/project/skeletons/study.yaml" in names
    assert not [name for name in names if name.endswith(".ipynb")]
    assert known["commit"] == call("git", "rev-parse", "HEAD", cwd=source).strip() and not known["dirty"]
    assert known["hash"] == release.source_hash(source / "adapt", source / "conf")


def test_an_sdist_builds_the_same_wheel(wheel: Path, source: Path, tmp_path: Path) -> None:
    call(sys.executable, "-c", SCRIPT, "build_sdist", tmp_path, cwd=source)
    (file,) = tmp_path.glob("adapt-*.tar.gz")
    with tarfile.open(file) as packed:
        packed.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (tmp_path / "again").mkdir()
    call(sys.executable, "-c", SCRIPT, "build_wheel", tmp_path / "again", cwd=unpacked)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / "again" / wheel.name) as other:
        same = [name for name in one.namelist() if ".dist-info/" not in name]
        assert sorted(same) == sorted(name for name in other.namelist() if ".dist-info/" not in name)
        assert all(one.read(name) == other.read(name) for name in same)


def test_a_project_in_an_empty_folder(adapt: Path, tmp_path: Path) -> None:
    assert "1 runs," in call(adapt, "budget=smoke", "evaluate=clean", "runtime.progress=false", cwd=tmp_path)
    call(adapt, "new", "study", "mine", cwd=tmp_path)
    assert "8 runs," in call(adapt, "experiment=mine", "runtime.progress=false", cwd=tmp_path)
    assert "done     8" in call(adapt, "status", "experiment=mine", cwd=tmp_path)
    said = call(adapt, "table", "mine", cwd=tmp_path)
    assert "merged: 8 new runs" in said and "refused" not in said  # they are clean
    folder = tmp_path / "experiments" / "mine"
    assert f"{folder}/figures/paired_differences.png" in call(adapt, "figures", "mine", cwd=tmp_path)
    assert call(adapt, "report", "mine", cwd=tmp_path).strip() == f"{folder}/report.html"


def test_an_adversary_of_ones_own(adapt: Path, tmp_path: Path) -> None:
    project = tmp_path / "windy"
    project.mkdir()
    call(adapt, "new", "adversary", "gust", cwd=project)
    words = ("budget=smoke", "evaluate=clean", "adversary=gust", "runtime.progress=false")
    assert "may name only adapt.*" in call(adapt, *words, cwd=project, code=1)
    assert "none      gust" in call(adapt, "--packages", "windy", *words, cwd=project)
    two = call(adapt, *words, "runtime.processes=2", "seed=1", cwd=project, ADAPT_PACKAGES="windy")
    assert "none      gust" in two
    swept = call(adapt, "--packages", "windy", "-m", "hydra/launcher=processes", *words, "seed=0,2", cwd=project)
    assert "none      gust           2" in swept


def test_a_package_edited_by_hand_is_dirty(adapt: Path, tmp_path: Path) -> None:
    python = adapt.with_name("python")
    code = "from adapt.store import provenance as p; print(p.PACKAGE, p.commit_and_dirty()[1])"
    package, dirty = call(python, "-c", code, cwd=tmp_path).split()
    assert dirty == "False"
    file = Path(package, "conf", "budget", "smoke.yaml")
    before = file.read_text()
    file.write_text(before + "# edited\n")
    assert call(python, "-c", code, cwd=tmp_path).split()[1] == "True"
    file.write_text(before)
