"""Passes over a base whose rows want different adapters, while adapters come and go between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from adapt.serving.base import Base
from adapt.serving.mixed import BASE, MixedBatches
from adapt.serving.served import Served
from adapt.serving.turns import Turns

Chosen = dict[int, Served]


class Passes:
    """Rows that can be mixed share a pass; a LoRA is taken in or out between two of these, whoever is asking.

    So a change waits for one pass and not for a caller's thousand requests. An adapter that goes stays for the calls
    that began with it.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._mixed: dict[Any, MixedBatches] = {}  # by the precision of the base
        self._turn, self._counting = Turns(), Lock()

    def take_in(self, served: Served) -> None:
        """Give it a place among the mixed batches where it can have one. Raises what peft does where it does not fit.

        One call at a time.
        """
        if not served.folder.is_mixed:
            return
        place = _precision(served)
        if place not in self._mixed:
            self._mixed[place] = MixedBatches(self._base.skin(*place))
        if not served.method.startswith("LORA"):
            served.mixed = BASE
            return
        with self._turn:
            served.mixed = self._mixed[place].add(served.folder.configs[0], served.folder.states[0])

    def end(self, served: Served) -> None:
        """Take it out again, now or when the last call that holds it is over; nobody may choose it from now on."""
        with self._counting:
            served.ended = True
            free = served.held == 0
        if free:
            self._take_out(served)

    @contextmanager
    def holding(self, choose: Callable[[], Chosen]) -> Iterator[Chosen]:
        """What ``choose`` finds; none of it goes before the block is left."""
        with self._counting:
            chosen = choose()
            held = list({id(one): one for one in chosen.values()}.values())
            for one in held:
                one.held += 1
        try:
            yield chosen
        finally:
            with self._counting:
                for one in held:
                    one.held -= 1
                over = [one for one in held if one.ended and one.held == 0]
            for one in over:
                self._take_out(one)

    def group(self, served: Served) -> Any:
        """Equal for adapters whose rows can share a pass."""
        return id(served) if served.mixed is None else _precision(served)

    @torch.no_grad()
    def run(self, rows: list[Served], batch: dict[str, Tensor]) -> list[Tensor]:
        """One pass over a batch whose rows are of one group. Logits [C] of each row."""
        if rows[0].mixed is None:
            return list(rows[0].logits(batch))
        with self._turn:
            hidden = self._mixed[_precision(rows[0])].states([str(one.mixed) for one in rows], batch)
        logits: list[Tensor] = [torch.empty(0)] * len(rows)
        for one in {id(one): one for one in rows}.values():
            own = [row for row, other in enumerate(rows) if other is one]
            given = {name: value[own] for name, value in batch.items()}
            for row, answer in zip(own, one.of_states(hidden[own], given), strict=True):
                logits[row] = answer
        return logits

    def _take_out(self, served: Served) -> None:
        if served.mixed not in (None, BASE):
            with self._turn:
                self._mixed[_precision(served)].remove(str(served.mixed))


def _precision(served: Served) -> tuple[str | None, tuple[str, ...]]:
    return served.folder.quantization, tuple(served.folder.unquantized)
