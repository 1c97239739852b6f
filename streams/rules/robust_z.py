"""Departures from a group's own history: z-scores against a clipped, exponentially weighted mean and sd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import BOOK_FIELDS, Change, Limits, Marks, severity_of
from streams.rules.ewma import Ewma, History
from streams.rules.grouped import GroupedRule
from streams.rules.segments import Segments

Side = Literal["both", "above", "below"]

# Squares of larger values leave the range of a double and would make the history useless for good.
LARGEST_VALUE = 1e150


@dataclass(frozen=True)
class RobustZ:
    """Alert when a value is ``raise_at`` standard deviations from its group's own history.

    The history is an exponentially weighted mean and variance (West 1979) with forgetting factor ``alpha``. A
    departure enters it clipped to ``clip`` standard deviations (Huber's psi), so that anomalies do not
    poison it, yet a lasting shift is learned in time. No alert in a group's first ``warmup`` samples, which
    are weighted equally. ``min_sd`` is the smallest standard deviation believed, in the value's own unit:
    set it to the sensor's resolution. Closes at ``clear_at``, critical at ``critical_at``. Values that are
    not finite, or beyond 1e150, are passed over.

    Raises ValueError for levels out of order and for parameters out of their ranges.
    """

    name: str
    source: Source = "row"
    raise_at: float = 6.0
    clear_at: float = 3.0
    critical_at: float | None = None
    side: Side = "both"
    alpha: float = 0.02
    clip: float = 3.0
    warmup: int = 30
    min_sd: float = 1e-3
    for_samples: int = 1
    severity: Severity = "warning"
    kind = "robust_z"

    def __post_init__(self) -> None:
        if self.clear_at < 0:
            raise ValueError(f"rule {self.name!r}: clear_at must not be negative")
        if not (0 < self.alpha < 1 and self.clip > 0 and self.min_sd > 0):
            raise ValueError(f"rule {self.name!r}: alpha must be in (0, 1), clip and min_sd positive")
        if self.warmup < 2 or self.for_samples < 1:
            raise ValueError(f"rule {self.name!r}: warmup must be at least 2, for_samples at least 1")
        try:
            self.limits()
        except ValueError as error:
            raise ValueError(f"rule {self.name!r}: {error}") from None

    def limits(self) -> Limits:
        """Return the limits of the z-score turned so that larger is worse."""
        return Limits(self.raise_at, self.clear_at, np.inf if self.critical_at is None else self.critical_at)

    def build(self) -> RobustZRule:
        """Return a rule in its empty state."""
        return RobustZRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


class RobustZRule(GroupedRule[RobustZ]):
    """A ``RobustZ`` over all groups of a partition."""

    def __init__(self, declared: RobustZ) -> None:
        super().__init__(
            declared, 1, {"seen": ("<i8", 0), "mean": ("<f8", 0), "var": ("<f8", 0), **BOOK_FIELDS}
        )
        self._limits = declared.limits()
        self._ewma = Ewma(declared.alpha, declared.clip, declared.warmup, declared.min_sd)

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        segments = Segments.of(samples.group, np.abs(samples.value) <= LARGEST_VALUE)
        if not len(segments):
            return []
        state = self._state
        state.cover(segments.groups)
        history = self._ewma.run(
            segments, samples.value[segments.order], state["seen"], state["mean"], state["var"]
        )
        marks = Marks.by_score(self._turned(history.z), self._limits)
        changes = self._book.step(samples, segments, marks, self._declared.for_samples)
        return [self._transition(samples, history, change) for change in changes]

    def _turned(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._declared.side == "both":
            return np.abs(z)
        return z if self._declared.side == "above" else -z

    def _transition(self, samples: Samples, history: History, change: Change) -> Transition:
        declared, value = self._declared, float(samples.value[change.sample])
        z, mean, sd = (float(column[change.at]) for column in (history.z, history.mean, history.sd))
        limit = declared.clear_at if change.state == "close" else declared.raise_at
        if change.level == 2 and declared.critical_at is not None:
            limit = declared.critical_at
        what = "is back at" if change.state == "close" else "is"
        return Transition(
            cause=int(samples.cause[change.sample]),
            group=change.group,
            state=change.state,
            severity=severity_of(change.level, declared.severity),
            revision=change.revision,
            opened_at=change.opened_at,
            time=int(samples.time[change.sample]),
            value=value,
            threshold=mean + (limit if z >= 0 else -limit) * sd,
            message=f"{declared.source} {value:g} {what} {z:+.1f} sd from its usual {mean:g}",
            evidence={
                "value": value,
                "z": z,
                "limit": limit,
                "mean": mean,
                "sd": sd,
                "seen": int(history.seen[change.at]),
            },
        )
