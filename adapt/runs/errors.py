"""Errors of Hydra, OmegaConf and the file system as one sentence: which override or file, and what is possible."""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from adapt.config import ConfigError, first_line, suggestion
from adapt.project.options import names as option_names
from adapt.store.entries import disk_is_full

QUOTING = (
    "A value with a quotation mark, a comma, =, ~, a bracket or a space is quoted for Hydra, and once more for the "
    'shell: \'task.path="it is = here"\'; a quotation mark of the same kind inside is written \\"'
)
EXTRAS = {
    "joblib": "joblib",
    "submitit_slurm": "slurm",
    "submitit_local": "slurm",
}  # launcher -> the extra


def readable(error: BaseException) -> str:
    """The error's message, completed with the override that caused it and the keys or options that are possible."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, MissingConfigException) and "/" in str(error.missing_cfg_file):
        return missing_option(str(error.missing_cfg_file), error.options)
    if disk_is_full(error):
        return f"{getattr(error, 'filename', None) or 'runtime.root'}: the disk is full; nothing finished is lost"
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and error.filename:
        return f"{error.filename}: {error.strerror}; runtime.root must be a folder that can be written to"
    if isinstance(error, OSError) and error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR) and error.filename:
        return f"{error.filename}: {error.strerror}; runtime.root must be a folder, or a path at which there is nothing"
    if isinstance(error, OverrideParseException):
        return f"{str(error).strip()}\n{QUOTING}"
    if isinstance(error, TypeError) and (nested := [word for word in sys.argv[1:] if "=[[" in word]):
        return f"{nested[0]}: a list in a list; names stand in one list, such as pretrain=[dapt,tapt]"
    override = override_at_fault(error)
    if override is None and isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {first_line(error)}"
    if override is None:
        message = str(error).strip().partition("\n\nConfig search path")[0]
        return message if isinstance(error, HydraException) else f"{type(error).__name__}: {message}"
    return f"{override}: {reason(override, error.__cause__ or error)}"


def missing_option(path: str, options: Sequence[str] | None = None) -> str:
    """The message for a missing option file.

    path: its group/name. options: the options of the group, where Hydra listed them.
    """
    group, _, name = path.rpartition("/")
    if group == "hydra/launcher" and name in EXTRAS:
        return f"{group}={name}: its package is not installed; pip install 'adapt[{EXTRAS[name]}]'"
    return f"{group}={name}: no such option; {suggestion(name, options or option_names(group))}"


def override_at_fault(error: BaseException) -> str | None:
    """The override that Hydra was applying when it raised: some messages do not name it, but the stack frames do."""
    innermost = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        override = frame.f_locals.get("override") if "hydra" in frame.f_code.co_filename else None
        innermost = getattr(override, "input_line", None) or innermost
    return innermost


def reason(override: str, cause: BaseException) -> str:
    """Why an override cannot be applied."""
    key = override.lstrip("+~").partition("=")[0]
    stage = re.match(r"pretrain\.(\w+)\.", key)
    if isinstance(cause, OmegaConfBaseException) and stage and str(cause.key) == stage[1]:
        return f"this run has no pretraining stage {stage[1]}; choose it with pretrain=[{stage[1]}]"
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and OmegaConf.is_dict(cause.parent_node):
        parent: Any = cause.parent_node
        if re.match(r"pretrain\.\w+\.mix\b", key):  # its keys are names of texts, of which none is there at first
            return f"no such text yet; add it with {key.partition('.mix')[0]}.mix.<text>=<share> and a + in front"
        return f"no such key; {suggestion(str(cause.key), parent)}"
    if isinstance(cause, (AssertionError, AttributeError)):  # what OmegaConf raises for a key under null
        group = key.partition(".")[0]
        return f"the chosen option of {group} has no such part (it is null there); choose another {group}=..."
    return first_line(cause)
