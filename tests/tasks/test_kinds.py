"""Data, tasks and metrics know each kind of task by the same name; no other file compares a kind with a name."""

import ast
from pathlib import Path

import pytest

from adapt.config import TaskConfig
from adapt.data import tasks
from adapt.store import keys
from adapt.table import metrics
from adapt.tasks.kinds import KINDS

PACKAGE = Path(tasks.__file__).parents[1]


def test_data_tasks_and_metrics_know_the_same_kinds() -> None:
    assert list(tasks.KINDS) == list(KINDS)
    assert {metric.kind for metric in metrics.METRICS.values()} == set(KINDS)


@pytest.mark.parametrize("name", list(tasks.KINDS))
def test_a_kind_names_modules_that_keys_can_know(name: str) -> None:
    kind = tasks.KINDS[name]
    for module in (*kind.reading, *kind.answering):
        assert keys.source_version(module)


@pytest.mark.parametrize("name", list(tasks.KINDS))
def test_a_kind_reads_no_file_of_a_format_that_it_does_not_have(name: str) -> None:
    with pytest.raises(ValueError, match="task.format=xml: possible are pydoc, jsonl"):
        tasks.task_files(TaskConfig(kind=name, format="xml"))


def test_nothing_else_compares_a_kind_with_a_name() -> None:
    asked = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Constant) and side.value in KINDS
    ]
    assert asked == []
