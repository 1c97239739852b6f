"""KSWIN: the newest values of a window against a random sample of the older ones by the Kolmogorov-Smirnov test."""

from __future__ import annotations

import random
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from streams.detectors.base import Detector, Floats, Ints


class Kswin(Detector):
    """Alarm when the p-value of the newest ``recent`` values against as many older ones is at most ``alpha`` (Raab et al. 2020).

    The same decisions as river's for the same ``seed``. ``alpha`` holds for one test, and there is one a value: at 0.005 a
    stream without any change alarms every few hundred values.
    """

    kind = "kswin"

    def __init__(self, *, alpha: float = 0.005, window: int = 100, recent: int = 30, seed: int = 1) -> None:
        self.alpha, self.window, self.recent, self.seed = alpha, window, recent, seed
        self._held: list[float] = []
        self._random = random.Random(seed)

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        return np.array([self._step(x) for x in values.tolist()])

    def _step(self, x: float) -> float:
        self._held = [*self._held, x][-self.window :]
        if len(self._held) < self.window:
            return 0.0
        older = self.window - self.recent
        chosen = [self._held[i] for i in self._random.sample(range(older), self.recent)]
        apart = _farthest(chosen, self._held[older:])
        p_value = _p_value(self.recent, apart)
        score = float(np.log(max(p_value, 1e-300)) / np.log(self.alpha))
        if p_value <= self.alpha and apart / self.recent > 0.1:
            self._held, self._random = [], random.Random(self.seed)
            return max(score, 1.0)
        return min(score, _BELOW)

    def _state(self) -> dict[str, Any]:
        version, numbers, gauss = self._random.getstate()
        return {"held": self._held, "random": [version, list(numbers), gauss]}

    def _load(self, state: dict[str, Any]) -> None:
        version, numbers, gauss = state["random"]
        self._held = state["held"]
        self._random = random.Random(self.seed)
        self._random.setstate((version, tuple(numbers), gauss))


_BELOW = float(np.nextafter(1.0, 0.0))


def _farthest(a: list[float], b: list[float]) -> int:
    """Return the Kolmogorov-Smirnov statistic of two samples of one size, in steps of 1/size."""
    first, second = np.sort(a), np.sort(b)
    both = np.concatenate([first, second])
    ahead = first.searchsorted(both, side="right") - second.searchsorted(both, side="right")
    return int(np.abs(ahead).max())


@lru_cache(maxsize=1024)
def _p_value(size: int, apart: int) -> float:
    """Return scipy's p-value, which is a function of the statistic alone, by two samples that are so far apart."""
    if apart == 0:
        return 1.0
    ranks = np.arange(size)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # scipy tells where the exact distribution is out of reach
        return float(ks_2samp(ranks, ranks + apart - 0.5, method="auto").pvalue)
