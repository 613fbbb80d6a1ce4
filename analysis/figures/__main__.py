"""Draw every figure of this folder for one study, as PNG and PDF, using only its rows.

From experiments/<study>/results.csv into experiments/<study>/figures/; or, with --root, from the runs under a root
(the working tree may be dirty) into <root>/figures/<study>/.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from analysis import figures, tuning
from analysis.caveats import caveats
from analysis.cells import NotInTable
from analysis.drawing import style
from analysis.study import rows


def draw_all(table: pd.DataFrame, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Write every figure that the table has data for. Returns the files, and why the other figures are not drawn."""
    written: list[Path] = []
    not_drawn: dict[str, str] = {}
    for module, drawn in figures.every(table):
        if isinstance(drawn, NotInTable):
            not_drawn[figures.name_of(module)] = str(drawn)
        else:
            written += style.save(drawn, folder / figures.name_of(module))
    return written, not_drawn


def main(arguments: list[str] | None = None) -> int:
    """``adapt figures``."""
    parser = rows.parser("figures", __doc__, "draw")
    given = parser.parse_args(arguments)
    table = rows.rows(parser, given)
    of_record = given.experiments / given.study / "figures"
    folder = of_record if given.root is None else given.root / "figures" / given.study
    written, not_drawn = draw_all(table, folder)
    for path in written:
        print(path)
    for name, reason in not_drawn.items():
        print(f"{name}: not drawn: {reason}")
    settled, choice = tuning.settled(table)
    for note in filter(None, [choice, *caveats(settled)]):
        print(note)
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
