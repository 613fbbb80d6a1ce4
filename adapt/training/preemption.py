"""A training that is told to stop saves first: SIGTERM, SIGUSR1 and SIGUSR2 wait for the end of the step."""

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
    """The steps, for a loop; a signal that comes while the loop is in one acts after it, and after ``save()``.

    It then reaches whoever had it before: by default the process dies of it, submitit's handler queues the job again,
    and where a handler returns (submitit's for SIGTERM does), the loop goes on. A signal while ``steps`` prepares
    its first one waits for that too. Before and after the loop and outside of the main thread, where Python can set no
    handler, a signal acts at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield from steps
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if handler is not None}  # None: not Python's

    def hold() -> None:
        for number in handlers:
            signal.signal(number, lambda received, _: came.append(received))

    def release() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        while came:
            signal.raise_signal(came.pop(0))

    hold()
    try:
        for step in steps:
            yield step
            if processes.total(len(came))[0]:
                save()
                while not came:  # another process has it already, and whoever stops one stops them all
                    time.sleep(0.01)
                log.warning("%s: the training is saved", " and ".join(signal.Signals(number).name for number in came))
                release()
                hold()
    finally:
        release()
