"""Check settings against the function that ``_target_`` names, whose source is read and not imported, to be fast."""

from __future__ import annotations

import ast
from typing import Annotated, Any, get_args, get_origin

from adapt import config
from adapt.chain.methods import constants, module_of
from adapt.checks.values import check_value, is_number
from adapt.config import AdversaryConfig, ConfigError, Range, suggestion
from adapt.project import packages


def check_binds(key: str, settings: dict[str, Any]) -> None:
    """Refuse settings that the target does not take; otherwise a partial fails only when it is called, in mid-run."""
    target = str(settings.get("_target_"))
    parameters = keyword_parameters(f"{key}._target_", target)
    given = {name: value for name, value in settings.items() if not name.startswith("_")}
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise ConfigError(f"{key}.{unknown[0]}: {target} has no such setting; {suggestion(unknown[0], parameters)}")
    required = [name for name, (_, has_default) in parameters.items() if not has_default]
    absent = sorted(set(required) - set(given))
    if absent:
        raise ConfigError(f"{key}.{absent[0]} has no value: {target} needs {', '.join(required)}")
    for name, value in given.items():
        kind, may_be = number(parameters[name][0])
        check_value(f"{key}.{name}", value, may_be)
        if kind is not None and not (is_number(value) and isinstance(value, (int, kind))):
            raise ConfigError(f"{key}.{name}={value!r}: {target} needs {kind.__name__} here")


def number(annotation: str) -> tuple[type | None, Range | None]:
    """The number type and range of an annotation: ``int``, ``float`` or a type of config.py; None for any other."""
    plain = {"int": int, "float": float}.get(annotation)
    annotated = getattr(config, annotation, None) if annotation.isidentifier() else None
    if get_origin(annotated) is not Annotated:
        return plain, None
    kind, may_be = get_args(annotated)
    return kind, may_be


def check_needs(key: str, adversary: AdversaryConfig) -> None:
    """Refuse what the method's module excludes by a constant: ``PERTURBS = True``, ``NEEDS_DROPOUT = "fresh"``."""
    declared = constants(module_of(adversary))
    if adversary.ball is None and declared.get("PERTURBS", True):
        raise ConfigError(
            f"{key}.ball=null: {key}={adversary.name} perturbs, and needs epsilon, norm, scope, ...; "
            "the module of a method that does not perturb must say PERTURBS = False"
        )
    if adversary.dropout != declared.get("NEEDS_DROPOUT", adversary.dropout):
        raise ConfigError(
            f"{key}.dropout={adversary.dropout}: {key}={adversary.name} works only with {declared['NEEDS_DROPOUT']!s}"
        )


def syntax(key: str, module: str) -> ast.Module:
    """A module's source, parsed and not imported."""
    file = packages.source_file(module)
    if file is None:
        raise ConfigError(f"{key}={module}: no such module as {module}")
    return ast.parse(file.read_text(encoding="utf-8"))


def keyword_parameters(key: str, target: str) -> dict[str, tuple[str, bool]]:
    """A function's keyword-only parameters: annotation, and whether there is a default. Read without importing it."""
    module, _, name = target.rpartition(".")
    functions = {node.name: node.args for node in syntax(key, module).body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        raise ConfigError(f"{key}={target}: no such function in {module}; {suggestion(name, functions)}")
    arguments = functions[name]
    return {
        argument.arg: (ast.unparse(argument.annotation) if argument.annotation else "", default is not None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
