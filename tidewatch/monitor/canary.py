"""Sends canaries through every partition and shows how old each was when it came out at the other end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage
from prometheus_client import CollectorRegistry

from producers.producer import ProducerLimits, librdkafka_settings
from schemas.canary import Canary, CanarySeen
from schemas.metrics import CANARY_AGE, CANARY_SENT
from schemas.topics import CANARIES, CANARIES_SEEN
from tidewatch.monitor.exposition import Family
from tidewatch.monitor.following import follower

FORGOTTEN_AFTER: Final = 3_600.0
"""Seconds without a canary after which an app is taken to be gone for good; as long as the topic remembers."""
_WAIT = 0.2
_LIMITS = ProducerLimits(linger=0.0, delivery_timeout=30.0)

Place = tuple[str, str, str]


class CanaryBook:
    """The newest canary of each (app, partition, stage): when it was sent, and its age when it was there. Not thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._age = Family(CANARY_AGE, registry)
        self._sent = Family(CANARY_SENT, registry)
        self._newest: dict[Place, tuple[float, float]] = {}

    def saw(self, app: str, partition: int, stage: str, sent: float, now: float) -> None:
        """Take a canary that was sent at ``sent`` and is there at ``now``, in seconds; older ones than the newest say nothing."""
        place = app, str(partition), stage
        if place not in self._newest or self._newest[place][0] < sent:
            self._newest[place] = sent, max(now - sent, 0.0)

    def show(self, now: float) -> None:
        """Show all but what has not been seen for too long."""
        kept = {place: seen for place, seen in self._newest.items() if now - seen[0] < FORGOTTEN_AFTER}
        self._newest = kept
        self._age.show((place, age) for place, (_, age) in kept.items())
        self._sent.show((place, sent) for place, (sent, _) in kept.items())


class CanaryRunner(threading.Thread):
    """Send a canary to every partition each ``every`` seconds and follow those that workers publish, read_committed.

    Delivery: at most once; a canary is worth nothing once the next has been sent. Ends when told to stop, or with an error of Kafka
    that it tells; whoever runs it starts another. Topics that are not there are waited for.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        book: CanaryBook,
        every: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name="tw-canary", daemon=True)
        self._connection = connection
        self._book = book
        self._every = every
        self._say = say
        self._clock = clock
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end, and wait for it."""
        self._stopping.set()
        self.join(10)

    def run(self) -> None:
        """Send and follow until stopped."""
        consumer = follower(self._connection, {"fetch.wait.max.ms": 100})
        producer = Producer({"log_level": 3, **librdkafka_settings(self._connection, _LIMITS)})
        try:
            self._work(consumer, producer)
        except KafkaException as error:
            self._say(f"canaries: {error.args[0].str()}")
        finally:
            producer.purge(in_queue=True, in_flight=True, blocking=False)
            consumer.close()

    def _work(self, consumer: Consumer, producer: Producer) -> None:
        sources, seen = self._partitions(consumer)
        consumer.assign([TopicPartition(CANARIES_SEEN, p, OFFSET_BEGINNING) for p in seen])
        due = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + self._every
                self._send(producer, sources)
            producer.poll(0)
            self._take(consumer.poll(_WAIT))
            self._book.show(self._clock())

    def _partitions(self, consumer: Consumer) -> tuple[list[int], list[int]]:
        """Wait for the topics and return the partitions of both; none when told to stop."""
        told = False
        while not self._stopping.is_set():
            known = consumer.list_topics(timeout=30).topics
            if {CANARIES, CANARIES_SEEN} <= known.keys():
                return list(known[CANARIES].partitions), list(known[CANARIES_SEEN].partitions)
            if not told:
                self._say(f"no canaries: {CANARIES} is not there; 'tidewatch topics create' makes it")
                told = True
            self._stopping.wait(self._every)
        return [], []

    def _send(self, producer: Producer, partitions: list[int]) -> None:
        sent = int(self._clock() * 1000)
        value = msgspec.json.encode(Canary(sent))
        for partition in partitions:
            producer.produce(
                CANARIES, value, partition=partition, on_delivery=self._acknowledged(partition, sent)
            )

    def _acknowledged(self, partition: int, sent: int) -> Callable[[KafkaError | None, KafkaMessage], None]:
        def told(error: KafkaError | None, _: KafkaMessage) -> None:
            if error is None:
                self._book.saw("", partition, "acknowledged", sent / 1000, self._clock())

        return told

    def _take(self, message: KafkaMessage | None) -> None:
        if message is None or message.error() is not None:
            return
        try:
            seen = msgspec.json.decode(message.value() or b"", type=CanarySeen)
        except msgspec.DecodeError:
            return  # not written by a worker of this version
        self._book.saw(seen.app, seen.partition, "published", seen.sent / 1000, self._clock())
