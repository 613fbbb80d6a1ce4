"""The definitions of adapt that a function can run, by the names in its code. Runs none of it.

A function reaches what its body names: functions, classes (whole) and constants of its module and of those that it
imports, at the head or inside, and what is written as the string "adapt.<module>.<name>". Annotations and what is
under TYPE_CHECKING do not run. Methods are reached with the class of their object.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
Name = tuple[str, str]  # a module and what it defines; "" for all of it


@dataclass
class Head:
    """A module's top level: imported names, definitions, and statements that run on import."""

    imports: dict[str, Name] = field(default_factory=dict)
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    loose: list[ast.AST] = field(default_factory=list)


def path_of(module: str) -> Path:
    path = REPOSITORY / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(node: ast.AST) -> dict[str, Name]:
    """What an import of adapt binds."""
    if isinstance(node, ast.Import):
        assert not any(alias.name.startswith("adapt") for alias in node.names), (
            "write: from adapt.<room> import <module>"
        )
    if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != "adapt":
        return {}
    return {
        alias.asname or alias.name: (whole, "") if path_of(whole).exists() else (str(node.module), alias.name)
        for alias in node.names
        if (whole := f"{node.module}.{alias.name}")
    }


@cache
def head(module: str) -> Head:
    found = Head()

    def take(statements: list[ast.stmt]) -> None:
        for node in statements:
            if isinstance(node, ast.Import | ast.ImportFrom):
                found.imports |= imported(node)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.definitions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            found.definitions.setdefault(name.id, []).append(node)
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                take(node.orelse)
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                found.loose.append(node)

    take(ast.parse(path_of(module).read_text()).body)
    return found


def annotations(node: ast.AST) -> Iterator[ast.AST]:
    for part in ast.walk(node):
        for name in ("annotation", "returns"):
            if isinstance(written := getattr(part, name, None), ast.AST):
                yield from ast.walk(written)


def named(module: str, node: ast.AST) -> set[Name]:
    """What of adapt a definition names."""
    parts = [part for part in ast.walk(node)]
    imports = {**head(module).imports, **{name: of for part in parts for name, of in imported(part).items()}}
    own = {part.arg for part in parts if isinstance(part, ast.arg)}
    own |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    passed = {id(part) for part in annotations(node)}
    found: set[Name] = set()
    for part in parts:
        if id(part) in passed:
            continue
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id not in own:
            whole, name = imports.get(part.value.id, ("", ""))
            if whole and not name:
                found.add((whole, part.attr))
                passed.add(id(part.value))
        if isinstance(part, ast.Name) and part.id not in own and id(part) not in passed:
            if part.id in imports:
                found.add(imports[part.id])
            elif part.id in head(module).definitions:
                found.add((module, part.id))
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.startswith("adapt."):
            whole, _, name = part.value.rpartition(".")
            is_source = path_of(part.value).exists()  # the name of a module, which runs nothing
            found |= {(whole, name)} if path_of(whole).exists() and not is_source else set()
    return found


@cache
def follows(name: Name) -> frozenset[Name]:
    """What a definition names, and what runs because its module is imported."""
    module, inside = name
    top = head(module)
    if inside in top.imports:
        return frozenset({top.imports[inside]})
    assert not inside or inside in top.definitions, f"{module} has no {inside}"
    nodes = top.definitions[inside] if inside else [node for each in top.definitions.values() for node in each]
    return frozenset(each for node in [*nodes, *top.loose] for each in named(module, node))


def reached(roots: Iterable[Name], stops: Callable[[Name], bool]) -> dict[str, str]:
    """The modules of which the roots reach a definition, each with one path to it; stops: names not to follow."""
    before: dict[Name, Name | None] = dict.fromkeys(roots)
    ways: dict[str, str] = {}
    waiting = list(before)
    for name in waiting:  # grows
        if name[1] not in head(name[0]).imports:
            if stops(name):
                continue
            ways.setdefault(name[0], " <- ".join(".".join(each) for each in back(name, before)))
        for each in sorted(follows(name) - set(before)):
            before[each] = name
            waiting.append(each)
    return ways


def back(name: Name, before: dict[Name, Name | None]) -> Iterator[Name]:
    step: Name | None = name
    while step is not None:
        yield step
        step = before[step]
