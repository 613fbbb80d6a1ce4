"""Docstrings of installed packages, read from their sources with ``ast``: no package is imported or run."""

from __future__ import annotations

import ast
import gc
import importlib.util
import inspect
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapt.config import ConfigError

KEY_NAME = "data.pydoc.docstrings"
VERSION = 1

STANDARD_LIBRARY = "python"  # the package name that stands for the standard library
_NOT_DOCUMENTATION = {"test", "tests", "testing", "idle_test", "conftest.py", "site-packages", "_vendor", "externals"}
_DOCUMENTING_CALLS = {"add_newdoc", "add_docstr"}  # numpy, scipy and torch document compiled functions this way


@dataclass(frozen=True)
class Docstring:
    """``text`` documents ``name``, a part of ``owner`` (a module, or a top-level class or function), in ``package``."""

    package: str
    owner: str
    name: str
    text: str


def documented_objects(packages: Iterable[str]) -> Iterator[Docstring]:
    """Every docstring of the packages, without indentation: packages as given, files by path, then in source order.

    Files that this Python cannot parse (templates, for example) are skipped. Raises ConfigError if a package is not
    installed.
    """
    for package in packages:
        root = folder_of(package)
        for file in sorted(root.rglob("*.py")):
            inside = file.relative_to(root)
            if _NOT_DOCUMENTATION.isdisjoint(inside.parts):
                yield from _of_file(package, _module_name(package, inside), file.read_bytes())


def folder_of(package: str) -> Path:
    """The folder of a package's sources. Raises ConfigError if the package is not installed."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"package {package}: not installed in this environment, but its docstrings are part of the corpus; "
            "install requirements.lock (make setup)"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _module_name(package: str, inside: Path) -> str:
    parts = inside.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if package == STANDARD_LIBRARY else (package, *parts))


def _of_file(package: str, module: str, source: bytes) -> Iterator[Docstring]:
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        tree = _parse(source)
    except SyntaxError:
        return
    if module == "pydoc_data.topics":  # the chapters of the language reference that help() shows
        yield from _of_topics(package, module, tree)
        return
    for owner, name, text in _of_body(tree, module, module):
        cleaned = inspect.cleandoc(text)
        if cleaned:
            yield Docstring(package, owner, name, cleaned)


def _parse(source: bytes) -> ast.Module:
    """ast.parse without the garbage collector, which would take two thirds of the time and find no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings(action="ignore"):  # about invalid escapes in other people's sources
            return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


def _of_body(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, owner: str, name: str
) -> Iterator[tuple[str, str, str]]:
    """(owner, name, raw docstring) of a node and of all that its body defines, except functions inside functions."""
    text = ast.get_docstring(node, clean=False)
    if text:
        yield owner, name, text
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    for statement in _unconditional(node.body):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = f"{name}.{statement.name}"
            yield from _of_body(statement, inner if isinstance(node, ast.Module) else owner, inner)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield from _of_call(statement.value, name)


def _unconditional(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, where those inside ``if``, ``try`` and ``with`` take the place of the block."""
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            yield from _unconditional(statement.body)
            yield from _unconditional(getattr(statement, "orelse", ()))
        else:
            yield statement


def _of_call(call: ast.Call, module: str) -> Iterator[tuple[str, str, str]]:
    """The docstring in ``add_newdoc(place, name, text or (method, text))`` or ``add_docstr(object, text)``."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if function not in _DOCUMENTING_CALLS or len(call.args) < 2:
        return
    *place, last = call.args
    path = [_dotted(part) for part in place]
    owner = ".".join(path if len(path) > 1 or "." in path[0] else [module, *path])
    if isinstance(last, ast.Tuple) and len(last.elts) == 2:
        method, last = last.elts
        name = f"{owner}.{_dotted(method)}"
    else:
        name = owner
    if isinstance(last, ast.Call) and isinstance(last.func, ast.Attribute):  # "...".format(**common_arguments)
        last = last.func.value
    if isinstance(last, ast.Constant) and isinstance(last.value, str):
        yield owner, name, last.value


def _dotted(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _of_topics(package: str, module: str, tree: ast.Module) -> Iterator[Docstring]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for topic, text in sorted(ast.literal_eval(statement.value).items()):
                yield Docstring(package, f"{module}.{topic}", f"{module}.{topic}", inspect.cleandoc(text))
