"""The engine of one worker: which partitions it owns, and the units that work on them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.balance import Note, encode_note
from streams.compatibility import moved_keys
from streams.config import EngineConfig, Stage
from streams.copies import Copies
from streams.costs import Spent
from streams.errors import (
    BreakerOpenError,
    FencedError,
    HandlerError,
    IncompatibleCheckpointError,
    OutputRefusedError,
    PartitionCountError,
    PositionLostError,
    StoppingError,
    UnreadableError,
)
from streams.failpoints import failpoint
from streams.fetcher import Delivery, Fetcher
from streams.holdings import Holdings
from streams.membership import Heirdom
from streams.metrics import Metrics
from streams.overseer import Overseer
from streams.preflight import check_unchanged
from streams.structs import settle
from streams.unit import Parked, Unit

log = logging.getLogger(__name__)

RESTART_AFTER, RESTART_AT_MOST = 1.0, 30.0
STOP_TIMEOUT = 8.0
# What a restart of the partition would only meet again.
FINAL = (BreakerOpenError, HandlerError, PositionLostError, UnreadableError)


class Engine:
    """Start and stop units as the group assigns and revokes partitions.

    Everything here runs on the event loop, but for ``_ended`` and ``_arrived``, which other threads call. Assignment returns at
    once; opening a unit (fencing, restoring) happens on its own thread, so heartbeats go on meanwhile.

    A unit that fails does not end the worker: it is started again where that can help, ever later, and else stays stopped until
    the next assignment. Either way the metric ``tidewatch_partition_stopped`` is 1 until it works again, and the log says what to
    do. ``on_fatal`` is called where no partition of this app may go on; ``rejoin`` asks the group who owns what.
    """

    def __init__(
        self,
        config: EngineConfig,
        stages: Sequence[Stage],
        partitions: int,
        metrics: Metrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        settle()
        self.config = config
        self.stages = stages
        self.arrivals: asyncio.Queue[Delivery] = asyncio.Queue()
        self._partitions = partitions
        self._metrics = metrics
        for stage in stages:
            metrics.tallied(stage.pipeline, dict.fromkeys(stage.tallies, 0))
        self._on_fatal = on_fatal
        self._units: dict[int, Unit] = {}
        self._owned: set[int] = set()
        self._parked: dict[int, Parked] = {}
        self._admin: AdminClient | None = None
        self._failures: dict[int, int] = {}
        self._paused_since: float | None = None
        self._regrouping = False
        self.rejoin: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fetcher = Fetcher(config, self._arrived, metrics.buffered_bytes.set, self._fetching_failed)
        self._copies = Copies(config, metrics.standby_bytes.set, stages)
        sources = [(stage.topic, p) for stage in stages for p in range(partitions)]
        self.member = Holdings(config, lambda: self._overseer.costs, self._copies.following)
        self._overseer = Overseer(
            config, sources, self.member.worker, self._trailing, self._share_anew, self._spent
        )
        self._closing = threading.Event()
        self._rules: Mapping[str, str] = {}

    def assigned(self, sources: Iterable[tuple[str, int]]) -> None:
        """Take over the partitions whose every source topic was assigned."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._fetcher.start()
            if self.config.takeover_after:
                self._overseer.start()
        topics = {stage.topic for stage in self.stages}
        by_partition: dict[int, set[str]] = {}
        for topic, partition in sources:
            by_partition.setdefault(partition, set()).add(topic)
        if any(partition >= self._partitions for partition in by_partition):
            self._on_fatal(moved_keys(self.config.app_id, self._partitions, max(by_partition) + 1))
            return
        failpoint("assigned")
        self._regrouping = False
        self._failures.clear()
        self._owned = {p for p, assigned in by_partition.items() if topics <= assigned}
        self._parked = {p: parked for p, parked in self._parked.items() if p in self._owned}
        self._metrics.rebalances.inc()
        self._metrics.owned(self._owned)
        told = self.member.told
        self.member.assigned(self._owned)
        self._overseer.begin(told.heirdoms, self._owned)
        self._copies.follow({*told.copies, *self._owned.intersection(self._copies.following())})
        for partition in sorted(self._owned):
            self._start(partition, self._paused_since)
        self._paused_since = None

    async def revoked(self) -> None:
        """Commit and close every unit; those that do not end in time are left to be fenced by the next owner."""
        failpoint("revoked")
        self._regrouping = True
        if self._units and self._paused_since is None:
            self._paused_since = self.config.monotonic()
        self._owned = set()
        self._overseer.pause()
        await self._stop_units()

    async def close(self) -> None:
        """Commit, close every unit and stop fetching."""
        self._closing.set()
        self._overseer.stop()
        self._copies.stop()
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

    def loop_lagged(self, seconds: float) -> None:
        """Note by how much the event loop came late."""
        self._metrics.loop_lag.observe(seconds)

    def note(self, partition: int) -> str:
        """Return what to note with the committed position of a partition."""
        return encode_note(Note(self.member.worker, self._overseer.costs.get(partition)))

    async def check_partitions(self) -> None:
        """Stop the app where its sources have got more partitions: keys have moved between them."""
        try:
            if self._admin is None:
                self._admin = AdminClient({"log_level": 3, **self.config.connection})
            await asyncio.to_thread(check_unchanged, self._admin, self.config, self.stages, self._partitions)
        except PartitionCountError as error:
            self._on_fatal(error)

    def _arrived(self, delivery: Delivery) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.arrivals.put_nowait, delivery)

    def _start(self, partition: int, paused_since: float | None = None) -> None:
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
            paused_since,
            self._copies.take,
        )
        self._units[partition] = unit
        unit.rules = self._rules
        unit.start()

    async def _stop_units(self) -> None:
        units, self._units = list(self._units.values()), {}
        within = min(STOP_TIMEOUT, 0.8 * self.config.session_timeout)
        for unit in units:
            unit.stop(within)
        deadline = self.config.monotonic() + within
        for unit in units:
            await asyncio.to_thread(unit.join, max(deadline - self.config.monotonic(), 0.0))
            if unit.is_alive():
                log.error("partition %d does not stop; its next owner will fence it", unit.partition)
            elif unit.parked is not None:
                self._parked[unit.partition] = unit.parked

    def _ended(self, unit: Unit, error: BaseException | None) -> None:
        if error is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._failed, unit, error)

    def _fetching_failed(self, error: BaseException) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_fatal, error)

    def _failed(self, unit: Unit, error: BaseException) -> None:
        partition = unit.partition
        if self._units.get(partition) is not unit:  # abandoned or revoked: another owner has gone on
            log.warning("partition %d: an earlier owner ended: %s", partition, error)
            if isinstance(error, FencedError) and partition not in self._owned:
                self.member.lost(partition)
            return
        del self._units[partition]
        self._metrics.stopped(partition)
        if isinstance(error, IncompatibleCheckpointError | PartitionCountError):
            self._on_fatal(error)
        elif isinstance(error, FencedError):
            self._fenced(partition, error)
        elif isinstance(error, FINAL):
            log.error("partition %d is stopped: %s", partition, error)
        elif isinstance(error, KafkaException | OutputRefusedError | StoppingError):
            self._again(unit, f"partition {partition} cannot go on: {error}")
        else:
            log.error("partition %d is stopped by an error of the program", partition, exc_info=error)

    def _fenced(self, partition: int, error: FencedError) -> None:
        """Let go of the partition and ask the group: to start again would fence its rightful owner."""
        log.warning("partition %d was taken over, joining the group anew: %s", partition, error)
        self._metrics.fenced.inc()
        self._owned.discard(partition)
        self.member.lost(partition)
        self.rejoin()

    def _trailing(self, partition: int, heirdom: Heirdom) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take_over, partition, heirdom)

    def _take_over(self, partition: int, heirdom: Heirdom) -> None:
        """Fence an owner that trails and go on in its place; it learns of that by being fenced, and asks the group."""
        if self._closing.is_set() or self._regrouping or partition in self._owned:
            return
        log.warning(
            "partition %d: its owner trails, taking over (taken %d times before)", partition, heirdom.moves
        )
        self._metrics.takeovers.inc()
        self._owned.add(partition)
        rest = self.member.taken(partition, heirdom)
        self._start(partition)
        if self._loop is not None:
            self._loop.call_later(rest + RESTART_AFTER, self._offer, heirdom.owner)

    def _offer(self, worker: str) -> None:
        """Let the group share out again once a worker that trailed has rested, so that it gets its share."""
        if self.member.rested(worker) and not self._closing.is_set():
            self.rejoin()

    def _share_anew(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            log.info("this worker has more to do than others; asking the group to share out anew")
            self._loop.call_soon_threadsafe(self.rejoin)

    def _spent(self) -> dict[int, Spent]:
        return {unit.partition: unit.spent for unit in list(self._units.values()) if unit.ready.is_set()}

    def _again(self, unit: Unit, why: str) -> None:
        partition = unit.partition
        failures = 0 if unit.ready.is_set() else self._failures.get(partition, 0)
        self._failures[partition] = failures + 1
        wait = min(RESTART_AFTER * 2**failures, RESTART_AT_MOST)
        log.warning("%s; trying again in %.0f s", why, wait)
        if self._loop is not None:
            self._loop.call_later(wait, self._start, partition)
