"""The analysis works where nothing that trains is installed: frozen rows and pandas are enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TRAINS = ["torch", "transformers", "datasets", "accelerate", "tokenizers", "peft", "sklearn", "hydra", "omegaconf"]
SCORES = {"analysis.predictions"}  # of single examples, by scikit-learn; no table, figure or report imports it
ABSENT = """import sys, importlib
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
"""
MODULES = [
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((REPOSITORY / "analysis").rglob("*.py"))
]


def test_every_module_can_be_imported():
    assert {"analysis.tables", "analysis.report", "analysis.report.__main__", "analysis.figures.loss_matrix"} <= {
        *MODULES
    }
    code = f"{ABSENT.format(TRAINS)}[importlib.import_module(name) for name in {sorted({*MODULES} - SCORES)!r}]"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
