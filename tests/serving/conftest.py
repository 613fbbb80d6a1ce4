"""Every test that takes ``method`` runs for each option file of conf/peft that trains an adapter, and for two more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from finetuned import EVERY, base_of, finetune, write_bases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", EVERY)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_bases(tmp_path_factory.mktemp("served_bases"))


@pytest.fixture(scope="session")
def finetuned(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a method fine-tuned for some labels; made once for the same arguments."""
    top, made = tmp_path_factory.mktemp("finetuned"), {}

    def make(method: str, *, pooling: str = "mean", labels: int = 3, seed: int = 0, base: Path | None = None) -> Path:
        key = (method, pooling, labels, seed, base)
        if key not in made:
            made[key] = top / f"{len(made)}_{method}"
            finetune(base or bases[base_of(method)], method, made[key], pooling=pooling, labels=labels, seed=seed)
        return made[key]

    return make
