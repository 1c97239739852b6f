"""A value that rises or falls too fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streams.rules.base import Samples, Transition
from streams.rules.book import BOOK_FIELDS, NEVER
from streams.rules.segments import Segments
from streams.rules.threshold import Threshold, ThresholdRule


@dataclass(frozen=True)
class RateOfChange(Threshold):
    """Alert when a value changes by more than a level in ``per_ms``.

    The rate is the difference to the group's sample before it over the difference of their event times. Samples that are not later
    than all before them, and values that are not finite, are passed over. Levels, hysteresis and errors are those of ``Threshold``.
    """

    per_ms: int = 1_000
    kind = "rate_of_change"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_ms < 1:
            raise ValueError(f"rule {self.name!r}: per_ms must be at least 1")

    def build(self) -> RateRule:
        """Return a rule in its empty state."""
        return RateRule(self)


class RateRule(ThresholdRule):
    """A ``RateOfChange`` over all groups of a partition."""

    _fields: ClassVar[Mapping[str, tuple[str, float]]] = {
        "value": ("<f8", np.nan),
        "time": ("<i8", NEVER),
        **BOOK_FIELDS,
    }

    def __init__(self, declared: RateOfChange) -> None:
        super().__init__(declared)
        self._per_ms = declared.per_ms

    @property
    def _what(self) -> str:
        return f"change of {self._declared.source} in {self._per_ms / 1000:g} s:"

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        return super().update(replace(samples, value=self._rates(samples)))

    def _rates(self, samples: Samples) -> NDArray[np.float64]:
        """Return the rate at each sample, NaN where there is none, and keep each group's latest sample."""
        rates = np.full(len(samples.group), np.nan)
        segments = Segments.of(samples.group, np.isfinite(samples.value))
        if not len(segments):
            return rates
        self._state.cover(segments.groups)
        value, time = samples.value[segments.order], samples.time[segments.order]
        known_value, known_time = (self._state[name][segments.groups] for name in ("value", "time"))
        later = time > segments.before(segments.running_max(time, known_time), known_time)
        latest = segments.latest(later)
        before = segments.before(latest, np.full(len(segments.groups), -1))
        value_before = np.where(before >= 0, value[before], known_value[segments.segment])
        time_before = np.where(before >= 0, time[before], known_time[segments.segment])
        counts = np.flatnonzero(later & (time_before != NEVER))
        elapsed = (time[counts] - time_before[counts]).astype(np.float64)
        rates[segments.order[counts]] = (value[counts] - value_before[counts]) / elapsed * self._per_ms
        newest = latest[segments.last]
        moved = newest >= 0
        groups = segments.groups[moved]
        self._state["value"][groups], self._state["time"][groups] = value[newest[moved]], time[newest[moved]]
        return rates
