"""Numbers that say how far they may be from the exact one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certified:
    """A value and the interval in which the exact one lies for certain."""

    value: float
    lower: float
    upper: float

    @classmethod
    def within(cls, value: float, bound: float, floor: float = 0.0) -> Certified:
        """Return a value with the interval ``value ± bound``, cut off below at ``floor``."""
        return cls(value, max(value - bound, floor), value + bound)

    @property
    def bound(self) -> float:
        """The largest difference that the exact number may have from the value."""
        return max(self.upper - self.value, self.value - self.lower)

    def __contains__(self, exact: float) -> bool:
        return self.lower <= exact <= self.upper

    def __float__(self) -> float:
        return self.value
