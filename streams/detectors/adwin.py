"""ADWIN: a growing window that ends when the means of its two parts differ."""

from __future__ import annotations

from collections.abc import Iterator
from math import log, sqrt
from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints

Bucket = tuple[float, float]  # sum, and sum of squares about the mean


class Adwin(Detector):
    """Alarm when some cut of the window gives means that differ by more than chance at ``delta`` (Bifet and Gavaldà 2007).

    The window is kept as buckets of 1, 2, 4, ... values, at most ``buckets`` of a size. The same decisions as river's, which
    looks every ``clock`` values and drops the whole window after an alarm, where the paper drops its older part. It sees
    changes of the mean alone. ``delta`` bounds the false alarms of one look at a window, not of a stream.
    """

    kind = "adwin"

    def __init__(
        self, *, delta: float = 0.002, clock: int = 32, buckets: int = 5, min_part: int = 5, grace: int = 10
    ) -> None:
        self.delta, self.clock, self.buckets = delta, clock, buckets
        self.min_part, self.grace = min_part, grace
        self._start()

    def _start(self) -> None:
        self._rows: list[list[Bucket]] = [[]]  # row i holds buckets of 2**i values, oldest first
        self._width, self._sum, self._squares, self._tick = 0, 0.0, 0.0, 0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        return np.array([self._step(x) for x in values.tolist()])

    def _step(self, x: float) -> float:
        if self._width:
            self._squares += self._width * (x - self._sum / self._width) ** 2 / (self._width + 1)
        self._rows[0].append((x, 0.0))
        self._width, self._sum, self._tick = self._width + 1, self._sum + x, self._tick + 1
        self._compress()
        if self._tick % self.clock or self._width <= self.grace:
            return 0.0
        score = self._largest_cut()
        if score > 1:
            self._start()
        return score if score > 1 else min(score, _BELOW)

    def _compress(self) -> None:
        for size, row in enumerate(self._rows):
            if len(row) <= self.buckets:
                return
            (a, va), (b, vb) = row[:2]
            n = 2**size
            del row[:2]
            if size + 1 == len(self._rows):
                self._rows.append([])
            self._rows[size + 1].append((a + b, va + vb + (a / n - b / n) ** 2 * n / 2))

    def _cuts(self) -> Iterator[tuple[int, float]]:
        """Give size and sum of the older part, cut by cut."""
        n, total = 0, 0.0
        for size in range(len(self._rows) - 1, -1, -1):
            for bucket in self._rows[size]:
                n, total = n + 2**size, total + bucket[0]
                yield n, total

    def _largest_cut(self) -> float:
        """Return the first difference of means that exceeds its bound, else the largest, in units of the bound."""
        largest = 0.0
        spread = max(self._squares / self._width, 0.0)
        confidence = log(2 * log(self._width) / self.delta)
        for n, total in self._cuts():
            rest = self._width - n
            if n < self.min_part or rest < self.min_part:
                continue
            parts = 1 / (n - self.min_part + 1) + 1 / (rest - self.min_part + 1)
            bound = sqrt(2 * parts * spread * confidence) + 2 / 3 * confidence * parts
            largest = max(largest, abs(total / n - (self._sum - total) / rest) / bound)
            if largest > 1:
                break
        return largest

    def _state(self) -> dict[str, Any]:
        window = [self._width, self._sum, self._squares, self._tick]
        return {"rows": self._rows, "window": window}

    def _load(self, state: dict[str, Any]) -> None:
        self._rows = [[(total, squares) for total, squares in row] for row in state["rows"]]
        self._width, self._sum, self._squares, self._tick = state["window"]


_BELOW = float(np.nextafter(1.0, 0.0))
