"""A changed source has a new VERSION: tests/versions.json holds the version and the hash of each source.

After a change that alters results, bump the module's VERSION; its stages are then built again. If the result stays the
same (a message, a faster way to the same bytes), say so in the commit. Then renew the file:
python tests/test_versions.py
"""

import ast
import hashlib
import json
import re
from pathlib import Path

from adapt.store import keys

REPOSITORY = Path(__file__).parents[1]
VERSIONS = Path(__file__).with_name("versions.json")


def sources() -> dict[str, list]:
    """VERSION and hash of every versioned module, by its name in keys; docstrings and comments do not count."""
    by_name: dict[str, list] = {}
    for file in sorted((REPOSITORY / "adapt").rglob("*.py")):
        version = re.search(r"^VERSION = (\d+)$", file.read_text(), re.MULTILINE)
        if version:
            name, _ = keys.source_version(module_of(file))
            assert name not in by_name, f"two sources are called {name} in keys: {file} and another"
            by_name[name] = [int(version[1]), code_hash(file.read_text())]
    return by_name


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)


def code_hash(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def test_a_changed_source_has_a_new_version() -> None:
    kept, now = json.loads(VERSIONS.read_text()), sources()
    unbumped = [
        name for name in now if name in kept and now[name][0] == kept[name][0] and now[name][1] != kept[name][1]
    ]
    assert not unbumped, f"changed without a new VERSION: {unbumped}; see the docstring of {__file__}"
    assert now == kept, f"renew {VERSIONS.name}: python {Path(__file__).relative_to(REPOSITORY)}"


def test_the_hash_sees_code_and_not_comments() -> None:
    assert code_hash('def f():\n    """One."""\n    return 1  # a\n') == code_hash(
        'def f():\n    """Two."""\n    return 1\n'
    )
    assert code_hash("def f():\n    return 1\n") != code_hash("def f():\n    return 2\n")


def test_every_module_of_a_key_has_a_version() -> None:
    chains = [file.read_text() for file in (REPOSITORY / "adapt" / "chain").glob("*.py")]
    named = {name for text in chains for name in re.findall(r'"(adapt\.[a-z_.]+)"', text)}
    assert {"adapt.training.loop", "adapt.data.tokens.tokens", "adapt.tasks.heldout"} <= named
    assert {keys.source_version(module)[0] for module in named} <= set(sources())
    targets = {
        match[1].rpartition(".")[0]
        for file in (REPOSITORY / "conf").rglob("*.yaml")
        if (match := re.search(r"_target_: (adapt\.\S+)", file.read_text()))
    }
    assert targets and {keys.source_version(module)[0] for module in targets} <= set(sources())


if __name__ == "__main__":
    VERSIONS.write_text(json.dumps(sources(), indent=1) + "\n")
