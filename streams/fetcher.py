"""The fetch thread: partitions that tasks ask for in, one delivery for each partition batch out, bounded in bytes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from schemas.columns import RawBatch
from streams.config import EngineConfig
from streams.consumer import BatchConsumer
from streams.intake import Connection, End, Failure, Intake, Records, Source


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A batch on its way to the task that asked for it; ``ticket`` names the request, so that older ones are told apart."""

    ticket: int
    batch: RawBatch
    size: int
    at_end: bool = False
    error: Failure | None = None


@dataclass(slots=True)
class _Feed:
    ticket: int
    next: int
    buffered: int = 0
    paused: bool = False


class Fetcher:
    """Fetch the partitions that tasks asked for and hand each batch to ``deliver``.

    A partition with more than its share of bytes under way leaves the fetch set until half of them are processed; the
    others go on. ``deliver``, ``buffered`` (bytes under way) and ``failed`` (fetching has ended for good) are called on the fetch
    thread. Only records of committed transactions are delivered.
    """

    def __init__(
        self,
        config: EngineConfig,
        deliver: Callable[[Delivery], None],
        buffered: Callable[[int], None],
        failed: Callable[[BaseException], None],
        intake: Callable[[Connection], Intake] = BatchConsumer,
    ) -> None:
        self._config = config
        self._deliver = deliver
        self._tell_buffered = buffered
        self._failed = failed
        self._open = intake
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._feeds: dict[Source, _Feed] = {}
        self._tickets = 0
        self._ticket_lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tw-fetch", daemon=True)

    def start(self) -> None:
        """Start the fetch thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it and close the consumer."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def add(self, source: Source, position: int) -> int:
        """Fetch ``source`` from ``position`` on and return the ticket of its deliveries; replaces an earlier request."""
        with self._ticket_lock:
            self._tickets += 1
            ticket = self._tickets
        self._command(lambda: self._assign(source, position, ticket))
        return ticket

    def remove(self, source: Source, ticket: int) -> None:
        """Stop fetching ``source`` if ``ticket`` is still its newest request."""
        self._command(lambda: self._unassign(source, ticket))

    def done(self, delivery: Delivery) -> None:
        """Say that a delivery was processed or dropped, which frees its bytes."""
        self._command(lambda: self._release(delivery))

    def _command(self, command: Callable[[], None]) -> None:
        self._commands.put(command)
        self._wake.set()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # nothing may leave the thread unseen
            self._failed(error)

    def _work(self) -> None:
        self._intake = self._open(self._config.connection)
        try:
            while not self._stop.is_set():
                self._wake.clear()
                while not self._commands.empty():
                    self._commands.get()()
                if self._feeds:
                    self._fetch()
                else:
                    self._wake.wait(0.5)
        finally:
            self._intake.close()

    def _assign(self, source: Source, position: int, ticket: int) -> None:
        if source in self._feeds:
            self._intake.unassign(source)
        self._feeds[source] = _Feed(ticket, position)
        self._intake.assign(source, position)

    def _unassign(self, source: Source, ticket: int) -> None:
        feed = self._feeds.get(source)
        if feed is not None and feed.ticket == ticket:
            del self._feeds[source]
            self._intake.unassign(source)

    def _release(self, delivery: Delivery) -> None:
        source = (delivery.batch.topic, delivery.batch.partition)
        feed = self._feeds.get(source)
        if feed is None or feed.ticket != delivery.ticket:
            return
        feed.buffered -= delivery.size
        buffered = self._buffered()
        self._tell_buffered(buffered)
        roomy = buffered <= self._config.worker_buffer_bytes // 2
        for name, other in self._feeds.items():
            # One that has nothing under way goes on even where stuck ones hold all the room.
            enough = self._config.partition_buffer_bytes // 2 if roomy else 0
            if other.paused and other.buffered <= enough:
                other.paused = False
                self._intake.resume(name)

    def _buffered(self) -> int:
        return sum(feed.buffered for feed in self._feeds.values())

    def _fetch(self) -> None:
        arrivals = list(self._intake.consume(self._config.fetch_records, self._config.fetch_wait))
        newest = {arrival.source: arrival for arrival in arrivals if isinstance(arrival, Records)}
        ends = {arrival.source: arrival.offset for arrival in arrivals if isinstance(arrival, End)}
        for arrival in arrivals:
            feed = self._feeds.get(arrival.source)
            if feed is None:
                continue
            match arrival:
                case Records():
                    # The end goes with the last records before it, rather than as a delivery of its own.
                    last = newest[arrival.source] is arrival
                    self._records(feed, arrival, ends.get(arrival.source) if last else None)
                case End() if arrival.source not in newest:
                    self._end(feed, arrival)
                case Failure():
                    batch = _empty(arrival.source, feed.next, feed.next)
                    self._deliver(Delivery(feed.ticket, batch, 0, error=arrival))

    def _end(self, feed: _Feed, end: End) -> None:
        reached = max(feed.next, end.offset)
        batch = _empty(end.source, feed.next, reached)
        feed.next = reached
        self._deliver(Delivery(feed.ticket, batch, 0, at_end=True))

    def _records(self, feed: _Feed, records: Records, end: int | None) -> None:
        """Deliver records, and with them that the partition ends at offset ``end``, unless they lie beyond it."""
        n = len(records.offsets)
        next_ = int(records.offsets[-1]) + 1
        at_end = end is not None and end >= next_
        if end is not None and at_end:
            next_ = end
        batch = RawBatch(
            *records.source,
            start=feed.next,
            next=next_,
            offsets=records.offsets,
            log_times=records.log_times,
            keys=records.keys,
            values=records.values,
            content_types=records.content_types,
        )
        feed.next = next_
        size = records.size + 100 * n
        feed.buffered += size
        self._tell_buffered(self._buffered())
        full = feed.buffered > self._config.partition_buffer_bytes
        if not feed.paused and (full or self._buffered() > self._config.worker_buffer_bytes):
            feed.paused = True
            self._intake.pause(records.source)
        self._deliver(Delivery(feed.ticket, batch, size, at_end))


def _empty(source: Source, start: int, next_: int) -> RawBatch:
    none = np.empty(0, np.int64)
    return RawBatch(*source, start, next_, none, none, [], [])
