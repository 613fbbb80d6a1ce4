"""Every option file composes, bears its file's name, binds, and passes the checks; the files are globbed."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from adapt.checks.run import check_values
from adapt.checks.targets import check_binds
from adapt.config import Config

CONF = Path(__file__).parents[1] / "conf"
NO_PART = ("experiment", "hydra", "tuning")  # these folders are no part of a run's config
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in NO_PART)
FILES = [file for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
NEEDS = {
    "corpus/files": ["corpus.path=x"],
    "corpus/hub": ["corpus.path=x", "corpus.revision=0"],
    "model/hf": ["model.path=x"],
    "vocabulary/extended": ["pretrain=[dapt]"],
    "task/jsonl": ["task.path=x"],
    "task/csv": ["task.path=x"],
    "task/parquet": ["task.path=x"],
    "task/datasets": ["task.path=x"],
    "task/conll": ["task.path=x", "evaluate=clean"],
    **{
        f"task/{name}": ["evaluate=clean"]
        for name in ("bc5cdr", "conll2003", "jnlpba", "ncbi_disease", "pydoc_entities")
    },
}


@cache
def composed(*overrides: str) -> Config:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check_values(compose("config", overrides=[*overrides]))


def chosen(file: Path) -> list[str]:
    group, name = file.parent.name, file.stem
    choice = f"{group}=[{name}]" if group == "pretrain" else f"{group}={name}"
    return [choice, *NEEDS.get(f"{group}/{name}", [])]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_an_option_file_composes_and_is_called_as_its_file(file: Path) -> None:
    cfg = composed(*chosen(file))
    part = cfg.pretrain[file.stem] if file.parent.name == "pretrain" else getattr(cfg, file.parent.name)
    assert part.name == file.stem
    assert yaml.safe_load(file.read_text())["name"] == file.stem


@pytest.mark.parametrize("file", sorted((CONF / "adversary").glob("*.yaml")), ids=lambda f: f.stem)
def test_an_adversary_binds_its_arguments(file: Path) -> None:
    check_binds("adversary.method", composed(f"adversary={file.stem}").adversary.method)


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda f: f.stem)
def test_a_study_composes_and_has_its_page_in_the_notebook(file: Path) -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"experiment={file.stem}"], return_hydra_config=True)
    assert cfg.experiment == file.stem
    assert str(cfg.hydra.mode).endswith("MULTIRUN")
    assert set(cfg.hydra.sweeper.params) & {"seed", "adaptation_seed"}
    page = (CONF.parent / "experiments" / file.stem / "README.md").read_text()
    for heading in ("Question", "Command", "Cost", "Expected", "Found"):
        assert f"## {heading}" in page, heading


def test_chains_keep_the_order_of_the_command_line() -> None:
    assert list(composed("pretrain=[dapt,tapt]").pretrain) == ["dapt", "tapt"]
    assert list(composed("pretrain=[tapt,dapt]").pretrain) == ["tapt", "dapt"]
    assert list(composed().pretrain) == []


def test_no_revision_is_invented() -> None:
    for file in (CONF / "model").glob("*.yaml"):
        assert composed(*chosen(file)).model.revision is None


def test_every_number_of_a_budget_is_used() -> None:
    text = "".join(file.read_text() for file in FILES if file.parent.name != "budget")
    for key in OmegaConf.load(CONF / "budget" / "quick.yaml"):
        assert key == "name" or f"budget.{key}}}" in text, key
