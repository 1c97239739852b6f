"""Labels that are not in the event but follow from it: looked up in a fixed table, or read off the calendar."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from schemas.columns import Coded, Columns, RawBatch

HOUR_MS: Final = 3_600_000
_HOURS: Final = [f"{hour:02d}" for hour in range(24)]


class Attribute(Protocol):
    """What a pipeline declares: a name, and one text a row. The same list of values for batch after batch keeps groups cheap."""

    @property
    def name(self) -> str:
        """The name of the label."""

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""

    def of(self, columns: Columns) -> Coded:
        """Return the label of every row."""


@dataclass(frozen=True)
class LookUp:
    """The value of a label in a fixed table, such as the campaign of an advertisement; ``default`` for what is not in it.

    A table that changes is a topic: join it (``streams.joins``). Each thread remembers the texts that it has looked up.
    """

    name: str
    label: str
    table: Mapping[str, str]
    default: str = ""
    _memory: threading.local = field(default_factory=threading.local, compare=False, repr=False)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash: other entries are another table."""
        entries = hashlib.sha256(repr(sorted(self.table.items())).encode()).hexdigest()
        return f"LookUp({self.name!r}, {self.label!r}, {self.default!r}, {entries})"

    def of(self, columns: Columns) -> Coded:
        """Return the label of every row, coded like the one that is looked up."""
        label = columns.labels[self.label]
        known: tuple[Sequence[Any], list[str]] | None = getattr(self._memory, "known", None)
        if known is None or known[0] is not label.values:
            known = self._memory.known = (label.values, list[str]())
        found = known[1]
        fresh = label.values[len(found) :]
        found.extend(self.table.get(text, self.default) for text in fresh)
        return Coded(label.codes, found)


@dataclass(frozen=True)
class HourOfDay:
    """The hour of the event time, ``00`` to ``23``, in UTC or at a fixed offset from it."""

    name: str = "hour"
    utc_offset_ms: int = 0

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return repr(self)

    def of(self, columns: Columns) -> Coded:
        """Return the label of every row."""
        hour = (columns.event_time + self.utc_offset_ms) // HOUR_MS % 24
        return Coded(hour.astype(np.int32), _HOURS)


@dataclass(frozen=True)
class Attributed:
    """Decodes batches as another decoder does, and adds attributes to their labels, each of which may use those before it."""

    decode: Callable[[RawBatch], Columns]
    attributes: Sequence[Attribute]

    def __call__(self, batch: RawBatch) -> Columns:
        """Decode a batch."""
        columns = self.decode(batch)
        for attribute in self.attributes:
            columns = replace(columns, labels={**columns.labels, attribute.name: attribute.of(columns)})
        return columns
