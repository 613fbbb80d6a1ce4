"""Passes over a base whose rows want different adapters, while adapters are added and removed between passes."""

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
    """Rows that can be mixed share a pass; a LoRA is added or removed between two passes.

    So a change waits for one pass, and not for all of a caller's thousand requests. A removed adapter stays until the
    calls that started with it are done.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._mixed: dict[Any, MixedBatches] = {}  # by the precision of the base
        self._turn, self._counting = Turns(), Lock()

    def take_in(self, served: Served) -> None:
        """Add an adapter to the mixed batches, if it can be mixed. Raises what peft raises if it does not fit.

        Not thread-safe: one call at a time.
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
        """Remove an adapter, now or when the last call that uses it is done. No call may choose it from now on."""
        with self._counting:
            served.ended = True
            free = served.held == 0
        if free:
            self._take_out(served)

    @contextmanager
    def holding(self, choose: Callable[[], Chosen]) -> Iterator[Chosen]:
        """The adapters that ``choose`` returns; none of them is removed before the block ends."""
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
        """A value that is equal for adapters whose rows can share a pass."""
        return id(served) if served.mixed is None else _precision(served)

    @torch.no_grad()
    def run(self, rows: list[Served], batch: dict[str, Tensor]) -> list[Tensor]:
        """One pass over a batch whose rows all belong to one group; returns the logits [C] of each row."""
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
