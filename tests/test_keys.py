"""The ranges and choices of adapt/config.py: every number has a range, and every range and choice is enforced."""

from __future__ import annotations

import copy
import dataclasses
import math
import subprocess
import sys
from typing import Any, get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from adapt import config
from adapt.checks.targets import check_binds
from adapt.checks.values import check_single_values, nodes
from adapt.config import CONF, Config, ConfigError, Range, key

PARTS = [part for part in vars(config).values() if dataclasses.is_dataclass(part) and part is not Range]
FIELDS = {(part, field.name): field.metadata.get("may_be") for part in PARTS for field in dataclasses.fields(part)}
CHOICES = {place: words for place, words in FIELDS.items() if isinstance(words, tuple)}
RANGES = {place: numbers for place, numbers in FIELDS.items() if isinstance(numbers, Range)}
NUMBERS = (int, float, int | None, float | None, list[int], list[float], dict[str, float])
ALL_PARTS = (  # overrides whose configs together have every part
    [
        "pretrain=[knn_tapt_50]",
        "evaluate=ensemble",
        "adversary=pseudo_labelled",
        "+pretrain.knn_tapt_50.mix.general=.1",
    ],
    ["evaluate=text", "peft=lora"],
    ["evaluate=samples"],
)


def named(place: tuple[type, str]) -> str:
    return f"{place[0].__name__}.{place[1]}"


@pytest.fixture(scope="module")
def composed() -> list[DictConfig]:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return [compose("config", overrides=words) for words in ALL_PARTS]


@pytest.fixture(scope="module")
def where(composed: list[DictConfig]) -> dict[type, tuple[DictConfig, str]]:
    """For each part of the config, a config that has it and the part's key there."""
    return {OmegaConf.get_type(node): (cfg, path) for cfg in composed[::-1] for path, node in [*nodes(cfg)][::-1]}


def with_value(
    where: dict[type, tuple[DictConfig, str]], place: tuple[type, str], value: Any
) -> tuple[str, DictConfig]:
    """The key of a field, and a config with the value there; in a list or a mapping it is the only element."""
    part, name = place
    kind = str(get_type_hints(part)[name])
    held = [value] if kind.startswith("list") else {"general": value} if kind.startswith("dict") else value
    cfg, path = where[part]
    changed, full = copy.deepcopy(cfg), f"{path}.{name}" if path else name
    OmegaConf.update(changed, full, held, merge=False)
    return full, changed


def just_outside(numbers: Range) -> list[float]:
    outside = [bound - 1 for bound in (numbers.at_least,) if bound is not None]
    outside += [bound + 1 for bound in (numbers.at_most,) if bound is not None]
    return outside + [bound for bound in (numbers.above, numbers.below) if bound is not None]


def test_every_number_has_a_range_or_says_that_it_has_none() -> None:
    numbers = {place for place in FIELDS if get_type_hints(place[0])[place[1]] in NUMBERS}
    assert len(numbers) > 80
    assert {named(place) for place in numbers ^ set(RANGES)} == set()


@pytest.mark.parametrize("place", CHOICES, ids=named)
def test_each_choice_is_accepted_and_no_other_value(
    place: tuple[type, str], where: dict[type, tuple[DictConfig, str]]
) -> None:
    for word in CHOICES[place]:
        check_single_values(with_value(where, place, word)[1])
    full, cfg = with_value(where, place, "another")
    with pytest.raises(ConfigError) as refused:
        check_single_values(cfg)
    possible = ", ".join(word or "null" for word in CHOICES[place])
    assert str(refused.value) == f"{full}=another: possible are {possible}"


@pytest.mark.parametrize("place", RANGES, ids=named)
def test_a_number_out_of_its_range_is_refused(
    place: tuple[type, str], where: dict[type, tuple[DictConfig, str]]
) -> None:
    kind = int if "int" in str(get_type_hints(place[0])[place[1]]) else float
    for number in map(kind, just_outside(RANGES[place])):
        full, cfg = with_value(where, place, number)
        full += ".general" * full.endswith(".mix")
        with pytest.raises(ConfigError) as refused:
            check_single_values(cfg)
        assert str(refused.value) == f"{full}={number}: must be {RANGES[place]}"


def test_what_a_range_says_is_what_it_holds() -> None:
    assert str(Range(at_least=1)) == "1 or more" and 1 in Range(at_least=1) and 0.5 not in Range(at_least=1)
    assert str(Range(above=0)) == "more than 0" and 0 not in Range(above=0)
    share = Range(at_least=0, below=1)
    assert str(share) == "at least 0 and less than 1" and 0 in share and 1 not in share
    assert math.nextafter(1, 0) in share
    assert str(Range(above=0, at_most=1)) == "more than 0 and at most 1" and 1 in Range(above=0, at_most=1)
    assert str(Range(above=0, because="why")) == "more than 0; why"


def test_a_key_says_one_thing_of_itself() -> None:
    with pytest.raises(AssertionError, match="any_number"):
        key()
    with pytest.raises(AssertionError, match="any_number"):
        key(at_least=1, any_number=True)


def test_the_error_names_what_was_set_and_not_what_refers_to_it(composed: list[DictConfig]) -> None:
    for where in ("budget.epochs", "model.finetune_learning_rate", "adaptation_seed"):
        changed = copy.deepcopy(composed[0])
        OmegaConf.update(changed, where, -1)
        with pytest.raises(ConfigError, match=f"^{where}=-1"):
            check_single_values(changed)


def test_an_adversary_says_in_its_signature_what_its_settings_may_be(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brand_new.py").write_text("def attack(step, *, rounds: Count, decay: Share, free: float): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    given = {"_target_": "brand_new.attack", "rounds": 1, "decay": 0.5, "free": -3}
    check_binds("adversary.method", given)
    for name, value, words in [
        ("rounds", 0, "adversary.method.rounds=0: must be 1 or more"),
        ("rounds", 1.5, "adversary.method.rounds=1.5: brand_new.attack needs int here"),
        ("decay", 1, "adversary.method.decay=1: must be at least 0 and less than 1"),
        ("free", "a", "adversary.method.free='a': brand_new.attack needs float here"),
    ]:
        with pytest.raises(ConfigError) as refused:
            check_binds("adversary.method", {**given, name: value})
        assert str(refused.value) == words


def test_importing_the_types_of_a_config_is_cheap() -> None:
    heavy = "import sys, adapt.config; sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", heavy], cwd=CONF.parent, check=False).returncode == 0
