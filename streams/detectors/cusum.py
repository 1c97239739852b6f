"""The two-sided tabular CUSUM chart."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints


class Cusum(Detector):
    """Alarm when the cumulative sum of standardised departures beyond ``slack`` exceeds ``limit`` (Page 1954).

    Mean and standard deviation come from the first ``warmup`` values, and again after an alarm. With known parameters, normal
    data, slack 0.5 and limit 5 the average run length is 465 without a change and 10.4 after a shift of one standard deviation
    (Montgomery); estimating them from ``warmup`` values shortens the first.
    """

    kind = "cusum"

    def __init__(self, *, slack: float = 0.5, limit: float = 8.0, warmup: int = 200) -> None:
        self.slack, self.limit, self.warmup = slack, limit, warmup
        self._start()

    def _start(self) -> None:
        self._n, self._mean, self._squares = 0, 0.0, 0.0
        self._up, self._down = 0.0, 0.0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        return np.array([self._step(x) for x in values.tolist()])

    def _step(self, x: float) -> float:
        if self._n < self.warmup:
            self._n += 1
            departure = x - self._mean
            self._mean += departure / self._n
            self._squares += departure * (x - self._mean)
            return 0.0
        sd = (self._squares / max(self._n - 1, 1)) ** 0.5
        if sd > 0:
            z = (x - self._mean) / sd
        else:  # whatever departs from a constant departs infinitely
            z = 0.0 if x == self._mean else (self.limit + 1 + self.slack) * (1 if x > self._mean else -1)
        self._up = max(0.0, self._up + z - self.slack)
        self._down = max(0.0, self._down - z - self.slack)
        score = max(self._up, self._down) / self.limit
        if score >= 1:
            self._start()
        return score

    def _state(self) -> dict[str, Any]:
        history = [self._mean, self._squares]
        return {"n": self._n, "history": history, "sums": [self._up, self._down]}

    def _load(self, state: dict[str, Any]) -> None:
        self._n = state["n"]
        self._mean, self._squares = state["history"]
        self._up, self._down = state["sums"]
