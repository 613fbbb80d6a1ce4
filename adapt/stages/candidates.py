"""Refuses an attack by typing that could change no word of the test texts: it would count as robustness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, RuntimeConfig
from adapt.data import tasks
from adapt.data.splits import TEST
from adapt.text_attacks import characters
from adapt.text_attacks.names import RECIPES, TYPED
from adapt.text_attacks.scripts import scripts
from adapt.text_attacks.words import has_letter, split

KEY_NAME = "stages.candidates"
VERSION = 1

CHANGES: dict[str, Callable[[str], bool]] = {
    "typos": lambda word: has_letter(word) and bool(characters.typos(word, 1, (0,))),
    "case": lambda word: bool(characters.cases(word)),
}


def candidates(
    argument: None,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    recipes: list[str],
    max_examples: int | None,
) -> list[dict[str, Any]]:
    """Look whether each of the recipes that need no model can change a word of the texts of ``inputs["task"]``.

    Of a pair the second text is attacked. Raises ConfigError with the script of the texts and the possible recipes.
    """
    examples = tasks.load_task(inputs["task"]).splits[TEST][:max_examples]
    words = [word for example in examples for word in split(example.texts[-1]).words]
    possible = [name for name in RECIPES if name not in TYPED or any(map(CHANGES[name], words))]
    for name in recipes:
        if name not in possible:
            raise ConfigError(
                f"evaluate.text.recipes={name}: it can change no word of the {len(examples)} test texts, "
                f"{why(name, words)}; possible are {', '.join(possible)}"
            )
    return []


def why(recipe: str, words: list[str]) -> str:
    """Why a recipe finds nothing in these words: their script, or their length."""
    found = scripts(words)
    if not found:
        return "which have no letter"
    named = f"which are in {' and '.join(found)}"
    if recipe == "case":
        return f"{named}: there is no upper case"
    reasons = [characters.WITHOUT_TYPOS[one] for one in found if one in characters.WITHOUT_TYPOS]
    return f"{named}: {'; '.join(reasons) or f'all words take fewer than {characters.SHORTEST} keys to type'}"
