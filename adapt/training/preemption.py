"""A training that is told to stop saves first: SIGTERM, SIGUSR1 and SIGUSR2 take effect after the current step."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from adapt.training import processes

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
T = TypeVar("T")


def saving(steps: Iterable[T], save: Callable[[], None]) -> Iterator[T]:
    """Yield the steps; a signal that arrives during a step takes effect after it, once ``save()`` has run.

    It then goes to the handler that was set before: by default it ends the process; submitit's handler queues the job
    again; if a handler returns (submitit's for SIGTERM does), the loop continues. A signal that arrives while ``steps``
    prepares the first step waits for the end of that step as well. Before and after the loop, and outside the main
    thread, where Python cannot set handlers, a signal takes effect at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield from steps
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if handler is not None}  # None: not Python's

    def hold() -> None:
        for number in handlers:
            signal.signal(number, lambda arrived, _: received.append(arrived))

    def release() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        while received:
            signal.raise_signal(received.pop(0))

    hold()
    try:
        for step in steps:
            yield step
            if processes.total(len(received))[0]:
                save()
                while not received:  # another process got a signal; this one will get it too
                    time.sleep(0.01)
                log.warning(
                    "%s: the training is saved", " and ".join(signal.Signals(number).name for number in received)
                )
                release()
                hold()
    finally:
        release()
