"""The option files that a command can use: those that adapt ships, and those of the project's own conf/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from adapt.config import CONF, ConfigError
from adapt.project import folder


def own_conf() -> Path | None:
    """The project's own conf/; None if it has none, or only the shipped one.

    Raises ConfigError if ADAPT_PROJECT names no folder, for a file with the name of a shipped one, and for an option
    whose ``name`` is not its file's: a name in a table of results must not mean two things.
    """
    project = folder.folder()
    if not project.is_dir():
        raise ConfigError(f"{folder.VARIABLE}={project}: no such folder")
    conf = project / "conf"
    if not conf.is_dir() or conf.samefile(CONF):
        return None
    for file in sorted(conf.rglob("*.yaml")):
        name = file.relative_to(conf)
        if (CONF / name).exists():
            raise ConfigError(f"{file}: adapt ships a conf/{name} of its own; give yours another name")
        label = re.search(r"^name: *[\"']?([^\s\"'#]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        if label is not None and label[1] != file.stem:
            raise ConfigError(f"{file}: has name: {label[1]}, by which tables would call it; must be name: {file.stem}")
    return conf


def folders() -> list[Path]:
    """Every conf/ that holds options, the shipped one first."""
    own = own_conf()
    return [CONF] if own is None else [CONF, own]


def names(group: str) -> list[str]:
    """The names of a group's options, such as ``adversary``, sorted."""
    return sorted({file.stem for conf in folders() for file in (conf / group).glob("*.yaml")})


def is_group(name: str) -> bool:
    """Whether any conf/ has such a group of options."""
    return any((conf / name).is_dir() for conf in folders())


def file_of(group: str, name: str) -> Path | None:
    """The file of an option; None where there is no such option."""
    files = (conf / group / f"{name}.yaml" for conf in folders())
    return next((file for file in files if file.is_file()), None)


class ProjectSearchPath(SearchPathPlugin):
    """Tells Hydra, whenever it is initialised, where else to look for options."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the project's conf/ to what Hydra searches."""
        own = own_conf()
        if own is not None:
            search_path.append("project", str(own))


Plugins.instance().register(ProjectSearchPath)


@contextmanager
def composing() -> Iterator[None]:
    """Within the block ``hydra.compose`` can use all these options."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield
