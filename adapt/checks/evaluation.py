"""Refuse an evaluation that cannot be run: its attacks, and the texts to measure on."""

from __future__ import annotations

from adapt.config import MEASURED_TEXTS, AttackConfig, Config, ConfigError, choices, suggestion
from adapt.project import options
from adapt.text_attacks.names import RECIPES


def check_attack(attack: AttackConfig) -> None:
    """Refuse attacks without a radius or a member, and members without the number that they need."""
    key, possible = "evaluate.attack", ", ".join(choices(AttackConfig, "members"))
    if not attack.epsilons:
        raise ConfigError(f"{key}.epsilons=[]: must name at least one radius; evaluate=clean attacks nothing")
    if not attack.members:
        raise ConfigError(f"{key}.members=[]: must name at least one attack; possible are {possible}")
    for name in attack.members:
        if attack.members.count(name) > 1:
            raise ConfigError(f"{key}.members={attack.members}: {name} is there twice")
    for name, number in {"minimal_norm": "minimal_norm_steps", "gradient_free": "gradient_free_queries"}.items():
        if name in attack.members and getattr(attack, number) is None:
            raise ConfigError(f"{key}.{number}=null: {name} is among the members and needs a number")
    if attack.checks and not {"apgd_ce", "pgd"} & set(attack.members):
        raise ConfigError(f"{key}.checks=true: what is checked is apgd_ce or pgd; add one of them to {key}.members")
    if attack.checks and not any(epsilon > 0 for epsilon in attack.epsilons):
        raise ConfigError(f"{key}.checks=true: needs a radius above 0 in {key}.epsilons={attack.epsilons}")


def check_text_attack(cfg: Config) -> None:
    """Refuse an empty list of recipes, and a recipe that is there twice."""
    recipes = cfg.evaluate.text.recipes if cfg.evaluate.text else list(RECIPES)
    if not recipes:
        raise ConfigError(f"evaluate.text.recipes=[]: name one or more of {', '.join(RECIPES)}; or set text to null")
    for name in recipes:
        if recipes.count(name) > 1:
            raise ConfigError(f"evaluate.text.recipes=[{','.join(recipes)}]: {name} is there twice")


def check_domains(cfg: Config) -> None:
    """Refuse an empty list of texts, a text that is there twice, and a stage that does not exist."""
    if cfg.evaluate.domains is None:
        return
    key, texts = "evaluate.domains.texts", cfg.evaluate.domains.texts
    if not texts:
        raise ConfigError(f"{key}=[]: name one or more of {', '.join(MEASURED_TEXTS)}; evaluate=clean measures none")
    for name in texts:
        if texts.count(name) > 1:
            raise ConfigError(f"{key}=[{','.join(texts)}]: {name} is there twice")
    possible = {*options.names("pretrain"), *cfg.pretrain}
    for name in cfg.evaluate.domains.along:
        if name not in possible:
            raise ConfigError(f"evaluate.domains.along: {name} is no pretraining stage; {suggestion(name, possible)}")
