"""Copies of other workers' state: checkpoint partitions followed in memory, so that a takeover has little left to read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from streams.checkpoint import Restored, Warm
from streams.config import EngineConfig, Stage
from streams.errors import IncompatibleCheckpointError
from streams.followers import Followers
from streams.runner import signature_of

log = logging.getLogger(__name__)

BATCH = 500
RETRY_AFTER = 5.0
LONGEST_REST = 0.5


class Copies(threading.Thread):
    """Follow the checkpoint partitions of others, reading committed records only.

    Of stages whose tasks can follow, a copy is such a task, which takes over state as it is saved; of others it is the state's
    bytes. A copy is only ever a head start: its taker reads on from there to the partition's end, after having fenced the owner,
    and trusts no more than what the newest manifest lists. Copies take about ``config.standby_bytes`` of memory at most; one that
    would exceed them is given up. Building them takes at most half of this thread's time, since the partitions that are owned
    come first. ``tell`` is given the bytes held after each change, on this thread.
    """

    def __init__(
        self, config: EngineConfig, tell: Callable[[int], None], stages: Sequence[Stage] = ()
    ) -> None:
        super().__init__(name="tw-copies", daemon=True)
        self._config = config
        self._tell = tell
        self._stages, self._signature = stages, signature_of(stages)
        self._lock = threading.Lock()
        self._copies: dict[int, Warm] = {}
        self._changed = threading.Event()
        self._stop_now = threading.Event()
        self._assigned: set[int] = set()

    def follow(self, partitions: Collection[int]) -> None:
        """Follow these partitions and no others; copies there already are kept."""
        with self._lock:
            self._copies = {p: self._copies.get(p) or self._begun(p) for p in partitions}
        self._changed.set()
        if partitions and not self.is_alive() and not self._stop_now.is_set():
            self.start()

    def _begun(self, partition: int) -> Warm:
        return Warm(Restored(followers=Followers(self._stages, partition, self._signature)))

    def held(self) -> dict[int, int]:
        """Return the offsets up to which there are copies, by partition."""
        with self._lock:
            return {p: warm.next for p, warm in self._copies.items()}

    def following(self) -> list[int]:
        """Return the partitions of which there is a copy."""
        return sorted(p for p, reached in self.held().items() if reached)

    def take(self, partition: int) -> Warm | None:
        """Give up the copy of a partition to whoever owns it now."""
        with self._lock:
            warm = self._copies.pop(partition, None)
        self._changed.set()
        return warm if warm is not None and warm.next else None

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stop_now.set()
        self._changed.set()

    def run(self) -> None:
        """Follow until stopped."""
        consumer = Consumer(
            {
                "log_level": 3,
                **self._config.connection,
                "group.id": f"tidewatch-{self._config.app_id}-copies",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16_000,
                "max.partition.fetch.bytes": 4_000_000,
            }
        )
        try:
            while not self._stop_now.is_set():
                if self._changed.is_set():
                    self._changed.clear()
                    self._assign(consumer)
                if self._assigned:
                    self._read(consumer)
                else:
                    self._changed.wait(RETRY_AFTER)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        with self._lock:
            places = {p: warm.next or OFFSET_BEGINNING for p, warm in self._copies.items()}
        topic = self._config.checkpoint_topic
        gone, new = self._assigned - places.keys(), places.keys() - self._assigned
        if gone:
            consumer.incremental_unassign([TopicPartition(topic, p) for p in gone])
        if new:
            consumer.incremental_assign([TopicPartition(topic, p, places[p]) for p in new])
        self._assigned = set(places)

    def _read(self, consumer: Consumer) -> None:
        built = self._build()
        try:
            messages = consumer.consume(BATCH, 0.0 if built else 0.5)
        except KafkaException as error:
            log.warning("cannot read checkpoints of others: %s", error)
            self._stop_now.wait(RETRY_AFTER)
            return
        if not messages and not built:
            return
        with self._lock:
            for message in messages:
                self._take(message)
            self._bound()
            held = sum(warm.size for warm in self._copies.values())
        self._tell(held)

    def _build(self) -> bool:
        """Let each copy take over some of what it has read; return whether there was any."""
        began = time.monotonic()
        built = False
        for partition in self.held():
            with self._lock:
                warm = self._copies.get(partition)
                if warm is not None and warm.restored.followers is not None:
                    built |= self._grown(partition, warm.restored.followers)
        if built:
            self._stop_now.wait(min(time.monotonic() - began, LONGEST_REST))
        return built

    def _grown(self, partition: int, followers: Followers) -> bool:
        try:
            return followers.step()
        except Exception as error:  # of state that the owner's log has, so its taker will meet and tell it
            log.warning("no copy of partition %d: %r", partition, error)
            self._give_up(partition)
            return False

    def _take(self, message: Message) -> None:
        partition = int(message.partition() or 0)
        warm = self._copies.get(partition)
        offset = int(message.offset() or 0)
        if message.error() is not None or warm is None or offset < warm.next:
            return
        try:
            warm.restored.take(message.key() or b"", message.value() or b"", offset)
        except IncompatibleCheckpointError as error:
            log.warning("no copy of partition %d: %s", partition, error)
            self._give_up(partition)
        else:
            warm.next = offset + 1

    def _bound(self) -> None:
        for partition, warm in sorted(self._copies.items()):
            others = sum(other.size for p, other in self._copies.items() if p != partition)
            if warm.size + others > self._config.standby_bytes:
                log.warning(
                    "no copy of partition %d: copies would take more than %d MB, see TIDEWATCH_STANDBY_BYTES",
                    partition,
                    self._config.standby_bytes >> 20,
                )
                self._give_up(partition)
                return

    def _give_up(self, partition: int) -> None:
        del self._copies[partition]
        self._changed.set()
