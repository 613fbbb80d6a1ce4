"""Write a study's report as one HTML file, using only its rows.

From experiments/<study>/results.csv into experiments/<study>/report.html; or, with --root, from the runs under a root
(the working tree may be dirty) into <root>/reports/<study>.html.
"""

from __future__ import annotations

import sys

from adapt import results
from analysis.cells import NotInTable
from analysis.report import page
from analysis.study import rows, samples


def main(arguments: list[str] | None = None) -> int:
    """``adapt report``."""
    parser = rows.parser("report", __doc__, "report")
    given = parser.parse_args(arguments)
    table = rows.rows(parser, given)
    folder = given.experiments / given.study
    written = samples.load(folder) if given.root is None else samples.of_root(given.root, table["run_id"])
    of_record = folder / "report.html"
    path = of_record if given.root is None else given.root / "reports" / f"{given.study}.html"
    try:
        text = page(table, given.study, written)
    except NotInTable as reason:
        parser.error(f"nothing to report of {given.study!r}: {reason}")
    path.parent.mkdir(parents=True, exist_ok=True)
    results.replace(path, text)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
