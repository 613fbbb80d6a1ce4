"""The names of the masking strategies. Needs neither numpy nor torch, so that a config is checked quickly."""

from adapt.config import MaskingConfig, choices

OF_WORDS = ("whole_word", "span", "difference")  # these need to know where words begin (adapt/data/tokens/words.py)
SELECTIVE = "selective"  # reads the marks that a token classifier made (adapt/chain/pretraining.py)
STRATEGIES = choices(MaskingConfig, "strategy")
