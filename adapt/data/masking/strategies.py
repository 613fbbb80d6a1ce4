"""The names of the masking strategies. Imports nothing, so that a config can be checked without numpy or torch."""

OF_WORDS = ("whole_word", "span", "difference")  # these need to know where words begin (adapt/data/tokens/words.py)
SELECTIVE = "selective"  # reads the marks that a token classifier made (adapt/chain/pretraining.py)
STRATEGIES = ("token", *OF_WORDS, SELECTIVE)
