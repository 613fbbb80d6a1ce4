"""Every command that the documents show is parsed by its own parser, and every key that they name is a key.

Words in angle brackets stand for something, and names that a shown ``adapt new`` makes exist only then: of those only
the key before them is checked.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from adapt.__main__ import VERBS
from adapt.checks.values import nodes, refuse_unknown_keys
from adapt.config import CONF, Config

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
STUDIES = sorted((REPOSITORY / "experiments").glob("*/README.md"))
PLACEHOLDER = "placeholder"
BASES = (  # overrides whose configs together have every part
    ("pretrain=[dapt,tapt]", "evaluate=ensemble", "adversary=pseudo_labelled"),
    (
        "pretrain=[dapt,tapt,knn_tapt_50]",
        "evaluate=adaptation",
        "adversary=pgd",
        "peft=lora",
        "peft@pretrain_peft=lora",
    ),
    ("pretrain=[dapt,dsir]", "evaluate=text", "adversary=smart", "vocabulary=extended"),
    ("evaluate=samples",),
)
FLAGS = {"-m", "--multirun", "--resolve", "--help"}
FILES = ("json", "jsonl", "md", "csv", "yaml", "tex", "parquet", "arrow", "py", "conll", "safetensors", "txt", "html")
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()}


class ParsedError(Exception):
    """Raised in place of a command once its arguments have been parsed."""


def fenced(page: Path) -> Iterator[str]:
    """The lines of the page's code blocks."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside:
            yield line


def spans(page: Path) -> list[str]:
    """The page's inline code, a span that goes over lines as one."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text)]


def commands(page: Path) -> list[str]:
    """Every ``adapt ...`` that the page shows, without comments and redirections; <x> is PLACEHOLDER."""
    found = []
    for line in [*fenced(page), *spans(page)]:
        for part in re.split(r"&&|;", re.sub(r"\s+#.*|\s[>|] .*", "", re.sub(r"<[^<>]*>", PLACEHOLDER, line))):
            if re.match(r"(python -m )?adapt\s+\S", part.strip()) and part.split()[1] != PLACEHOLDER:
                found.append(part.strip())
    return found


SHOWN = [(page, command) for page in (*PAGES, *STUDIES) for command in commands(page)]
MADE = {words[3] for _, shown in SHOWN if len(words := shown.split()) > 3 and words[1] == "new"}  # by ``adapt new``


@cache
def composed(*overrides: str) -> DictConfig:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=[*overrides])


@cache
def bases() -> list[DictConfig]:
    return [composed(*words) for words in BASES]


def check_run(words: list[str]) -> None:
    """Compose the first and the last run of a command; overrides of placeholders are checked by their key."""
    given, words = [], [word for word in words if word not in FLAGS]
    for flag in ("--cfg", "--packages", "--trials"):
        if flag in words:
            del words[words.index(flag) : words.index(flag) + 2]
    for word in words:
        key, _, value = word.partition("=")
        assert key and "=" in word, f"{word} is no override"
        if key.startswith("hydra/"):
            assert (CONF / key / f"{value}.yaml").exists(), word
        elif key.startswith("hydra.launcher."):
            texts = [file.read_text(encoding="utf-8") for file in (CONF / "hydra" / "launcher").glob("*.yaml")]
            assert any(re.search(rf"^\s*#?\s*{key.rpartition('.')[2]}:", text, re.MULTILINE) for text in texts), word
        elif PLACEHOLDER in value or value in MADE:
            check_key(key)
        elif not key.startswith("hydra."):
            given.append(word)
    if not given:
        return
    parsed = OverridesParser.create().parse_overrides([word.replace("glob(*)", "full") for word in given])
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    for job in {0: jobs[0], 1: jobs[-1]}.values():
        refuse_unknown_keys(composed(*job))


def check_key(key: str) -> None:
    """A group, or a key of one of the configs."""
    name = key.lstrip("+").partition("@")[0]
    assert name in GROUPS or any(exists(cfg, name) for cfg in bases()), f"{key} is no key"


def exists(cfg: DictConfig, dotted: str) -> bool:
    parent, _, name = dotted.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return isinstance(node, DictConfig) and name in {str(key) for key in node}


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=lambda shown: shown if isinstance(shown, str) else shown.name)
def test_a_shown_command_is_parsed(page: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command.replace("python -m ", ""))[1:]
    if words[0] not in VERBS:
        check_run(words)
        return
    if all(word.startswith("--") for word in words[1:]):  # the verb is named, not shown
        return
    results: list[argparse.Namespace] = []

    def parsed(how: Any) -> Any:
        def parse(parser: argparse.ArgumentParser, arguments: Any = None, namespace: Any = None) -> None:
            monkeypatch.undo()
            results.append(how(parser, arguments, namespace))
            raise ParsedError

        return parse

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, parsed(getattr(argparse.ArgumentParser, name)))
    with pytest.raises(ParsedError):
        importlib.import_module(VERBS[words[0]][0]).main(words[1:])
    check_run([word for word in getattr(results[0], "overrides", []) if "=" in word])


NAMED = [
    (page, span)
    for page in PAGES
    for span in dict.fromkeys(
        word for words in spans(page) if not words.startswith("adapt ") for word in re.split(r" (?=[+\w@.]+=)", words)
    )
    if re.fullmatch(r"\+?[a-z_]+(@\w+)?(\.[\w<>]+)*(=\S.*)?", span) and ("." in span.partition("=")[0] or "=" in span)
]


def applied(cfg: DictConfig, word: str) -> bool:
    """Whether Hydra could apply an override to this config: its key exists, or a + adds one that may exist."""
    override = OverridesParser.create().parse_override(word)
    name = override.key_or_group
    if not override.is_add() and not exists(cfg, name):
        return False
    changed = copy.deepcopy(cfg)
    value = override.value() if not override.is_sweep_override() else next(override.sweep_iterator())
    OmegaConf.update(changed, name, value, force_add=override.is_add())
    refuse_unknown_keys(changed)
    return True


@pytest.mark.parametrize(("page", "span"), NAMED, ids=lambda shown: shown if isinstance(shown, str) else shown.name)
def test_a_named_key_is_a_key(page: Path, span: str) -> None:
    """``task.path=<folder>``, ``retention.toward_start``, ``budget=smoke|quick|full``."""
    text = span.replace("<stage>", "dapt")
    key, equals, value = text.partition("=")
    name = key.lstrip("+").partition("@")[0]
    top, inner = set(bases()[0]), {path.rpartition(".")[2] for cfg in bases() for path, _ in nodes(cfg)}
    if name.rpartition(".")[2] in FILES or name.partition(".")[0] not in top | inner or name.startswith("hydra"):
        return  # a file, a name of Python's, a column of the table
    if name != name.lower():
        return  # a class
    if name in GROUPS and equals:
        options = {file.stem for file in (CONF / name).glob("*.yaml")}
        for option in re.split(r"[|,]", value.strip("[]")):
            assert option in options or set("<.") & set(option) or option == "", f"{page.name}: {span}"
        return
    if name.partition(".")[0] not in top:  # the end of a key: masking.rate
        paths = [f"{path}.{child}" for cfg in bases() for path, node in nodes(cfg) for child in node]
        assert any(path.endswith(f".{name}") for path in paths), f"{page.name}: {span} is no key"
        return
    value = re.split(r"[|]", value)[0]
    if not equals or "<" in value or "..." in value:
        assert any(exists(cfg, name) for cfg in bases()), f"{page.name}: {span} is no key"
        return
    assert any(applied(cfg, f"{key}={value}") for cfg in bases()), f"{page.name}: {span} cannot be typed"


@pytest.mark.parametrize(
    "word", ["pretrain.dapt.mix.general=0.05", "finetune.learning_rate=1", "+retention.toward_start=1", "+seeed=1"]
)
def test_what_cannot_be_typed_is_found(word: str) -> None:
    for cfg in bases():
        try:
            assert not applied(cfg, word)
        except ValueError as error:
            assert "no such key" in str(error)


def test_the_documents_show_commands_of_many_verbs() -> None:
    shown = {command.split()[1] for _, command in SHOWN}
    assert len(SHOWN) > 40 and len(NAMED) > 40 and len(shown & set(VERBS)) >= 11
