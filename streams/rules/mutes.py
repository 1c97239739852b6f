"""Silences and maintenance windows: alerts that are still raised and recorded, but need bother nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Mute:
    """Mark the alerts of some rules (all if none is named) and groups (all if ``where`` is empty) at some times.

    A silence has ``start`` and ``end``. A maintenance window recurs: it has ``days`` (all if none is named), the time of day ``at``
    at which it begins, as ``HH:MM`` in UTC, and its length. It is the event time of the transition that counts.

    Raises ValueError unless it is exactly one of both.
    """

    name: str
    rules: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    days: tuple[Day, ...] = ()
    at: str | None = None
    minutes: int = 0
    comment: str = ""

    def __post_init__(self) -> None:
        once = self.start is not None and self.end is not None
        if once == (self.at is not None) or (self.days and once):
            raise ValueError(f"mute {self.name!r} needs either start and end, or at and minutes")
        if once and (self.start, self.end) != tuple(t for t in (self.start, self.end) if t and t.tzinfo):
            raise ValueError(f"mute {self.name!r}: start and end need an offset such as Z or +02:00")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"mute {self.name!r}: start must be before end")
        if self.at is not None and (not 0 < self.minutes <= 7 * 24 * 60 or self._begins() is None):
            raise ValueError(f"mute {self.name!r}: at must be HH:MM and minutes between 1 and a week")

    def covers(self, rule: str, labels: Mapping[str, str], time: int) -> bool:
        """Tell whether an alert of a rule for a group with these labels is muted at an event time in milliseconds."""
        if self.rules and rule not in self.rules:
            return False
        if any(labels.get(name) != value for name, value in self.where.items()):
            return False
        moment = datetime.fromtimestamp(time / 1000, UTC)
        if self.start is not None and self.end is not None:
            return self.start <= moment < self.end
        return self._recurs(moment)

    def _recurs(self, moment: datetime) -> bool:
        begins, length = self._begins(), timedelta(minutes=self.minutes)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(self.minutes // (24 * 60) + 2):
            start = midnight - timedelta(days=back) + (begins or timedelta())
            if start <= moment < start + length and (not self.days or DAYS[start.weekday()] in self.days):
                return True
        return False

    def _begins(self) -> timedelta | None:
        hour, colon, minute = (self.at or "").partition(":")
        if not (colon and hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
            return None
        return timedelta(hours=int(hour), minutes=int(minute))
