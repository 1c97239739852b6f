"""A detector that knows nothing, beside which others are judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints
from streams.detectors.martingale_kernel import uniform


class Dummy(Detector):
    """Score every value by a number that does not depend on it: what chance achieves."""

    kind = "dummy"

    def __init__(self, *, seed: int = 0, rate: float = 0.001) -> None:
        self.seed, self.rate = seed, rate
        self._n = 0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        places = range(self._n, self._n + len(values))
        self._n += len(values)
        return np.array([uniform(self.seed, n) for n in places]) / (1 - self.rate)

    def _state(self) -> dict[str, Any]:
        return {"n": self._n}

    def _load(self, state: dict[str, Any]) -> None:
        self._n = state["n"]
