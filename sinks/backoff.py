"""Pauses that grow while a target stays away, a little random so that many do not return at once."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Give pauses in seconds that double from ``first`` up to ``longest``, each between half of that and all of it."""

    def __init__(
        self,
        first: float = 0.5,
        longest: float = 30.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first, self._longest, self._uniform = first, longest, uniform
        self._times = 0

    def next(self) -> float:
        """Return the next pause."""
        pause = min(self._first * 2.0**self._times, self._longest)
        self._times += 1
        return self._uniform(pause / 2, pause)

    def reset(self) -> None:
        """Begin anew: the target is back."""
        self._times = 0
