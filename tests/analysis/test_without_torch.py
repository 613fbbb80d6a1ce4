"""The analysis works where nothing that trains is installed: frozen rows and pandas are enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TRAINS = ["torch", "transformers", "datasets", "accelerate", "tokenizers", "peft", "sklearn", "hydra", "omegaconf"]
MODULES = [
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((REPOSITORY / "analysis").rglob("*.py"))
]


def test_every_module_can_be_imported():
    assert {"analysis.tables", "analysis.report", "analysis.report.__main__", "analysis.figures.loss_matrix"} <= {
        *MODULES
    }
    block = f"import sys, importlib; sys.modules |= dict.fromkeys({TRAINS!r})"  # None: an import of it fails
    code = f"{block}; [importlib.import_module(name) for name in {MODULES!r}]"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
