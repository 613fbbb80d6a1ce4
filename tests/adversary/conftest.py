"""Every test that takes ``adversary`` runs for each option file of conf/adversary, unless that file is exempt.

One that takes ``perturbing`` runs for those with a ball. The exemptions are printed at the end.
"""

from __future__ import annotations

from typing import Any

import pytest
from adversaries import OPTIONS, Adversary
from hypothesis import settings

settings.register_profile("same every time", deadline=None, derandomize=True, database=None)
settings.load_profile("same every time")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "holds(name): the property that an option file may be exempt from")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    adversaries = [Adversary.read(file).visible() for file in OPTIONS]
    for name, chosen in {"adversary": adversaries, "perturbing": [each for each in adversaries if each.ball]}.items():
        if name in metafunc.fixturenames:
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
