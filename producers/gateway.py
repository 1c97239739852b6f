"""A gateway: readings in, Arrow records out, on local disk until the broker has them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
from confluent_kafka import KafkaException

from producers.errors import BackPressureError, MappingError, ProducerFailedError, SpoolFullError
from producers.forwarder import KINDS, Forwarder, partitions_of
from producers.splitting import ipc_stream, split, split_panes
from producers.spool import Spool, SpoolLimits
from producers.spool_entries import Item
from schemas.checks import Limits
from schemas.codec import ARROW, JSON, Decoder
from schemas.columns import Columns, RawBatch
from schemas.event_types import SENSOR_READING, EventType
from schemas.wire_panes import PANES, Reduced

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ARROW, _JSON, _PANES = KINDS.index(ARROW), KINDS.index(JSON), KINDS.index(PANES)

Reduce = Callable[[Columns], tuple[Reduced | None, Columns]]
"""Turns events into panes, and returns those events that cannot be in one."""


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds of a gateway: rows of a batch over all partitions, seconds until one that is not full is cut, bytes of a record.

    ``max_block`` is how long a caller waits while the spool is full (``None``: until there is room).
    """

    batch_rows: int = 4_000
    linger: float = 1.0
    max_record_bytes: int = 900_000
    max_block: float | None = None


@dataclass(frozen=True, slots=True)
class GatewayCounts:
    """Rows that were handed in, in Arrow records, passed on as they came, known to be on the topic, and let go of.

    ``pending`` are on disk or still to be cut into a batch.
    """

    accepted: int
    passed_on: int
    delivered: int
    dropped: int
    pending: int


class Gateway:
    """Take readings in and see that they reach the topic, whatever happens to the broker or the network in between.

    Each batch is split by the partition of its keys, one Arrow record for a partition. What is no valid event is passed on as it
    came, as JSON, for the processors to dead-letter. Values go in the canonical unit of their quantity. With ``reduce`` each batch
    goes as panes, which processors add to what arrives as rows.

    Delivery: what a call took is on disk, as synced as ``spool_limits`` says, when its batch is cut (``flush`` cuts at once), and
    from then on it outlives a kill. It reaches the topic in order of each partition, at least once; what is sent again bears the
    same record key, (spool, number), and processors count it once. Calls may come from several threads.

    Raises:
        SpoolError, ProducerFailedError: the directory, the topic or the name cannot be used.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        topic: str,
        name: str,
        directory: Path,
        *,
        event: EventType = SENSOR_READING,
        reduce: Reduce | None = None,
        partitions: int | None = None,
        limits: GatewayLimits | None = None,
        spool_limits: SpoolLimits | None = None,
        connect_timeout: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ProducerFailedError(
                f"{name!r} is no name for a gateway: use up to 100 letters, digits and ._-"
            )
        self.name = name
        self._topic, self._event, self._limits = topic, event, limits or GatewayLimits()
        self._monotonic, self._reduce = monotonic, reduce
        found = _partitions(connection, topic, connect_timeout)
        self._spool = Spool(
            directory, name, topic, partitions if found is None else found, spool_limits, monotonic
        )
        self._decode = Decoder(event)
        self._decode_table = Decoder(event, limits=Limits(max_bytes=1 << 40))  # it never was a record
        self._lines: list[bytes] = []
        self._since = 0.0
        self._lock = threading.RLock()
        self._accepted = self._passed_on = 0
        self._encode = msgspec.json.Encoder().encode
        self._forwarder = Forwarder(connection, topic, self._spool, self._tick)
        self._forwarder.start()

    @property
    def counts(self) -> GatewayCounts:
        """The counts of this life; what an earlier one left on disk is delivered on top of what was accepted."""
        dropped, delivered = self._spool.dropped, self._forwarder.delivered
        pending = max(self._accepted + self._passed_on - delivered - dropped, 0) + len(self._lines)
        return GatewayCounts(self._accepted, self._passed_on, delivered, dropped, pending)

    @property
    def problem(self) -> str | None:
        """What the broker last refused, if anything."""
        return self._forwarder.last_problem

    @property
    def restarts(self) -> int:
        """How often sending had to begin anew, because the broker refused something."""
        return self._forwarder.restarts

    @property
    def backlog(self) -> int:
        """The bytes on disk, those already delivered but not yet removed among them."""
        return self._spool.size

    @property
    def damaged(self) -> int:
        """The bytes on disk that failed their checksum and were passed over."""
        return self._spool.damaged

    @property
    def empty(self) -> bool:
        """Whether everything handed in is on the topic."""
        return not self._lines and self._spool.acked >= self._spool.last

    def send(self, event: msgspec.Struct) -> None:
        """Take one typed event; errors as in ``send_lines``."""
        self.send_lines([self._encode(event)])

    def send_lines(self, lines: Sequence[bytes]) -> None:
        """Take events in JSON, one a line.

        Raises:
            BackPressureError: the spool stayed full for ``max_block`` seconds; the lines are kept for the next batch.
        """
        with self._lock:
            if not self._lines:
                self._since = self._monotonic()
            self._lines += lines
        while len(self._lines) >= self._limits.batch_rows:
            self._cut_when_room(self._limits.batch_rows)

    def send_table(self, table: pa.Table) -> None:
        """Take whole columns, named as the event's fields, as batches of their own; errors as in ``send_lines``.

        Raises:
            MappingError: the table has not the columns of such events.
        """
        self.flush()
        for first in range(0, len(table), self._limits.batch_rows):
            columns = _of_table(self._decode_table, self._topic, table.slice(first, self._limits.batch_rows))
            self._when_room(partial(self._keep, columns, [bad.value or b"" for bad in columns.rejected]))

    def flush(self) -> None:
        """Cut what was taken so far into a batch, so that it is on disk."""
        while self._lines:
            self._cut_when_room(self._limits.batch_rows)

    def wait_until_delivered(self, timeout: float) -> bool:
        """Flush, and wait until everything is on the topic; say whether it is."""
        self.flush()
        deadline = self._monotonic() + timeout
        while not self.empty:
            if self._monotonic() >= deadline:
                return False
            self._spool.wait_for_room(min(0.1, timeout))
        return True

    def close(self, timeout: float = 10.0) -> GatewayCounts:
        """Cut the last batch, wait for delivery for so many seconds at most, and leave the rest on disk for the next life."""
        try:
            self.wait_until_delivered(timeout)
        finally:
            if self._forwarder.stop(30.0):
                self._spool.close()
        return self.counts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(10.0 if kind is None else 0.0)

    # --- batches

    def _tick(self) -> None:
        self._spool.sync_if_due()
        if self._lines and self._monotonic() - self._since >= self._limits.linger:
            try:
                self._cut(self._limits.batch_rows)
            except SpoolFullError:
                self._since = self._monotonic()  # whoever sends next waits for room

    def _cut_when_room(self, rows: int) -> None:
        self._when_room(lambda: self._cut(rows))

    def _when_room(self, act: Callable[[], None]) -> None:
        started, patience = self._monotonic(), self._limits.max_block
        while True:
            try:
                return act()
            except SpoolFullError as error:
                if patience is not None and self._monotonic() - started >= patience:
                    raise BackPressureError(f"{error}, and no room came for {patience} s") from error
                self._spool.wait_for_room(0.1)

    def _cut(self, rows: int) -> None:
        with self._lock:
            lines = self._lines[:rows]
            if lines:
                columns = self._decode(_batch(self._topic, lines, None))
                self._keep(columns, [bad.value or b"" for bad in columns.rejected])
                del self._lines[: len(lines)]

    def _keep(self, columns: Columns, rejected: Sequence[bytes]) -> None:
        partitions, most = self._spool.meta.partitions, self._limits.max_record_bytes
        reduced, rest = (None, columns) if self._reduce is None else self._reduce(columns)
        panes = () if reduced is None else split_panes(reduced, self._event.key, partitions, most)
        items = [Item(part.partition, part.rows, _PANES, part.value) for part in panes]
        items += [
            Item(part.partition, part.rows, _ARROW, part.value)
            for part in split(rest, self._event, partitions, most)
        ]
        items += [Item(i % partitions, 1, _JSON, value[:most]) for i, value in enumerate(rejected)]
        with self._lock:
            if items:
                self._spool.append(items)
            self._accepted += len(columns)
            self._passed_on += len(rejected)


def _partitions(connection: Mapping[str, str | int], topic: str, timeout: float) -> int | None:
    try:
        return partitions_of(connection, topic, timeout)
    except KafkaException as error:
        raise ProducerFailedError(f"topic {topic}: {error.args[0].str()}") from error


def _of_table(decode: Decoder, topic: str, table: pa.Table) -> Columns:
    stream = ipc_stream({name: _whole(table.column(name)) for name in table.column_names})
    columns = decode(_batch(topic, [stream], [ARROW]))
    whole = [bad for bad in columns.rejected if bad.value == stream]
    if whole:
        raise MappingError(f"no table of events: {whole[0].detail}")
    return columns


def _whole(column: Any) -> Any:
    """Return a column in one piece; dictionaries of its chunks may differ."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.combine_chunks()


def _batch(topic: str, values: Sequence[bytes], types: Sequence[str] | None) -> RawBatch:
    n = len(values)
    return RawBatch(
        topic, 0, 0, n, np.arange(n, dtype=np.int64), np.full(n, -1, np.int64), [None] * n, values, types
    )
