"""A timing wheel: which numbers fall due by a time, without a look at the others (Varghese and Lauck 1987)."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Wheel:
    """Numbers by the tick in which they are to be looked at; one may be there more than once."""

    def __init__(self, tick: int) -> None:
        self._tick = max(tick, 1)
        self._slots: dict[int, list[Ints]] = {}
        self._order: list[int] = []

    def put(self, numbers: Ints, times: Ints) -> None:
        """Let numbers be looked at when each one's time has come."""
        slots = times // self._tick
        for slot in np.unique(slots).tolist():
            if slot not in self._slots:
                self._slots[slot] = []
                heapq.heappush(self._order, slot)
            self._slots[slot].append(numbers[slots == slot])

    def take(self, time: int) -> Ints:
        """Return, ascending, the numbers whose tick has come by a time, and forget them; those not due yet are to be put back."""
        taken = [np.empty(0, np.int64)]
        while self._order and self._order[0] <= time // self._tick:
            taken += self._slots.pop(heapq.heappop(self._order))
        return np.unique(np.concatenate(taken))
