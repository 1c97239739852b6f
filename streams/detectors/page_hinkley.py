"""The Page-Hinkley test for a change of the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints


class PageHinkley(Detector):
    """Alarm when the discounted sum of departures from the running mean has left its extreme by ``threshold`` (Page 1954).

    ``delta`` is the departure that is tolerated, ``forgetting`` the factor on the sum at each step; both sides are watched. The
    same decisions as river's. There is no guarantee on false alarms: threshold and delta are in the data's units.
    """

    kind = "page-hinkley"

    def __init__(
        self,
        *,
        delta: float = 0.005,
        threshold: float = 50.0,
        forgetting: float = 0.9999,
        min_samples: int = 30,
    ) -> None:
        self.delta, self.threshold = delta, threshold
        self.forgetting, self.min_samples = forgetting, min_samples
        self._start()

    def _start(self) -> None:
        self._n, self._mean = 0, 0.0
        self._up, self._down = 0.0, 0.0
        self._lowest, self._highest = np.inf, -1.0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        return np.array([self._step(x) for x in values.tolist()])

    def _step(self, x: float) -> float:
        self._n += 1
        self._mean += (x - self._mean) / self._n
        departure = x - self._mean
        self._up = self.forgetting * self._up + departure - self.delta
        self._down = self.forgetting * self._down + departure + self.delta
        self._lowest, self._highest = min(self._lowest, self._up), max(self._highest, self._down)
        if self._n < self.min_samples:
            return 0.0
        reach = max(self._up - self._lowest, self._highest - self._down)
        if reach > self.threshold:
            self._start()
            return max(reach / self.threshold, 1.0)
        return min(reach / self.threshold, _BELOW)

    def _state(self) -> dict[str, Any]:
        ends = [self._lowest, self._highest]
        return {"n": self._n, "mean": self._mean, "sums": [self._up, self._down], "ends": ends}

    def _load(self, state: dict[str, Any]) -> None:
        self._n, self._mean = state["n"], state["mean"]
        self._up, self._down = state["sums"]
        self._lowest, self._highest = state["ends"]


_BELOW = float(np.nextafter(1.0, 0.0))
