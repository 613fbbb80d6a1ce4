"""What predict says of the texts that it is given: how many are cut, and how much of them its tokenizer knows."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError
from adapt.data.tokens.reading import read
from adapt.table.reading import REFUSE


def texts_of(given: Any) -> tuple[str, ...]:
    """The one or two texts of a row, or the text of a sentence that is given as a list of words."""
    if isinstance(given, list):
        return (" ".join(given),)
    return tuple(given[name] for name in ("text", "text_pair") if given.get(name) is not None)


def report(
    tokenizer: PreTrainedTokenizerBase, given: list[Any], places: list[str], max_length: int, *, allow_unknown: bool
) -> str:
    """One sentence on the texts. Raises ConfigError where too much of them is unknown, unless it is allowed.

    given: the examples that ``TaskKind.read_unlabelled`` returned; places: where each was read.
    """
    one = read(tokenizer, [texts_of(row) for row in given], max_length)
    share = one.known.share
    first = f", the first at {places[one.unread[0]]}" if one.unread else ""
    said = (
        f"{one.examples:,} texts, {one.truncated:,} cut at {max_length} tokens; {share:.1%} is unknown to the "
        f"tokenizer; {len(one.unread):,} with nothing that it knows{first}"
    )
    if share > REFUSE and not allow_unknown:
        raise ConfigError(f"{said}. More than {REFUSE:.0%} unknown is refused; --allow-unknown answers all the same")
    return said
