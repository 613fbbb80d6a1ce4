"""The folder of the user's own work. Imports nothing of adapt, so that the analysis can use it.

Anywhere in a checkout of adapt it is the checkout. Elsewhere it is the folder that ADAPT_PROJECT names, or else the
current directory.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ADAPT_PROJECT"
PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = None if (PACKAGE / "conf").is_dir() else PACKAGE.parent  # None: installed from a wheel


def folder() -> Path:
    """The project's folder, whether or not it holds any of a project's files."""
    given = os.environ.get(VARIABLE)
    here = Path(given).expanduser().resolve() if given else Path.cwd()
    return CHECKOUT if CHECKOUT is not None and here.is_relative_to(CHECKOUT) else here


def is_checkout() -> bool:
    """Whether the project is adapt itself."""
    return folder() == CHECKOUT


def experiments() -> Path:
    """The folder of the project's lab notebook: frozen rows, figures and reports of its studies."""
    return folder() / "experiments"
