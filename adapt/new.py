"""Start a study or an adversary of your own from a commented skeleton, which runs as it is.

``adapt new study NAME`` writes conf/experiment/NAME.yaml and experiments/NAME/README.md.
``adapt new adversary NAME`` writes conf/adversary/NAME.yaml and PACKAGE/NAME.py.

Both go into the project: the current directory (or ADAPT_PROJECT); within a checkout of adapt, the checkout.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from pathlib import Path
from string import Template

from adapt.config import ConfigError
from adapt.project import options, packages
from adapt.project.folder import folder, is_checkout

SKELETONS = Path(options.__file__).with_name("skeletons")
STUDY = re.compile(r"[A-Za-z]\w*([.-]\w+)*", re.ASCII)
FUNCTION = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
RESERVED = ("none", "null", "true", "false", "yes", "no", "on", "off")  # they mean something in YAML or in adapt
VERSIONED = '\nKEY_NAME = "adversary.$NAME"\nVERSION = 1\n'  # by these keys know adapt's own sources


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("study", "adversary"))
    parser.add_argument("name", help="the name of its files, and in tables; for an adversary also of its function")
    parser.add_argument(
        "--package", help="the adversary's package (default: the project's; in a checkout adapt.adversary)"
    )
    args = parser.parse_args(arguments)
    try:
        if args.package is not None and args.what == "study":
            raise ConfigError("--package: a study has no package")
        print(study(args.name) if args.what == "study" else adversary(args.name, args.package))
    except (ConfigError, OSError) as error:
        sys.exit(f"error: {error}")


def study(name: str) -> str:
    """Write a study's skeleton; returns what to print. Raises ConfigError for a bad name or one that exists."""
    if not STUDY.fullmatch(name) or name.lower() in RESERVED:
        raise ConfigError(
            f"{name}: cannot name a study; possible are letters, digits and _, with . or - inside, and a letter first"
        )
    check_new("experiment", name)
    command = f"adapt experiment={name}"
    write(
        {
            folder() / "conf" / "experiment" / f"{name}.yaml": filled("study.yaml", NAME=name, COMMAND=command),
            folder() / "experiments" / name / "README.md": filled("study.md", NAME=name, COMMAND=command),
        }
    )
    return f"Run it: {command}"


def adversary(name: str, package: str | None = None) -> str:
    """Write an adversary's skeleton; returns what to print. Raises ConfigError for a bad name or one that exists."""
    if not FUNCTION.fullmatch(name) or keyword.iskeyword(name) or name in RESERVED:
        raise ConfigError(
            f"{name}: cannot name an adversary; it names a Python function: lower-case letters, digits and _, "
            "and a letter first"
        )
    check_new("adversary", name)
    package = own_package(package)
    place, own = folder().joinpath(*package.split(".")), package.partition(".")[0] != "adapt"
    versioned = "" if own else Template(VERSIONED).substitute(NAME=name)
    source = filled("adversary.py.txt", NAME=name, VERSION=versioned)
    files = {
        place / f"{name}.py": source,
        folder() / "conf" / "adversary" / f"{name}.yaml": filled(
            "adversary.yaml", NAME=name, MODULE=f"{package}.{name}"
        ),
    }
    begin = place / "__init__.py"
    write(files if begin.exists() else {begin: f'"""Adversaries of {folder().name}."""\n', **files})
    if not own:
        return f"Run it: adapt budget=smoke adversary={name}\nMake its version known: python tests/test_versions.py"
    return (
        f"Run it: adapt {packages.FLAG} {package} budget=smoke adversary={name}\n"
        f"{packages.FLAG} (or {packages.VARIABLE}={package} in the environment) allows configs to name this package"
    )


def own_package(given: str | None) -> str:
    """The package for the project's adversaries: given, else allowed by the user, else the project's, else a new one.

    Raises ConfigError where several are possible, and for a name under which Python would find another package.
    """
    if is_checkout():
        if given not in (None, "adapt.adversary"):
            raise ConfigError(f"--package {given}: in a checkout of adapt it is adapt.adversary")
        return "adapt.adversary"
    there = sorted(path.parent.name for path in folder().glob("[A-Za-z_]*/__init__.py"))
    possible = [given] if given is not None else packages.given() or there
    if len(possible) > 1:
        raise ConfigError(f"{folder()}: several packages are possible ({', '.join(possible)}); choose with --package")
    name = next(iter(possible), None) or re.sub(r"\W+", "_", folder().name, flags=re.ASCII).strip("_")
    parts = name.split(".")
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ConfigError(f"{name}: cannot name a Python package; give one with --package")
    top = parts[0]
    if top not in there and importlib.util.find_spec(top) is not None:
        raise ConfigError(f"{top}: is the name of an installed package; give another with --package")
    return name


def check_new(group: str, name: str) -> None:
    """Raise ConfigError for an option that exists, shipped or in the project."""
    file = options.file_of(group, name)
    if file is not None:
        raise ConfigError(f"{name}: exists already: {file}")


def filled(skeleton: str, **names: str) -> str:
    """A skeleton's text with the names filled in."""
    return Template((SKELETONS / skeleton).read_text(encoding="utf-8")).substitute(names)


def write(files: dict[Path, str]) -> None:
    """Write new files and print their paths. Raises ConfigError, and writes none, if one of them exists."""
    for path in files:
        if path.exists():
            raise ConfigError(f"{path}: exists already; nothing was written")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
