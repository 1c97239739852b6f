"""Carries result topics to a sink: read committed, write while the next batch is read, then commit the offsets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.canary import CanarySeen
from schemas.errors import ErrorCode
from schemas.topics import CANARIES_SEEN
from sinks.contract import Result, Sink
from sinks.decoding import Decoder, decode
from sinks.errors import BackPressureError, TopicError
from sinks.metrics import SinkMetrics
from sinks.reader import EARLIEST, LATEST, TIMEOUT

log = logging.getLogger(__name__)

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SinkLimits:
    """The largest batch in records, and how many seconds a smaller one may wait for more."""

    batch: int = 5_000
    linger: float = 0.5


@dataclass(slots=True)
class _Batch:
    """What is written and committed together: results, where the topics go on after them, and canaries that came along."""

    results: list[Result] = field(default_factory=list)
    positions: dict[Place, int] = field(default_factory=dict)
    canaries: dict[tuple[str, int], CanarySeen] = field(default_factory=dict)

    def drop(self, gone: set[Place]) -> None:
        """Forget partitions that another member reads now, from their last commit on."""
        self.results = [r for r in self.results if (r.topic, r.partition) not in gone]
        self.positions = {place: offset for place, offset in self.positions.items() if place not in gone}


class SinkRunner:
    """Read topics as a consumer group and write every committed result to a sink.

    The sink works on a thread of its own, one batch at a time and in order, while the next batch is read and decoded.

    Delivery: effectively once. Offsets are committed only after the sink has the batch for certain, so a crash at any
    point loses nothing; what is written again after it is the same by id, which the sink absorbs. Under back-pressure
    reading stops, the membership stays, and the same batch is offered again, for ever. Records that are no results are
    counted and left out. Canaries are read along, where there are some, and their age is shown once what came with them is written.
    A group that has never committed begins at ``start``, ``earliest`` or ``latest``.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        group: str,
        decoders: Mapping[str, Decoder],
        sink: Sink,
        metrics: SinkMetrics,
        *,
        limits: SinkLimits | None = None,
        start: str = EARLIEST,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._decoders = decoders
        self._sink = sink
        self._metrics = metrics
        self._limits = limits or SinkLimits()
        self._start = start
        self._monotonic = monotonic
        self._clock = clock
        self._topics = list(decoders)
        self._pending = _Batch()
        self._written: _Batch | None = None
        self._writing: Future[None] | None = None
        self._hand = ThreadPoolExecutor(1, "tw-sink")
        self._waiting = False
        self._consumer = Consumer(
            {
                "log_level": 3,
                **connection,
                "group.id": group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )

    def run(self, stopping: Event) -> None:
        """Work until ``stopping`` is set; a batch that is being written is finished, or left uncommitted where the target is away.

        Raises:
            TopicError: a topic is not there.
            SinkError: the sink cannot go on; nothing is lost, a restart takes up where the last commit was.
            KafkaException: no broker answers at first.
        """
        try:
            self._settle_start()
            if self._insist(lambda: self._hand.submit(self._sink.setup).result(), stopping):
                self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked)
                while not stopping.is_set():
                    self._step(stopping)
                self._finish()
        finally:
            self._consumer.close()
            self._hand.submit(self._sink.close).result()
            self._hand.shutdown()

    def _settle_start(self) -> None:
        """Check the topics and, if only new records are wanted, commit where they begin before anything is read.

        Left to the reader's own reset, records that come before its first commit would be skipped if it died.
        """
        known = self._consumer.list_topics(timeout=TIMEOUT).topics
        missing = [topic for topic in self._decoders if topic not in known]
        if missing:
            raise TopicError(f"no topic {', '.join(missing)}; make it with `tidewatch topics create`")
        if CANARIES_SEEN in known:
            self._topics.append(CANARIES_SEEN)
        if self._start == LATEST:
            places = [TopicPartition(topic, p) for topic in self._decoders for p in known[topic].partitions]
            new = [place for place in self._consumer.committed(places, timeout=TIMEOUT) if place.offset < 0]
            for place in new:
                _, place.offset = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT)
            if new:
                self._consumer.commit(offsets=new, asynchronous=False)

    def _step(self, stopping: Event) -> None:
        self._take(self._consumer.consume(self._limits.batch, self._limits.linger))
        if self._written is not None and self._insist(self._settle, stopping):
            self._commit()
        if self._written is None and self._pending.positions:
            self._written, self._pending = self._pending, _Batch()
            self._begin()

    def _begin(self) -> None:
        self._writing = self._hand.submit(self._write, self._written.results if self._written else [])

    def _settle(self) -> None:
        """Wait until the batch is written; one that met back-pressure is offered again by the next call."""
        if self._writing is None:
            self._begin()
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _finish(self) -> None:
        """Let a batch that is being written come to its end, and commit it."""
        if self._written is not None and self._writing is not None:
            with suppress(BackPressureError):
                self._settle()
                self._commit()

    def _take(self, messages: list[Message]) -> None:
        good = [message for message in messages if message.error() is None]
        self._metrics.received(sum(message.topic() != CANARIES_SEEN for message in good))
        for message in good:
            topic, partition, offset = (
                str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
            )  # fmt: skip
            self._pending.positions[topic, partition] = offset + 1
            if topic == CANARIES_SEEN:
                self._canary(message)
                continue
            value = decode(self._decoders[topic], message.value())
            if isinstance(value, msgspec.Struct):
                self._pending.results.append(Result(topic, partition, offset, message.timestamp()[1], value))
            else:
                self._leave_out(message, value)

    def _canary(self, message: Message) -> None:
        with suppress(msgspec.DecodeError):
            seen = msgspec.json.decode(message.value() or b"", type=CanarySeen)
            self._pending.canaries[seen.app, seen.partition] = seen

    def _leave_out(self, message: Message, code: ErrorCode) -> None:
        self._metrics.error("decode", code)
        self._metrics.discarded("unreadable", 1)
        log.warning(
            "%s[%s] at %s is no result (%s); left out",
            message.topic(), message.partition(), message.offset(), code,
        )  # fmt: skip

    def _write(self, results: list[Result]) -> None:
        if results:
            started = self._monotonic()
            written = self._sink.write(results)
            self._metrics.wrote(written, self._monotonic() - started)
            self._metrics.discarded("unwanted", len(results) - written)

    def _insist(self, action: Callable[[], None], stopping: Event) -> bool:
        """Do something until back-pressure lets it pass; tell whether it was done before ``stopping``."""
        while not stopping.is_set():
            try:
                action()
            except BackPressureError as pressure:
                self._metrics.error("write", pressure.code)
                log.warning("%s; trying again in %.1f s", pressure, pressure.retry_after)
                self._wait(pressure.retry_after, stopping)
            else:
                self._resume()
                return True
        return False

    def _wait(self, seconds: float, stopping: Event) -> None:
        """Wait without reading on, but polling, so that the group does not take this member for dead."""
        if not self._waiting:
            self._waiting = True
            self._consumer.pause(self._consumer.assignment())
        deadline = self._monotonic() + seconds
        while not stopping.is_set() and (left := deadline - self._monotonic()) > 0:
            self._take(self._consumer.consume(1, min(left, 0.2)))

    def _resume(self) -> None:
        if self._waiting:
            self._waiting = False
            self._consumer.resume(self._consumer.assignment())

    def _commit(self) -> None:
        batch, self._written = self._written or _Batch(), None
        offsets = [TopicPartition(*place, offset) for place, offset in batch.positions.items()]
        for seen in batch.canaries.values():
            self._metrics.canary(seen.app, seen.partition, seen.sent / 1000, self._clock())
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The batch is written; whoever reads it again writes the same ids again.
            self._metrics.error("commit", "kafka")
            log.warning("offsets were not committed: %s", error.args[0].str())

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        consumer.assign(places)
        if self._waiting:
            consumer.pause(places)

    def _revoked(self, _: Consumer, places: list[TopicPartition]) -> None:
        """Let the batch that is being written come to its end, lest it overtake the next owner's, and forget the rest of these."""
        self._finish()
        gone = {(place.topic, place.partition) for place in places}
        for batch in (self._written, self._pending):
            if batch is not None:
                batch.drop(gone)
