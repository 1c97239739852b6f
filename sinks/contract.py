"""The one contract of all sinks that take results: set up, write a batch, close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True)
class Result:
    """A decoded record of a result topic; ``timestamp`` is its log-append time in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: msgspec.Struct


class Sink(Protocol):
    """Where results go.

    All calls come from one thread. The runner may write the same result again after a crash, a rebalance or an error, so a sink
    must be idempotent by the result's ``id``: writing it twice leaves what writing it once does. Within a partition batches come
    in order.
    """

    def setup(self) -> None:
        """Make the target ready; called once before the first batch, again after back-pressure."""

    def write(self, batch: Sequence[Result]) -> int:
        """Write a batch, durably and whole, before returning; return how many of its results the target was to have.

        Raises:
            BackPressureError: not now; the same batch is offered again. Part of it may have been written.
            SinkError: never; the runner stops without committing.
        """

    def close(self) -> None:
        """Let go of the target."""
