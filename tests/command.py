"""The command line, called within this process, because importing torch for each call would take seconds.

As a script it reads a JSON list of argument lists and prints the answer to each as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from hydra.core.global_hydra import GlobalHydra

from adapt import __main__
from adapt.runs import summary


@dataclass
class Answer:
    """What ``adapt`` prints; code: its exit code; torch: whether torch was imported by then."""

    code: int
    out: str
    err: str
    torch: bool


def adapt_here(*arguments: str) -> Answer:
    """Run ``adapt`` in this process; an exception passes where a process would print its traceback."""
    summary.forget()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with as_fresh_process(arguments), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            __main__.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            err.write(end.code if isinstance(end.code, str) else "")
    return Answer(code, out.getvalue(), err.getvalue(), "torch" in sys.modules)


@contextlib.contextmanager
def as_fresh_process(arguments: tuple[str, ...]) -> Iterator[None]:
    """With its own sys.argv, and without what Hydra leaves behind: its instance, its log handlers, its variable."""
    before = sys.argv, logging.root.handlers[:], os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["adapt", *arguments]
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        sys.argv, logging.root.handlers[:], full = before
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


if __name__ == "__main__":
    print(json.dumps([asdict(adapt_here(*arguments)) for arguments in json.load(sys.stdin)]))
