"""Every test that takes ``adversary`` runs for each option file of conf/adversary, unless that file is exempt.

One that takes ``perturbing`` runs for those with a ball. The exemptions are printed at the end.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from adversaries import OPTIONS, Adversary
from hypothesis import settings

settings.register_profile("same every time", deadline=None, derandomize=True, database=None)
settings.load_profile("same every time")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "holds(name): the property that an option file may be exempt from")


@cache
def adversaries() -> list[Adversary]:
    return [Adversary.read(file).visible() for file in OPTIONS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, wanted in {"adversary": lambda each: True, "perturbing": lambda each: each.ball}.items():
        if name in metafunc.fixturenames:
            chosen = [each for each in adversaries() if wanted(each)]
            metafunc.parametrize(name, chosen, ids=[each.name for each in chosen])


@pytest.fixture(autouse=True)
def _exemption(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("holds")
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    adversary = given.get("adversary") or given.get("perturbing")
    if marker and adversary and marker.args[0] in adversary.exempt:
        pytest.skip(f"{adversary.name} is exempt from {marker.args[0]}: {adversary.exempt[marker.args[0]]}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for adversary in map(Adversary.read, OPTIONS):
        for name, reason in adversary.exempt.items():
            terminalreporter.write_line(f"adversary {adversary.name} is exempt from {name}: {reason}")
