"""What the fetch thread reads from: assigned partitions in, records by partition, ends and failures out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.columns import Int64s
from schemas.packed import Packed

Source = tuple[str, int]
Connection = Mapping[str, str | int]

NEWEST = -1
"""A position: where the partition ends when it is assigned."""


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Consecutive records of one partition, as in a ``RawBatch``."""

    source: Source
    offsets: Int64s
    log_times: Int64s
    keys: Packed
    values: Packed
    content_types: Sequence[str | None] | None

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def size(self) -> int:
        """How many bytes the values have."""
        return int(np.maximum(self.values.size, 0).sum())

    def part(self, begin: int, end: int) -> Records:
        """Return the records ``[begin, end)`` of these."""
        types = self.content_types
        return Records(
            self.source, self.offsets[begin:end], self.log_times[begin:end], self.keys.part(begin, end),
            self.values.part(begin, end), None if types is None else types[begin:end],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class End:
    """The partition has no committed record from ``offset`` on, for now; told once each time that it is reached."""

    source: Source
    offset: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A partition cannot be read on. Nothing more comes of it until it is assigned anew.

    ``cut_at`` is where its log was cut back behind the reader by an unclean leader election: records from there on are others now.
    A ``final`` one is met again whenever the place is read.
    """

    source: Source
    text: str
    cut_at: int | None = None
    final: bool = False


Arrival = Records | End | Failure


class Intake(Protocol):
    """A consumer of partitions that it is told; records of committed transactions only. For use by one thread."""

    def assign(self, source: Source, position: int) -> None:
        """Fetch a partition from a position on."""

    def unassign(self, source: Source) -> None:
        """Stop fetching a partition."""

    def pause(self, source: Source) -> None:
        """Hold a partition back."""

    def resume(self, source: Source) -> None:
        """Let a partition go on."""

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:
        """Wait for up to ``wait`` seconds, and yield what there is: up to ``limit`` records of each partition."""

    def close(self) -> None:
        """Leave and free what the client holds."""
