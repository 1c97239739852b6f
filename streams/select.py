"""Rows passed on one by one: filters, derived numbers, chosen fields, and another key if wanted; no windows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from schemas.codec import Decoder
from schemas.columns import Columns
from schemas.event_types import EventType
from streams.burial import rejected
from streams.config import Stage
from streams.once import OnceTask
from streams.pipeline import Derived, Filter
from streams.task import Blocks, Output, Task
from streams.watermark import BEGINNING


@dataclass(frozen=True, kw_only=True)
class Select:
    """Publish the rows of a topic that pass all ``filters``, with ``fields`` of them: labels, numbers and derived numbers.

    Every result is a JSON object with ``id`` (``name|partition-offset-row``, the same after any crash), ``time`` and the fields.
    Its key is that of its event or, with ``key``, the value of that label; then it goes to the partition of the new key. Rows of
    a key stay in order where the key is kept; where it is changed, those of one source partition do.

    Raises:
        ValueError: there is no field, one is neither in the event nor derived, or the key is no label of it.
    """

    name: str
    source: str
    event: EventType
    fields: tuple[str, ...]
    results: str
    filters: tuple[Filter, ...] = ()
    derived: tuple[Derived, ...] = ()
    key: str | None = None
    version: int = 1

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("choose at least one field")
        known = {*self.event.labels, *self.event.numbers, *(made.name for made in self.derived)}
        for field in self.fields:
            if field not in known:
                raise ValueError(
                    f"{self.source} has no field {field!r}; there are {', '.join(sorted(known))}"
                )
        if self.key is not None and self.key not in self.event.labels:
            raise ValueError(f"{self.key!r} is no label of {self.source}; a key is one")

    @property
    def hash(self) -> str:
        """A digest of everything that decides results; raise ``version`` when a function behind a name changes."""
        parts = [
            self.name, self.source, self.event.name, self.fields, self.key, [f.name for f in self.filters],
            [d.name for d in self.derived], self.version,
        ]  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def stages(self, partitions: int) -> list[Stage]:
        """Return the one stage of an app whose topics have so many partitions."""
        return [
            Stage(
                topic=self.source,
                decode=Decoder(self.event, partitions=partitions),
                task=self._task,
                outputs={"result": self.results, "dead": f"{self.source}.dlq"},
                signature=self.hash,
                pipeline=self.name,
            )
        ]

    def _task(self, partition: int) -> Task:
        return OnceTask(SelectTask(self, partition))


class SelectTask:
    """Implements ``streams.task.Task`` for a ``Select`` on one partition; its state is how far it has come."""

    def __init__(self, select: Select, partition: int) -> None:
        self._select, self._prefix = select, f"{select.name}|{partition}"
        self._max_time = BEGINNING
        self._encode = msgspec.json.Encoder().encode

    @property
    def watermark(self) -> int:
        """The largest event time seen: nothing waits here."""
        return self._max_time

    @property
    def max_event_time(self) -> int:
        """The largest event time seen, in milliseconds."""
        return self._max_time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return those that pass, in order."""
        outputs = rejected(columns)
        if not len(columns):
            return outputs
        self._max_time = max(self._max_time, int(columns.event_time.max()))
        keep = np.ones(len(columns), bool)
        for condition in self._select.filters:
            keep &= condition.keep(columns)
        rows = np.flatnonzero(keep)
        if len(rows) < len(columns):
            columns = columns.take(rows, columns.start, columns.next)
        return outputs + self._results(columns) if len(columns) else outputs

    def _results(self, columns: Columns) -> list[Output]:
        names = self._select.fields
        numbers = dict(columns.numbers) | {d.name: d.compute(columns) for d in self._select.derived}
        values = zip(
            *(
                _texts(columns, name) if name in columns.labels else _floats(numbers[name].tolist())
                for name in names
            ),
            strict=True,
        )
        places = zip(columns.offset.tolist(), columns.row.tolist(), columns.event_time.tolist(), strict=True)
        keys, reach = self._keys(columns)
        encode, prefix = self._encode, self._prefix
        return [
            Output(
                "result",
                key,
                encode(
                    {
                        "id": f"{prefix}-{offset}-{row}",
                        "time": time,
                        **dict(zip(names, fields, strict=True)),
                    }
                ),
                to=reach,
            )
            for key, (offset, row, time), fields in zip(keys, places, values, strict=True)
        ]

    def _keys(self, columns: Columns) -> tuple[list[bytes], Literal["same", "key"]]:
        name = self._select.key
        texts = _texts(columns, self._select.event.key if name is None else name)
        return [text.encode() for text in texts], "same" if name is None else "key"

    def advance(self, position: int, watermark: int) -> list[Output]:  # noqa: ARG002
        """Return nothing: no row waits for time to pass."""
        return []

    def snapshot(self, *, full: bool) -> Blocks:  # noqa: ARG002
        """Return the state as one block."""
        return {"header": msgspec.msgpack.encode([self._max_time])}

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state; none at all is the empty state."""
        if blocks:
            (self._max_time,) = msgspec.msgpack.decode(blocks["header"])


def _texts(columns: Columns, name: str) -> list[str]:
    label = columns.labels[name]
    values = label.values
    return [values[code] for code in label.codes.tolist()]


def _floats(values: list[float]) -> list[float | None]:
    return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN stands for what is absent
