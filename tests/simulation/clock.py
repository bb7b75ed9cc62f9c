"""Virtual time: callbacks in the order of their moment, and of their planning where moments are equal."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Clock:
    """`now` moves only from one planned moment to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, moment: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (max(moment, self.now), next(self._numbers), callback))

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        self.at(self.now + seconds, callback)

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        def again() -> None:
            callback()
            self.after(seconds, again)

        self.after(seconds, again)

    def run_until(self, moment: float) -> None:
        while self._queue and self._queue[0][0] <= moment:
            self.now, _, callback = heapq.heappop(self._queue)
            callback()
        self.now = moment
