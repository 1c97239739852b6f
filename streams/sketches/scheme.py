"""What sketches must have in common to be added: bins and resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from streams.sketches.errors import MappingMismatchError
from streams.sketches.fixed_point import Resolution
from streams.sketches.lookup import BinTable, table_of
from streams.sketches.mapping import LogMapping


@dataclass(frozen=True)
class Scheme:
    """Bins of relative accuracy ``alpha`` between ``min_value`` and ``max_value``, and the resolution of exact sums.

    One a quantity: sketches of the same scheme add up, others do not.
    """

    alpha: float = 0.01
    min_value: float = 1e-9
    max_value: float = 1e12
    resolution: float = 1e-6

    def __post_init__(self) -> None:
        self.steps  # noqa: B018 - refuses what is no resolution

    @cached_property
    def mapping(self) -> LogMapping:
        """The bins."""
        return LogMapping(self.alpha, self.min_value, self.max_value)

    @cached_property
    def steps(self) -> Resolution:
        """The resolution of sums."""
        return Resolution(self.resolution)

    @property
    def table(self) -> BinTable:
        """The table that finds bins."""
        return table_of(self.mapping)

    def require(self, other: Scheme) -> None:
        """Raise MappingMismatchError unless the other is the same."""
        if self != other:
            raise MappingMismatchError(f"{self} and {other} cannot be combined; sketch both with one scheme")
