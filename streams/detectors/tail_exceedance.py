"""How far a value lies beyond the tails of its history at this time of day."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints
from streams.detectors.tail_sketch import MAPPING, TailSketch

DAY_MS = 86_400_000


class TailExceedance(Detector):
    """Score a value by its distance beyond history's tails, in units of history's range, before it joins the history.

    With times, history is a sketch for each of ``slots`` equal parts of the day, once that part has been seen on ``days`` days;
    its tails are the quantiles at ``tail`` and 1 - tail. Before that, and without times, the tails are those of all history at
    0.1% and 99.9%, between which lies the range that is the unit either way. A distance of ``limit`` ranges scores 1. For
    ``refractory`` values after a score only a higher one is reported. Sketches only; nothing raw is kept.
    """

    kind = "tail-exceedance"

    def __init__(
        self,
        *,
        slots: int = 8,
        tail: float = 0.01,
        days: int = 3,
        limit: float = 0.15,
        refractory: int = 150,
        warmup: int = 50,
    ) -> None:
        self.slots, self.tail, self.days = slots, tail, days
        self.limit, self.refractory, self.warmup = limit, refractory, warmup
        self._all = TailSketch()
        self._parts = [TailSketch() for _ in range(slots)]
        self._days = [[-1, 0] for _ in range(slots)]  # the last day seen, and how many
        self._reported: list[list[float]] = []  # place and score, scores falling
        self._n = 0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:
        codes = MAPPING.index(values).tolist()
        places = [None] * len(values) if times is None else times.tolist()
        steps = zip(values.tolist(), codes, places, strict=True)
        return np.array([self._refrain(self._step(*step)) for step in steps])

    def _step(self, x: float, code: int, time: int | None) -> float:
        slot = None if time is None else time % DAY_MS * self.slots // DAY_MS
        score = 0.0
        if self._all.count >= self.warmup:
            low, high = self._all.tails(0.001)
            unit = high - low
            if slot is not None and self._days[slot][1] >= self.days:
                low, high = self._parts[slot].tails(self.tail)
            beyond = max(x - high, low - x, 0.0)
            # Whatever departs from a constant departs by more than any limit.
            score = beyond / (unit * self.limit) if unit > 0 else (10.0 if beyond > 0 else 0.0)
        self._all.add(code, x)
        if slot is not None and time is not None:
            self._parts[slot].add(code, x)
            if self._days[slot][0] != time // DAY_MS:
                self._days[slot] = [time // DAY_MS, self._days[slot][1] + 1]
        return score

    def _refrain(self, score: float) -> float:
        self._n += 1
        self._reported = [entry for entry in self._reported if entry[0] >= self._n - self.refractory]
        if score <= 0 or any(score <= earlier for _, earlier in self._reported):
            return 0.0
        self._reported = [[self._n, score]]  # lower ones no longer matter
        return score

    def _state(self) -> dict[str, Any]:
        parts = [part.state() for part in self._parts]
        reported = [self._n, self._reported]
        return {"all": self._all.state(), "parts": parts, "days": self._days, "reported": reported}

    def _load(self, state: dict[str, Any]) -> None:
        self._all = TailSketch.of(state["all"])
        self._parts = [TailSketch.of(part) for part in state["parts"]]
        self._days = state["days"]
        self._n, self._reported = state["reported"]
