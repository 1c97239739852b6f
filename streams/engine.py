"""The engine of one worker: which partitions it owns, and the units that work on them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from streams.config import EngineConfig, Stage
from streams.errors import FencedError, IncompatibleCheckpointError, PartitionCountError
from streams.fetcher import Delivery, Fetcher
from streams.metrics import Metrics
from streams.unit import Parked, Unit

log = logging.getLogger(__name__)

RESTART_AFTER = 1.0
STOP_TIMEOUT = 8.0


class Engine:
    """Start and stop units as the group assigns and revokes partitions.

    Everything here runs on the event loop, but for ``_ended``, which units call from their threads. Assignment returns at once;
    opening a unit (fencing, restoring) happens on its own thread, so heartbeats go on meanwhile.
    """

    def __init__(
        self,
        config: EngineConfig,
        stages: Sequence[Stage],
        partitions: int,
        metrics: Metrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.config = config
        self.stages = stages
        self.arrivals: asyncio.Queue[Delivery] = asyncio.Queue()
        self._partitions = partitions
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._units: dict[int, Unit] = {}
        self._owned: set[int] = set()
        self._parked: dict[int, Parked] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fetcher = Fetcher(config, self._arrived)
        self._closing = threading.Event()
        self._rules: Mapping[str, str] = {}

    def assigned(self, sources: Iterable[tuple[str, int]]) -> None:
        """Take over the partitions whose every source topic was assigned."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._fetcher.start()
        topics = {stage.topic for stage in self.stages}
        by_partition: dict[int, set[str]] = {}
        for topic, partition in sources:
            by_partition.setdefault(partition, set()).add(topic)
        self._owned = {p for p, assigned in by_partition.items() if topics <= assigned}
        self._parked = {p: parked for p, parked in self._parked.items() if p in self._owned}
        self._metrics.rebalances.inc()
        self._metrics.owned(self._owned)
        for partition in sorted(self._owned):
            self._start(partition)

    async def revoked(self) -> None:
        """Commit and close every unit; those that do not end in time are left to be fenced by the next owner."""
        self._owned = set()
        await self._stop_units()

    async def close(self) -> None:
        """Commit, close every unit and stop fetching."""
        self._closing.set()
        await self.revoked()
        if self._loop is not None:
            await asyncio.to_thread(self._fetcher.stop)

    def submit(self, delivery: Delivery) -> None:
        """Hand a delivery to its unit."""
        unit = self._units.get(delivery.batch.partition)
        if unit is None:
            self._fetcher.done(delivery)
        else:
            unit.submit(delivery)

    def change_rules(self, pipeline: str, text: str) -> None:
        """Let a pipeline's tasks follow other live rules; any thread may call this."""
        self._rules = {**self._rules, pipeline: text}
        for unit in list(self._units.values()):
            unit.rules = self._rules

    def committed(self) -> Mapping[tuple[str, int], int]:
        """Return the committed positions of the partitions owned, for lag monitors."""
        units = list(self._units.values())
        return {
            (topic, unit.partition): position
            for unit in units
            for topic, position in unit.committed.items()
            if position >= 0
        }

    def _arrived(self, delivery: Delivery) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.arrivals.put_nowait, delivery)

    def _start(self, partition: int) -> None:
        if partition in self._units or partition not in self._owned or self._closing.is_set():
            return
        parked = self._parked.pop(partition, None)
        unit = Unit(
            partition,
            self._partitions,
            self.stages,
            self.config,
            self._fetcher,
            self._metrics,
            self._ended,
            parked,
        )
        self._units[partition] = unit
        unit.rules = self._rules
        unit.start()

    async def _stop_units(self) -> None:
        units, self._units = list(self._units.values()), {}
        for unit in units:
            unit.stop()
        deadline = self.config.monotonic() + STOP_TIMEOUT
        for unit in units:
            await asyncio.to_thread(unit.join, max(deadline - self.config.monotonic(), 0.0))
            if unit.is_alive():
                log.error("partition %d does not stop; its next owner will fence it", unit.partition)
            elif unit.parked is not None:
                self._parked[unit.partition] = unit.parked

    def _ended(self, unit: Unit, error: BaseException | None) -> None:
        if error is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._failed, unit, error)

    def _failed(self, unit: Unit, error: BaseException) -> None:
        if self._units.get(unit.partition) is unit:
            del self._units[unit.partition]
        if isinstance(error, IncompatibleCheckpointError | PartitionCountError):
            self._on_fatal(error)
        elif isinstance(error, FencedError):
            log.warning("partition %d was taken over: %s", unit.partition, error)
            self._metrics.fenced.inc()
            self._again(unit.partition)
        elif _transient(error):
            log.warning("partition %d lost Kafka, starting it again: %s", unit.partition, error)
            self._again(unit.partition)
        else:
            log.error("partition %d is stopped: %s", unit.partition, error, exc_info=error)
            self._metrics.stopped(unit.partition)

    def _again(self, partition: int) -> None:
        if self._loop is not None:
            self._loop.call_later(RESTART_AFTER, self._start, partition)


def _transient(error: BaseException) -> bool:
    from confluent_kafka import KafkaException

    return isinstance(error, KafkaException)
