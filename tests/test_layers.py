"""Which module may import which, and what must not be imported at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# Who may import whom inside adapt; a package stands for its modules. Everyone may import config.
MAY = {
    "__main__": {"cli", "outcomes", "refusals"},
    "cli": {"distribution", "grid", "jobs", "outcomes", "pipeline", "plan", "refusals", "validate"},
    "outcomes": {"refusals", "results", "analysis"},
    "refusals": {"store"},
    "grid": {"refusals"},
    "gc": {"jobs", "store"},
    "jobs": {"files", "provenance"},
    "status": {"grid", "jobs", "provenance", "refusals"},
    "search": {"refusals"},
    "tune": {
        *(
            "cli",
            "distribution",
            "grid",
            "jobs",
            "pipeline",
            "refusals",
            "results",
            "search",
            "status",
            "training",
            "validate",
        ),
    },
    "signatures": {"refusals"},
    "validate": {
        *("signatures", "data", "refusals", "text_attacks", "text_chain"),  # of text_attacks and text_chain names alone
        *("validate_kind", "validate_peft", "validate_pretraining"),
    },
    "validate_peft": {"data", "refusals"},
    "validate_pretraining": {"data", "refusals"},  # of data the names of strategies alone
    "plan": {"pipeline", "stage", "store"},
    "pipeline": {
        "answers",
        "chain",
        "data",
        "finetune_chain",
        "kept_samples",
        "provenance",
        "results",
        "sources",
        "stage",
        "store",
        "suitability",
        "text_chain",
    },
    "suitability": {
        *("adapters", "data", "decoders", "generation", "models", "packing", "positions", "retention"),
        *("text_attacks", "validate_peft"),
    },
    "chain": {
        *("data", "domain_chain", "finetune_chain", "importance_chain", "sources", "stage", "text_attacks"),
        "text_chain",
    },
    "finetune_chain": {"stage"},
    "importance_chain": {"finetune_chain", "refusals", "stage"},
    "domain_chain": {"finetune_chain", "stage", "text_chain"},
    "text_chain": {"data", "sources", "stage"},
    "distribution": {"pipeline", "provenance"},
    "worker": {"cli", "pipeline", "processes", "provenance", "refusals", "stage", "validate"},
    "processes": set(),
    "sharding": {"processes", "retention"},
    "stage": set(),
    "sources": {"files", "store"},
    "store": set(),
    "results": {"files", "kept_samples", "records", "schema"},
    "kept_samples": {"files"},
    "schema": set(),
    "answers": {"data"},
    "records": {"files"},
    "files": set(),
    "provenance": set(),
    "measurement": set(),
    "stages": {
        "adapters",
        *("adversary", "attacks", "checkpoint", "costs", "data", "measurement", "models", "objectives", "optimization"),
        *("processes", "sharding"),
        *(
            "generation",
            "heldout",
            "language_modelling",
            "marking",
            "prediction",
            "repetition",
            "retention",
            "steps",
            "text_attacks",
            "token_classifier",
        ),
        *("training", "vocabulary"),
    },
    "training": {
        *(
            "adversary",
            "checkpoint",
            "objectives",
            "optimization",
            "preemption",
            "processes",
            "retention",
            "sharding",
            "steps",
        ),
    },
    "preemption": {"processes"},
    "checkpoint": {"processes", "sharding"},
    "optimization": {"retention"},
    "retention": set(),
    "vocabulary": {"models"},
    "costs": {"checkpoint"},
    "steps": {"adversary", "objectives", "processes", "sharding", "views"},
    "views": {"adversary", "objectives", "sharding", "steps"},
    "objectives": set(),
    "adversary": {"objectives", "processes", "sharding", "steps", "views"},
    "attacks": {"adversary", "measurement", "objectives", "prediction"},
    "text_attacks": {"data", "measurement", "models", "prediction"},
    "data": set(),
    "models": {"adapters", "decoders", "packing", "projection"},
    "adapters": {"processes", "retention"},
    "decoders": set(),
    "projection": {"packing"},
    "packing": set(),
    "language_modelling": {"data", "models", "objectives"},
    "heldout": {"data", "language_modelling", "objectives"},
    "prediction": {"data", "models", "objectives"},
    "validate_kind": set(),
    "token_classifier": {"adapters", "data", "models", "objectives"},
    "marking": {"data", "models", "objectives", "token_classifier"},
    "positions": set(),
    "predict": {
        *("adapters", "data", "models", "positions", "prediction", "results", "sources", "store", "token_classifier"),
    },
    "serving": {"adapters", "data", "decoders", "models", "objectives", "predict", "sources"},
    "export": {
        *("adapters", "data", "measurement", "models", "predict", "results", "retention", "stages", "store"),
        "token_classifier",
    },
    "leakage": {"cli", "data", "refusals", "validate"},
    "base_model": {"base_architectures", "data", "heldout", "language_modelling", "models", "stages"},
    "base_architectures": set(),
    "generation": {"adapters", "data", "models"},
    "repetition": set(),
    "generate": {"data", "decoders", "generation", "models", "predict", "repetition", "sources", "store"},
}


def imported(file: Path) -> set[str]:
    """The modules of adapt and analysis that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module == "adapt":
            names = [f"adapt.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name for name in names if name.partition(".")[0] in ("adapt", "analysis")}
    return found


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "adapt" and len(parts) > 1 else parts[0]


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "adapt").rglob("*.py")), ids=lambda f: str(f.relative_to(REPOSITORY))
)
def test_an_arrow_of_the_architecture_allows_each_import(file: Path) -> None:
    relative = file.relative_to(REPOSITORY / "adapt").with_suffix("")
    own = relative.parts[0]
    if own == "__init__":
        assert not file.read_text().strip()
        return
    for module in imported(file):
        assert layer(module) in MAY[own] | {own, "config"}, f"{own} imports {module}"


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "analysis").rglob("*.py")), ids=lambda f: str(f.relative_to(REPOSITORY))
)
def test_analysis_imports_results_alone(file: Path) -> None:
    for module in imported(file):
        assert module.startswith(("analysis", "adapt.results")) or module == "adapt.config", module


def test_stages_do_not_know_the_store() -> None:
    for file in (REPOSITORY / "adapt" / "stages").glob("*.py"):
        assert not {"adapt.store.entries", "adapt.runs.pipeline", "adapt.results"} & imported(file), file


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


def test_no_file_outgrows_a_head() -> None:
    files = [file for folder in ("adapt", "analysis") for file in (REPOSITORY / folder).rglob("*.py")]
    files.remove(REPOSITORY / "adapt" / "config.py")  # a list of types, one after another: nothing to keep in mind
    assert {str(file): lines for file in files if (lines := len(file.read_text().splitlines())) > 280} == {}


def test_nothing_names_the_shared_folder_or_unpickles_the_outside() -> None:
    for file in (REPOSITORY / "adapt").rglob("*.py"):
        text = file.read_text()
        assert "../shared" not in text, file
        assert "pickle.load" not in text, file
        assert "trust_remote_code=True" not in text, file
