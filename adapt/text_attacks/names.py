"""The names of the text attacks, for code that checks a config or plans a chain without importing torch."""

from __future__ import annotations

from adapt.config import TextAttackConfig, choices

MASKED_LM = ("bae", "bert_attack")  # these propose words with a masked language model, an input of the evaluation
TYPED = ("typos", "case")  # what these propose depends on the word alone, so that it is known before training
RECIPES = choices(TextAttackConfig, "recipes")


def needs_masked_lm(recipes: list[str]) -> bool:
    """Whether one of these recipes proposes words with a masked language model."""
    return any(name in MASKED_LM for name in recipes)
