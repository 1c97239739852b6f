"""From the spool to Kafka, in order, for as long as it takes: a thread that a gateway runs."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.cloudevents import Headers
from producers.producer import ProducerLimits, librdkafka_settings
from producers.spool import Spool
from producers.spool_entries import Entry
from schemas.batch_ids import batch_key
from schemas.codec import ARROW, JSON
from schemas.wire_panes import PANES

log = logging.getLogger(__name__)

KINDS = (ARROW, JSON, PANES)
_IN_FLIGHT_BYTES = 32 << 20
_TICK = 0.05
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class _Slot:
    """An entry handed to librdkafka."""

    number: int
    rows: int
    size: int
    done: bool = False


class Forwarder(threading.Thread):
    """Send what a spool holds and tell it what has arrived; ``every_tick`` is called about every 50 ms.

    Delivery: in order on each partition, to all in-sync replicas, each batch once while this thread lives. After a crash, or an
    error that ends librdkafka's producer, what was not known to have arrived is sent again under the same record key, by which
    readers leave it out. Nothing expires: while no broker answers, it waits. What a broker refuses is tried again, at least every
    30 s, and nothing behind it overtakes it.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        topic: str,
        spool: Spool,
        every_tick: Callable[[], None],
        compression: str = "zstd",
    ) -> None:
        super().__init__(name=f"forward-{topic}", daemon=True)
        self._topic, self._spool, self._every_tick = topic, spool, every_tick
        self._settings = librdkafka_settings(
            {"compression.type": compression, "log_level": 3, **connection}, _LIMITS
        ) | {
            # Nothing may time out, and nothing overtake what failed: numbers on a partition must rise.
            "message.timeout.ms": 0,
            "enable.gapless.guarantee": True,
        }
        self._stopping = threading.Event()
        self._in_flight: deque[_Slot] = deque()
        self._problem: KafkaError | None = None
        self.delivered = 0
        self.restarts = 0
        self.last_problem: str | None = None

    def run(self) -> None:
        """Send until told to stop."""
        pause = 0.5
        while not self._stopping.is_set():
            before = self.delivered
            try:
                self._live()
            except Exception as error:  # nothing may end the thread: what is on disk is still to be sent
                known = isinstance(error, KafkaException)
                self.last_problem = error.args[0].str() if known else repr(error)
                self.restarts += 1
                pause = 0.5 if self.delivered > before else min(2 * pause, _LONGEST_PAUSE)
                log.warning(
                    "%s; sending again from batch %d on in %g s",
                    self.last_problem,
                    self._spool.acked + 1,
                    pause,
                )
                self._rest(pause)

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end, wait for it, and say whether it has ended."""
        self._stopping.set()
        self.join(timeout)
        return not self.is_alive()

    def _rest(self, seconds: float) -> None:
        ticks = max(int(seconds / _TICK), 1)
        for _ in range(ticks):
            if self._stopping.wait(_TICK):
                return
            self._every_tick()

    def _live(self) -> None:
        """Send with one producer until it fails or the thread is to stop."""
        self._in_flight.clear()
        self._problem = None
        producer = Producer(self._settings, logger=log)
        reader = self._spool.entries(self._spool.acked)
        size = 0
        try:
            while not self._stopping.is_set():
                while size < _IN_FLIGHT_BYTES and (entry := next(reader)) is not None:
                    self._hand_over(producer, entry)
                    size += len(entry.value)
                if self._in_flight:
                    producer.poll(_TICK)
                else:
                    self._spool.wait_for_more(_TICK)
                    producer.poll(0)
                size -= self._settle()
                if self._problem is not None:
                    raise KafkaException(self._problem)
                self._every_tick()
        finally:
            reader.close()  # type: ignore[attr-defined]
            producer.purge(in_queue=True, in_flight=True, blocking=True)
            producer.flush(1.0)
            self._settle()

    def _hand_over(self, producer: Producer, entry: Entry) -> None:
        slot = _Slot(entry.number, entry.rows, len(entry.value))
        headers = self._headers(entry)
        key = batch_key(self._spool.meta.stream, entry.number)

        def report(error: KafkaError | None, _: Message) -> None:
            if error is None:
                slot.done = True
            elif self._problem is None:
                self._problem = error

        while True:
            try:
                producer.produce(
                    self._topic, entry.value, key, entry.partition, on_delivery=report, headers=headers
                )
            except BufferError:
                producer.poll(_TICK)
            else:
                self._in_flight.append(slot)
                return

    def _headers(self, entry: Entry) -> Headers:
        kind = KINDS[entry.kind]
        if kind == JSON:
            return [("content-type", JSON)]
        return [
            ("ce_specversion", "1.0"),
            ("ce_id", str(entry.number)),
            ("ce_source", f"/gateways/{self._spool.meta.stream}"),
            ("ce_type", "tidewatch.batch.v1"),
            ("content-type", kind),
        ]

    def _settle(self) -> int:
        """Acknowledge what has arrived with everything before it, and return its bytes."""
        size, number = 0, -1
        while self._in_flight and self._in_flight[0].done:
            slot = self._in_flight.popleft()
            size, number = size + slot.size, slot.number
            self.delivered += slot.rows
        if number >= 0:
            self._spool.ack(number)
        return size


def partitions_of(connection: Mapping[str, Any], topic: str, timeout: float) -> int | None:
    """Return how many partitions a topic has, ``None`` if no broker answers in time.

    Raises:
        KafkaException: a broker answers that there is no such topic, or that it may not be used.
    """
    producer = Producer({"log_level": 2, **connection})
    try:
        found = producer.list_topics(topic, timeout).topics[topic]
    except KafkaException as error:
        if error.args[0].code() in _AWAY:
            return None
        raise
    if found.error is not None:
        raise KafkaException(found.error)
    return len(found.partitions)


_AWAY = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE)
_LIMITS = ProducerLimits(buffer_kbytes=2 * _IN_FLIGHT_BYTES >> 10, linger=0.005, delivery_timeout=0)
