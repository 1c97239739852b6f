"""Exponentially weighted mean and variance with clipped updates, sample by sample in many groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.rules.segments import Segments

Floats = NDArray[np.float64]

# Below this many groups a numpy call costs more than the same arithmetic on Python floats.
FEW_GROUPS = 24


@dataclass(frozen=True, slots=True)
class History:
    """For each sorted position: samples seen before, their mean and sd, and the value's z-score.

    ``z`` is 0 while the history is warming up.
    """

    seen: NDArray[np.int64]
    mean: Floats
    sd: Floats
    z: Floats

    @classmethod
    def empty(cls, n: int) -> History:
        """Return a history of ``n`` positions still to be filled in."""
        return cls(np.empty(n, dtype=np.int64), np.empty(n), np.empty(n), np.empty(n))


@dataclass(frozen=True, slots=True)
class Ewma:
    """Take samples one by one within a group, with the same floating operations however they are batched.

    With departure d = x - mean, weight a = max(alpha, 1/(seen+1)) and d clipped to ``clip`` standard
    deviations once warm: mean += a d; var = (1-a)(var + a d d). The vectorised and the scalar step perform
    the same IEEE operations, so they agree to the bit.
    """

    alpha: float
    clip: float
    warmup: int
    min_sd: float

    def run(
        self, segments: Segments, value: Floats, seen: NDArray[np.int64], mean: Floats, var: Floats
    ) -> History:
        """Take values in sorted order, update the arrays of all groups, and return what held before each."""
        history = History.empty(len(segments))
        # Segments by falling length: those that still have a sample of some rank are then a prefix.
        length = segments.stop - segments.start
        by_length = np.argsort(-length, kind="stable")
        groups, start, length = segments.groups[by_length], segments.start[by_length], length[by_length]
        state = (seen[groups], mean[groups], var[groups])
        alive = np.searchsorted(-length, -np.arange(1, int(length[0]) + 1), side="right")
        wide = int(np.searchsorted(-alive, -FEW_GROUPS, side="right"))
        for rank in range(wide):
            self._step(history, value, start[: alive[rank]] + rank, state, int(alive[rank]))
        for longest in range(int(alive[wide]) if wide < len(alive) else 0):
            begin, end = int(start[longest]) + wide, int(start[longest] + length[longest])
            self._walk(history, value, begin, end, state, longest)
        seen[groups], mean[groups], var[groups] = state
        return history

    def _step(self, history: History, value: Floats, at: NDArray[Any], state: Any, alive: int) -> None:
        seen, mean, var = (column[:alive] for column in state)
        departure = value[at] - mean
        sd = np.maximum(np.sqrt(var), self.min_sd)
        warm = seen >= self.warmup
        history.seen[at], history.mean[at], history.sd[at] = seen, mean, sd
        history.z[at] = np.where(warm, departure / sd, 0.0)
        reach = self.clip * sd
        taken = np.where(warm, np.minimum(np.maximum(departure, -reach), reach), departure)
        weight = np.maximum(self.alpha, 1.0 / (seen + 1))
        mean += weight * taken
        var[:] = (1.0 - weight) * (var + weight * taken * taken)
        seen += 1

    def _walk(self, history: History, value: Floats, begin: int, end: int, state: Any, group: int) -> None:
        seen, mean, var = int(state[0][group]), float(state[1][group]), float(state[2][group])
        rows = []
        for x in value[begin:end].tolist():
            departure = x - mean
            sd = max(sqrt(var), self.min_sd)
            warm = seen >= self.warmup
            rows.append((seen, mean, sd, departure / sd if warm else 0.0))
            reach = self.clip * sd
            taken = min(max(departure, -reach), reach) if warm else departure
            weight = max(self.alpha, 1.0 / (seen + 1))
            mean += weight * taken
            var = (1.0 - weight) * (var + weight * taken * taken)
            seen += 1
        columns = (history.seen, history.mean, history.sd, history.z)
        for column, filled in zip(columns, zip(*rows, strict=True), strict=True):
            column[begin:end] = filled
        state[0][group], state[1][group], state[2][group] = seen, mean, var
