"""The rooms: which may import which, and how large files, functions and folders may be. See docs/rooms.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# Each room may import itself and the rooms on its line; config and project are open to all. The order is from the front
# door down: a room may not name one above its own line, which a test below enforces.
ROOMS = {
    "commands": {
        *("serving", "assets", "runs", "checks", "chain", "stages", "tasks", "models", "adapters", "training", "data"),
        *("results", "table", "store"),
    },
    "serving": {"runs", "models", "adapters", "training", "data", "store"},
    "assets": {"stages", "tasks", "models", "data"},
    "runs": {"checks", "chain", "models", "results", "data", "table", "store", "analysis"},
    "checks": {"chain", "text_attacks", "tasks", "models", "adapters", "training", "data", "table"},
    "chain": {"text_attacks", "data", "store"},
    "stages": {
        *("attacks", "text_attacks", "tasks", "models", "adapters", "adversary", "training", "perturbation", "data"),
        "table",
    },
    "attacks": {"tasks", "models", "training", "perturbation", "data", "table"},
    "text_attacks": {"tasks", "models", "training", "perturbation", "data", "table"},
    "tasks": {"models", "adapters", "training", "data", "table"},
    "models": {"adapters"},
    "adapters": {"training"},
    "adversary": {"training", "perturbation"},
    "training": {"perturbation"},
    "perturbation": set(),
    "data": set(),
    "results": {"table", "store"},
    "table": {"store"},
    "store": set(),
    "project": set(),
}
# The same for the rooms of analysis; "readers" are the modules at its root, which people call.
ANALYSIS = {
    "report": {"figures", "tables", "pages", "drawing", "readers", "study", "stats"},
    "calibration": {"pages", "drawing", "readers", "study", "stats"},
    "figures": {"pages", "drawing", "readers", "study", "stats"},
    "tables": {"pages", "readers", "study", "stats"},
    "pages": {"readers", "stats"},
    "drawing": {"readers", "stats"},
    "readers": {"study", "stats"},
    "study": set(),
    "stats": set(),
}
MOST_LINES, MOST_FUNCTION_LINES, MOST_FILES = 400, 60, 20
LONG = {"adapt.training.loop.train"}  # the loop, which is read from top to bottom


def modules(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> set[str]:
    """The modules of adapt and analysis that a file imports, at its head or inside functions."""
    result = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else node.module for name in inside]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        result |= {name for name in names if name.partition(".")[0] in ("adapt", "analysis")}
    return result


def is_module(name: str) -> bool:
    path = REPOSITORY / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def room(module: str) -> str:
    """The room of a module: the folder under adapt or analysis; at their roots commands, readers, or the module."""
    package, *inside = module.split(".")
    if not inside:
        return package
    if (REPOSITORY / package / inside[0]).is_dir():
        return inside[0]
    own = {"config", "results"} if package == "adapt" else {"tables"}
    return inside[0] if inside[0] in own else {"adapt": "commands", "analysis": "readers"}[package]


@pytest.mark.parametrize("package", ["adapt", "analysis"])
def test_an_arrow_of_the_house_allows_each_import(package: str) -> None:
    may = ROOMS if package == "adapt" else ANALYSIS
    outside = {"adapt": set(), "analysis": {"results", "config", "project"}}[package]
    wrong = [
        f"{name_of(file)} ({own}) imports {module} ({room(module)})"
        for file in modules(package)
        if (own := room(name_of(file))) not in ("config", package)
        for module in imported(file)
        if not (module.split(".")[0] == package and room(module) in may[own] | {own, "config", "project"})
        and not (module.split(".")[0] != package and room(module) in outside)
        and not (module.startswith("analysis") and "analysis" in may[own])
    ]
    assert not wrong, "\n".join(wrong)


def test_config_and_the_packages_themselves_import_nothing_of_ours() -> None:
    assert not (REPOSITORY / "adapt" / "__init__.py").read_text().strip()
    assert not imported(REPOSITORY / "adapt" / "config.py")


@pytest.mark.parametrize("may", [ROOMS, ANALYSIS], ids=["adapt", "analysis"])
def test_no_arrow_of_the_table_runs_back_up(may: dict[str, set[str]]) -> None:
    order = list(may)
    for place, own in enumerate(order):
        assert not may[own] & set(order[:place]), f"{own} stands below a room that it may import"


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name_of(file): imported(file) for package in ("adapt", "analysis") for file in modules(package)}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done or module not in arrows:
            return
        for other in sorted(arrows[module] - {module}):
            visit(other, (*path, module))
        done.add(module)

    for module in sorted(arrows):
        visit(module, ())


def test_the_root_of_adapt_is_the_front_door() -> None:
    front = {file.stem for file in (REPOSITORY / "adapt").glob("*.py")} - {"__init__", "config", "results"}
    for name in front:
        assert "def main(" in (REPOSITORY / "adapt" / f"{name}.py").read_text(), f"{name} is no command: give it a room"


@pytest.mark.parametrize(
    "module",
    [
        "adapt.runs.job",
        "adapt.checks.run",
        "adapt.results",
        "adapt.chain.compose",
        "adapt.runs.pipeline",
        "adapt.leakage",
        "adapt.predict",
        "adapt.generate",
        "adapt.export",
        "analysis.tables",
        "analysis.stats.paired",
    ],
)
def test_reading_configs_and_tables_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_no_file_outgrows_a_head_and_no_folder_a_look() -> None:
    files = [*modules("adapt"), *modules("analysis")]
    files.remove(REPOSITORY / "adapt" / "config.py")  # a plain list of types, which is easy to read at any length
    assert {name_of(file): lines for file in files if (lines := len(file.read_text().splitlines())) > MOST_LINES} == {}
    folders = {file.parent for file in files}
    crowded = {str(folder): len(list(folder.glob("[!_]*.py"))) for folder in folders}
    methods = str(REPOSITORY / "adapt" / "adversary")  # one file per method, and the maths that several share
    assert {folder: count for folder, count in crowded.items() if count > MOST_FILES and folder != methods} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        name: node.end_lineno - node.lineno + 1
        for file in [*modules("adapt"), *modules("analysis")]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (name := f"{name_of(file)}.{node.name}") not in LONG
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert long == {}


def test_nothing_names_the_shared_folder_or_unpickles_the_outside() -> None:
    for file in modules("adapt"):
        text = file.read_text()
        assert "../shared" not in text, file
        assert "pickle.load" not in text, file
        assert "trust_remote_code=True" not in text, file
