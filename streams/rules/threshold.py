"""A level that values must not cross, with hysteresis and an optional critical level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import BOOK_FIELDS, Change, Limits, Marks, severity_of
from streams.rules.grouped import GroupedRule
from streams.rules.segments import Segments


@dataclass(frozen=True)
class Threshold:
    """Alert when a value is above (or below) a level.

    Opens at the ``for_samples``-th breach in a row, closes at the first value that is not beyond ``clear``
    (by default the level itself), and is critical beyond ``critical``; the step back from critical has the
    same margin as the one from the level to ``clear``. NaN says nothing and is passed over.

    Raises ValueError unless exactly one of ``above`` and ``below`` is given and the levels are in order.
    """

    name: str
    source: Source = "row"
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    critical: float | None = None
    severity: Severity = "warning"
    for_samples: int = 1
    kind = "threshold"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.name!r} needs either above or below")
        if self.for_samples < 1:
            raise ValueError(f"rule {self.name!r} needs for_samples of at least 1")
        try:
            self.limits()
        except ValueError as error:
            raise ValueError(f"rule {self.name!r}: {error}") from None

    @property
    def level(self) -> float:
        """Return the level that opens the alert."""
        return self.above if self.above is not None else self.below or 0.0

    @property
    def sign(self) -> Literal[1, -1]:
        """Return 1 when larger is worse, else -1."""
        return 1 if self.above is not None else -1

    def limits(self) -> Limits:
        """Return the limits on the scale on which larger is worse."""
        clear = self.level if self.clear is None else self.clear
        critical = np.inf if self.critical is None else self.sign * self.critical
        return Limits(self.sign * self.level, self.sign * clear, critical)

    def build(self) -> ThresholdRule:
        """Return a rule in its empty state."""
        return ThresholdRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


class ThresholdRule(GroupedRule[Threshold]):
    """A ``Threshold`` over all groups of a partition."""

    _fields: ClassVar[Mapping[str, tuple[str, float]]] = BOOK_FIELDS

    def __init__(self, declared: Threshold) -> None:
        super().__init__(declared, 1, self._fields)
        self._limits = declared.limits()

    @property
    def _what(self) -> str:
        """What is compared with the level, for messages."""
        return self._declared.source

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        segments = Segments.of(samples.group, ~np.isnan(samples.value))
        if not len(segments):
            return []
        self._state.cover(segments.groups)
        marks = Marks.by_score(self._declared.sign * samples.value[segments.order], self._limits)
        changes = self._book.step(samples, segments, marks, self._declared.for_samples)
        return [self._transition(samples, change) for change in changes]

    def _transition(self, samples: Samples, change: Change) -> Transition:
        declared, value = self._declared, float(samples.value[change.sample])
        crossed = self._crossed(change)
        side = "above" if declared.sign > 0 else "below"
        message = (
            f"{self._what} {value:g} is no longer {side} {crossed:g}"
            if change.state == "close"
            else f"{self._what} {value:g} is {side} {crossed:g}"
        )
        return Transition(
            cause=int(samples.cause[change.sample]),
            group=change.group,
            state=change.state,
            severity=severity_of(change.level, declared.severity),
            revision=change.revision,
            opened_at=change.opened_at,
            time=int(samples.time[change.sample]),
            value=value,
            threshold=crossed,
            message=message,
            evidence={
                "value": value,
                side: declared.level,
                "clear": self._limits.clear_at * declared.sign,
                "critical": declared.critical,
                "for_samples": declared.for_samples,
            },
        )

    def _crossed(self, change: Change) -> float:
        if change.state == "close":
            return self._limits.clear_at * self._declared.sign
        if change.level == 2 and self._declared.critical is not None:
            return self._declared.critical
        return self._declared.level
