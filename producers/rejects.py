"""Rows that became no event: how many for which reason, and one example of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class RejectReason(StrEnum):
    """Why a row, or one value of it, was not sent; a closed set."""

    MALFORMED = "malformed"
    MISSING_VALUE = "missing_value"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    MISSING_FIELD = "missing_field"
    MISSING_TIME = "missing_time"
    BAD_TIME = "bad_time"
    REFUSED = "refused"


@dataclass(slots=True)
class Rejects:
    """Counts by reason with the first example of each, so that nothing is lost in silence."""

    counts: Counter[RejectReason] = field(default_factory=Counter)
    examples: dict[RejectReason, str] = field(default_factory=dict)

    def add(self, reason: RejectReason, example: object, count: int = 1) -> None:
        """Count rows of one reason; ``example`` is shown for the first of them, shortened."""
        if count:
            self.counts[reason] += count
            self.examples.setdefault(reason, str(example)[:120])

    @property
    def total(self) -> int:
        """The number of rows and values not sent."""
        return self.counts.total()

    @property
    def missing(self) -> int:
        """The number of values that are not there, which says nothing against a file."""
        return self.counts[RejectReason.MISSING_VALUE]
