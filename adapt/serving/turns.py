"""A fair lock: threads get it in the order in which they ask."""

from __future__ import annotations

from collections import deque
from threading import Lock


class Turns:
    """A fair lock, for ``with``. A plain lock may go to the thread that has just released it, again and again."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._asked: deque[Lock] = deque()  # first the thread whose turn it is, then those that wait

    def __enter__(self) -> None:
        mine = Lock()
        mine.acquire()
        with self._guard:
            self._asked.append(mine)
            if self._asked[0] is mine:
                return
        try:
            mine.acquire()  # waits until the thread before is done
        except BaseException:  # such as a keyboard interrupt: the other threads go on
            self._leave(mine)
            raise

    def __exit__(self, *_error: object) -> None:
        self._leave(self._asked[0])

    def _leave(self, mine: Lock) -> None:
        with self._guard:
            was_first = self._asked[0] is mine
            self._asked.remove(mine)
            if was_first and self._asked:
                self._asked[0].release()
