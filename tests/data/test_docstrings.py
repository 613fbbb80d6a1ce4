from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapt.config import ConfigError
from adapt.data.pydoc.docstrings import Docstring, documented_objects

MODULE = '''
"""A module."""
import nothing_of_this_name

class Outer:
    """A class.

    Cleaned of its margin.
        Indented.
    """
    def method(self):
        """A method."""
        def inner():
            """Not an object of its own."""
    class Inner:
        async def method(self):
            """Deep."""

try:
    def conditional(): "One line, in single quotes."
except ImportError:
    pass
"""Not a docstring."""
undocumented = lambda: None
add_newdoc("pack.compiled", "ufunc", """A ufunc.""")
add_newdoc("pack.compiled", "array", ("sort", """A method."""))
add_newdoc("local", """Scipy's way.""")
torch_docs.add_docstr(torch.abs, r"""abs({args}).""".format(**common))
add_newdoc("name", variable)
'''


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "pack"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text('raise RuntimeError("imported")\n"""Not first."""\n')
    (package / "module.py").write_text(MODULE)
    (package / "tests" / "test_it.py").write_text('"""A test."""')
    (package / "template.py").write_text('"""Not {{ python }}."""\n{% if x %}')
    monkeypatch.syspath_prepend(tmp_path)
    return "pack"


def test_every_docstring_with_its_owner_and_nothing_is_imported(pack: str) -> None:
    docstrings = [(doc.owner, doc.name, doc.text) for doc in documented_objects([pack])]
    assert docstrings == [
        ("pack.module", "pack.module", "A module."),
        ("pack.module.Outer", "pack.module.Outer", "A class.\n\nCleaned of its margin.\n    Indented."),
        ("pack.module.Outer", "pack.module.Outer.method", "A method."),
        ("pack.module.Outer", "pack.module.Outer.Inner.method", "Deep."),
        ("pack.module.conditional", "pack.module.conditional", "One line, in single quotes."),
        ("pack.compiled.ufunc", "pack.compiled.ufunc", "A ufunc."),
        ("pack.compiled.array", "pack.compiled.array.sort", "A method."),
        ("pack.module.local", "pack.module.local", "Scipy's way."),
        ("torch.abs", "torch.abs", "abs({args})."),
    ]
    assert pack not in sys.modules


def test_help_topics_of_the_standard_library_are_prose() -> None:
    topics = {doc.name: doc for doc in documented_objects(["pydoc_data"])}
    text = topics["pydoc_data.topics.assert"].text
    assert text.startswith('The "assert" statement\n')


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ConfigError, match="package no_such_package: not installed .*make setup"):
        list(documented_objects(["no_such_package"]))


def test_a_docstring_is_a_value() -> None:
    assert Docstring("p", "p.o", "p.o", "text") == Docstring("p", "p.o", "p.o", "text")
