"""The unit of fencing, position and checkpoint: one partition number of one app, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.checkpoint import (
    FORMAT,
    MANIFEST,
    Manifest,
    Progress,
    Restored,
    StateLedger,
    block_key,
    progress_record,
    read_checkpoint,
)
from streams.config import EngineConfig, Stage
from streams.errors import (
    BreakerOpenError,
    EngineError,
    IncompatibleCheckpointError,
    PartitionCountError,
    PositionLostError,
)
from streams.failpoints import failpoint
from streams.fetcher import Delivery, Fetcher
from streams.metrics import Metrics
from streams.placing import Placed, records_of
from streams.runner import StageRunner, signature_of
from streams.task import Blocks
from streams.transactions import Record, TransactionalWriter

log = logging.getLogger(__name__)

BIG_BANG = -(1 << 62)
MAX_RECOVERIES = 3


@dataclass(slots=True)
class Parked:
    """What a closed unit leaves behind: tasks that are still right if nobody else wrote a checkpoint since."""

    owner: str
    transaction: int
    runners: dict[str, StageRunner]
    ledger: StateLedger


class Unit(threading.Thread):
    """Own one partition: open (fence, read the checkpoint, restore), process deliveries, commit, close.

    Outputs are committed together with the position that caused them, so each is visible exactly once to read_committed readers
    whatever dies in between ("effectively once"). ``on_end(unit, error)`` is called on this thread when it ends.
    """

    def __init__(
        self,
        partition: int,
        partitions: int,
        stages: Sequence[Stage],
        config: EngineConfig,
        fetcher: Fetcher,
        metrics: Metrics,
        on_end: Callable[[Unit, BaseException | None], None],
        parked: Parked | None = None,
    ) -> None:
        super().__init__(name=f"tw-unit-{partition}", daemon=True)
        self.partition = partition
        self.parked = parked
        self.ready = threading.Event()
        self.rules: Mapping[str, str] = {}
        self._partitions = partitions
        self._stages = stages
        self._config = config
        self._fetcher = fetcher
        self._metrics = metrics
        self._on_end = on_end
        self._inbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._final_commit = True
        self._owner = uuid.uuid4().hex
        self._transaction = 0
        self._runners: dict[str, StageRunner] = {}
        self._tickets: dict[str, int] = {}
        self._at_end: dict[str, float] = {}
        self._ledger = StateLedger()
        self._pending: list[Placed] = []
        self._oldest_pending = 0.0
        self._bad: deque[tuple[int, int]] = deque()
        self._dirty = False
        self._recoveries = 0
        self.committed: dict[str, int] = {}
        self._next_commit = self._next_position = self._next_state = 0.0
        self._writer = TransactionalWriter(
            config.connection, config.transactional_id(partition), config.transaction_timeout, partition
        )

    # --- what other threads call

    def submit(self, delivery: Delivery) -> None:
        """Queue a delivery."""
        self._inbox.put(delivery)

    def stop(self, *, final_commit: bool = True) -> None:
        """Ask the thread to end, after a last commit if it is ready."""
        self._final_commit = final_commit
        self._stopping.set()
        self._inbox.put(None)

    # --- the thread

    def run(self) -> None:
        """Open, process until stopped, close."""
        error: BaseException | None = None
        try:
            self._open()
            while not self._stopping.is_set():
                self._step()
            self._finish()
        except BaseException as caught:  # nothing may leave the thread unseen
            error = caught
        finally:
            for topic, ticket in self._tickets.items():
                self._fetcher.remove((topic, self.partition), ticket)
            self._writer.close()
            self._on_end(self, error)

    def _finish(self) -> None:
        failpoint("revoke", self.partition)
        if not self._final_commit or not self.ready.is_set():
            return
        self._commit(with_state=True)
        self.parked = Parked(self._owner, self._transaction, self._runners, self._ledger)

    # --- opening

    def _open(self) -> None:
        failpoint("restore-begin", self.partition)
        started = self._config.monotonic()
        self._writer.open(lambda: not self._stopping.is_set())
        self._restore()
        self._metrics.restore_seconds.observe(self._config.monotonic() - started)

    def _restore(self) -> None:
        config = self._config
        restored = read_checkpoint(config.connection, config.checkpoint_topic, self.partition)
        failpoint("restore-read", self.partition)
        if not self._take_back(restored):
            self._rebuild(restored)
        self._pending.clear()
        now = config.monotonic()
        self._next_commit = self._next_position = now
        self._next_state = now + config.state_interval * (0.5 + 0.5 * (self.partition % 8) / 8)
        for topic, runner in self._runners.items():
            self._check_in_log(topic, runner)
            self._fetch(topic)
            self.committed[topic] = runner.committed
            runner.settle()
        self._metrics.restored(self.partition, self.committed)
        if restored.manifest is None:
            self._commit(with_state=True)  # from now on the start position is known, whatever the log loses
        self.ready.set()

    def _take_back(self, restored: Restored) -> bool:
        parked, self.parked = self.parked, None
        progress = restored.progress
        if (
            parked is None
            or progress is None
            or (progress.owner, progress.transaction) != (parked.owner, parked.transaction)
        ):
            return False
        self._owner, self._transaction = parked.owner, parked.transaction
        self._runners, self._ledger = parked.runners, parked.ledger
        return True

    def _rebuild(self, restored: Restored) -> None:
        manifest, progress = restored.manifest, restored.progress
        if manifest is not None:
            self._check_compatible(manifest)
        self._transaction = 0 if progress is None else progress.transaction
        self._ledger = StateLedger()
        self._runners = {
            stage.topic: StageRunner.restored(stage, self.partition, restored, BIG_BANG)
            for stage in self._stages
        }
        for topic, runner in self._runners.items():
            if runner.position == BIG_BANG:
                runner.position = self._start_position(topic)
                runner.committed = max(runner.committed, runner.position)

    def _check_compatible(self, manifest: Manifest) -> None:
        app = self._config.app_id
        if manifest.partitions != self._partitions:
            raise PartitionCountError(
                f"The checkpoints of {app!r} were written for {manifest.partitions} partitions, the source has "
                f"{self._partitions}: keys have moved between partitions, so the state no longer belongs to them. "
                f"Either start side by side under another --app-id, or run 'tidewatch reset' to recompute from the source."
            )
        if manifest.version != FORMAT or manifest.signature != signature_of(self._stages):
            raise IncompatibleCheckpointError(
                f"The checkpoints of {app!r} were written by another version or definition of this pipeline. "
                f"Run the old definition, start the new one side by side under another --app-id, or run "
                f"'tidewatch reset --app-id {app} --to earliest' (or a time) to recompute."
            )

    def _limits(self, topic: str) -> tuple[int, int]:
        probe = Consumer({**self._config.connection, "group.id": "tidewatch-probe"})
        try:
            low, high = probe.get_watermark_offsets(TopicPartition(topic, self.partition), timeout=30)
            return int(low), int(high)
        finally:
            probe.close()

    def _start_position(self, topic: str) -> int:
        low, high = self._limits(topic)
        return high if self._config.start == "latest" else low

    def _check_in_log(self, topic: str, runner: StageRunner) -> None:
        low, high = self._limits(topic)
        if low <= runner.position and runner.committed <= high:
            return
        lost = max(0, low - runner.position)
        text = (
            f"{topic}[{self.partition}] holds offsets {low} to {high}, but the checkpoint goes on at {runner.position}"
            f" (committed {runner.committed}): {lost} records are gone"
        )
        if not self._config.accept_loss:
            raise PositionLostError(
                f"{text}. Restart with --accept-loss to go on without them, or run 'tidewatch reset'."
            )
        log.error("%s; going on, as --accept-loss allows", text)
        self._metrics.lost_records.inc(lost)
        runner.position = min(max(runner.position, low), high)
        runner.committed = min(max(runner.committed, runner.position), high)

    def _fetch(self, topic: str) -> None:
        self._at_end.pop(topic, None)
        self._tickets[topic] = self._fetcher.add((topic, self.partition), self._runners[topic].position)

    # --- processing

    def _step(self) -> None:
        now = self._config.monotonic()
        deadline = self._next_commit if self._pending else self._next_position
        try:
            delivery = self._inbox.get(timeout=min(max(deadline - now, 0.0), 0.5) or 0.001)
        except queue.Empty:
            delivery = None
            self._idle()
        if delivery is not None:
            try:
                self._take(delivery)
            finally:
                self._fetcher.done(delivery)
        self._follow_rules()
        now = self._config.monotonic()
        if now >= self._next_state and self._dirty:
            self._commit(with_state=True)
        elif (self._pending and now >= self._next_commit) or (self._moved() and now >= self._next_position):
            self._commit(with_state=False)
        elif now >= self._next_position:
            self._next_position = now + self._config.position_interval

    def _follow_rules(self) -> None:
        for runner in self._runners.values():
            text = self.rules.get(runner.stage.pipeline)
            if text is not None and runner.follow_rules(text):
                self._dirty = True

    def _take(self, delivery: Delivery) -> None:
        topic, batch = delivery.batch.topic, delivery.batch
        if delivery.ticket != self._tickets.get(topic):
            return
        runner = self._runners[topic]
        if delivery.error is not None:
            raise PositionLostError(
                f"{topic}[{self.partition}] cannot be read at {runner.position}: {delivery.error}"
            )
        if batch.start != runner.position:
            log.warning(
                "%s[%d]: expected %d, got %d; fetching again",
                topic,
                self.partition,
                runner.position,
                batch.start,
            )
            self._fetch(topic)
            return
        if delivery.at_end:
            self._at_end[topic] = self._config.monotonic()
        else:
            self._at_end.pop(topic, None)
        if batch.next == batch.start:
            return
        self._metrics.received(len(batch))
        self._run_task(runner, delivery)

    def _run_task(self, runner: StageRunner, delivery: Delivery) -> None:
        batch = delivery.batch
        before = runner.position
        try:
            outputs = runner.take(batch)
        except EngineError:
            raise
        except Exception:
            if self._recoveries >= MAX_RECOVERIES:
                raise
            log.exception(
                "the task on %s[%d] failed at %d; restoring it", batch.topic, self.partition, before
            )
            self._metrics.error("process", "processing")
            self._recover(batch.topic, batch.next)
            return
        runner.settle()
        self._dirty = True
        self._watch_breaker(len(batch), sum(output.kind == "dead" for output in outputs))
        if outputs and not self._pending:
            self._oldest_pending = float(batch.log_times[0]) / 1000 if len(batch) else 0.0
        topics = runner.stage.outputs
        self._pending += [Placed(topics[output.kind], output) for output in outputs]
        self._metrics.processed(batch, outputs, runner.task.watermark)

    def _recover(self, topic: str, until: int) -> None:
        """Discard the memory, restore, and let the batch be looked at row by row if it fails again."""
        self._recoveries += 1
        self._pending.clear()
        self._restore()
        self._runners[topic].suspect_until = until

    def _watch_breaker(self, records: int, bad: int) -> None:
        self._bad.append((records, bad))
        while (
            len(self._bad) > 1
            and sum(n for n, _ in self._bad) - self._bad[0][0] >= self._config.breaker_records
        ):
            self._bad.popleft()
        total = sum(n for n, _ in self._bad)
        share = sum(b for _, b in self._bad) / total if total else 0.0
        if total >= self._config.breaker_records and share > self._config.breaker_share:
            self._metrics.breaker_open.set(1)
            raise BreakerOpenError(
                f"{share:.0%} of the last {total} records on partition {self.partition} are bad; stopped before draining the "
                "topic into its dead letters. Mend the producer or the event definition, then restart the worker."
            )

    def _idle(self) -> None:
        now = self._config.monotonic()
        for topic, runner in self._runners.items():
            timeout, since = runner.stage.idle_timeout_ms, self._at_end.get(topic)
            if timeout is None or since is None or runner.replaying:
                continue
            elapsed = int((now - since) * 1000)
            target = runner.idle_target(elapsed, timeout)
            if target is None:
                continue
            outputs = runner.advance(target)
            topics = runner.stage.outputs
            self._pending += [Placed(topics[output.kind], output) for output in outputs]
            self._dirty = True

    # --- committing

    def _moved(self) -> bool:
        return any(
            r.controls or r.position > self.committed.get(t, -1) for t, r in self._runners.items()
        ) and not any(r.replaying for r in self._runners.values())

    def _commit(self, *, with_state: bool) -> None:
        """Commit the pending outputs with the position they lead to and, if asked, the state at that position."""
        if any(runner.replaying for runner in self._runners.values()):
            self._next_state = max(self._next_state, self._config.monotonic() + 0.1)
            return
        failpoint("commit-begin", self.partition)
        started = self._config.monotonic()
        self._transaction += 1
        positions = {topic: runner.position for topic, runner in self._runners.items()}
        controls = [control for runner in self._runners.values() for control in runner.controls]
        records = records_of(self._pending, self.partition, self._partitions)
        key, value = progress_record(Progress(self._owner, self._transaction, positions, controls))
        records.append(Record(self._config.checkpoint_topic, self.partition, key, value))
        if with_state:
            self._write_with_state(records, positions)
        else:
            self._writer.write(records)
        self._ledger.records += 1
        self._committed(positions, started, "state" if with_state else "emission")

    def _write_with_state(self, records: list[Record], positions: dict[str, int]) -> None:
        lost_track = any(runner.lost_track for runner in self._runners.values())
        full = lost_track or self._ledger.wants_base(self._config.state_bytes_factor)
        changes: dict[str, Blocks] = {topic: r.snapshot(full=full) for topic, r in self._runners.items()}
        live = self._ledger.plan(changes, self._transaction, full=full)
        checkpoint, size = self._config.checkpoint_topic, 0
        first_block = len(records)
        for topic, blocks in changes.items():
            for name, value in blocks.items():
                if value is not None:
                    records.append(
                        Record(checkpoint, self.partition, block_key(topic, name, self._transaction), value)
                    )
                    size += len(value)
        failpoint("state-blocks", self.partition)
        watermarks = {topic: runner.task.watermark for topic, runner in self._runners.items()}
        manifest = Manifest(FORMAT, signature_of(self._stages), self._partitions, positions, watermarks, live)
        records.append(Record(checkpoint, self.partition, MANIFEST, msgspec.msgpack.encode(manifest)))
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None and message.topic() == checkpoint:
                offsets.append(int(message.offset() or 0))

        self._writer.write(records, delivered)
        failpoint("state-done", self.partition)
        self._ledger.written(live, size, full=full)
        self._metrics.checkpoint_bytes.inc(size)
        if full and offsets and first_block:
            self._truncate(min(offsets))

    def _truncate(self, offset: int) -> None:
        """Let go of what lies before a new base; if this fails, the next base tries again."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(dict(self._config.connection))
        admin.delete_records([TopicPartition(self._config.checkpoint_topic, self.partition, offset)])
        admin.poll(0)

    def _committed(self, positions: dict[str, int], started: float, kind: str) -> None:
        failpoint("commit-done", self.partition)
        config = self._config
        for topic, runner in self._runners.items():
            runner.controls = []
            runner.committed = positions[topic]
        now = config.monotonic()
        took = now - started
        if self._pending and self._oldest_pending:
            self._metrics.end_to_end.observe(max(config.wall_clock() - self._oldest_pending, 0.0))
        self._metrics.committed(kind, took, self.partition, positions)
        self._pending = []
        self._recoveries = 0
        self.committed = positions
        self._next_commit = now + max(config.emission_interval, took / config.commit_cpu_share)
        self._next_position = now + config.position_interval
        if kind == "state":
            self._dirty = False
            self._next_state = now + max(config.state_interval, took / config.commit_cpu_share)
