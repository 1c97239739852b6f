"""The unit of fencing, position and checkpoint: one partition number of one app, on a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from schemas.topics import CANARIES, CANARIES_SEEN
from streams.breaker import Breaker
from streams.cadence import Cadence
from streams.canary import CanaryCarrier
from streams.checkpoint import Progress, Restored, StateLedger, Warm, progress_record, read_checkpoint
from streams.compatibility import check_compatible
from streams.config import EngineConfig, Stage
from streams.costs import Spent
from streams.errors import (
    BreakerOpenError,
    EngineError,
    OutputRefusedError,
    PositionLostError,
    UnreadableError,
)
from streams.failpoints import failpoint
from streams.fetcher import Delivery, Fetcher
from streams.intake import NEWEST, Failure
from streams.letters import redacted, shorter
from streams.metrics import Metrics
from streams.placing import Placed, let_go, records_of
from streams.positions import log_range
from streams.runner import StageRunner
from streams.saving import StateSaver
from streams.seals import unseal
from streams.task import Output
from streams.transactions import Delivered, Record, TransactionalWriter

log = logging.getLogger(__name__)

BIG_BANG = -(1 << 62)
MAX_RECOVERIES = 3


@dataclass(slots=True)
class Parked:
    """What a closed unit leaves behind: tasks that are still right if nobody wrote to the checkpoint beyond ``end`` since."""

    owner: str
    transaction: int
    end: int
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
        paused_since: float | None = None,
        warm: Callable[[int], Warm | None] = lambda _: None,
    ) -> None:
        super().__init__(name=f"tw-unit-{partition}", daemon=True)
        self.partition = partition
        self.parked = parked
        self._paused_since = paused_since
        self._warm = warm
        self.spent = Spent()
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
        self._checkpoint_end = 0
        self._runners: dict[str, StageRunner] = {}
        self._tickets: dict[str, int] = {}
        self._at_end: dict[str, float] = {}
        self._saver = StateSaver(config, stages, partition, partitions, StateLedger())
        self._pending: list[Placed] = []
        self._oldest_pending = 0.0
        self._breaker = Breaker(config.breaker_records, config.breaker_share, partition)
        self._canary = CanaryCarrier(config.app_id, partition, metrics, config.wall_clock)
        self._dirty = False
        self._recoveries = 0
        self.committed: dict[str, int] = {}
        self._cadence = Cadence(config, partition)
        self._give_up = float("inf")
        self._writer = TransactionalWriter(
            config.connection,
            config.transactional_id(partition),
            config.transaction_timeout,
            partition,
            self._may_wait,
        )

    # --- what other threads call

    def submit(self, delivery: Delivery) -> None:
        """Queue a delivery."""
        self._inbox.put(delivery)

    def stop(self, within: float, *, final_commit: bool = True) -> None:
        """Ask the thread to end within so many seconds, after a last commit if it is ready."""
        self._final_commit = final_commit
        self._give_up = self._config.monotonic() + within
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
        if any(runner.replaying for runner in self._runners.values()):
            return  # what other topics of this unit have produced meanwhile is not committed, so this state must not be kept
        self._commit(with_state=True)
        self.parked = Parked(
            self._owner, self._transaction, self._checkpoint_end, self._runners, self._saver.ledger
        )

    def _may_wait(self) -> bool:
        """Whether to wait for Kafka; while opening there is nothing to save, so a stop ends it at once."""
        if not self._stopping.is_set():
            return True
        return self.ready.is_set() and self._config.monotonic() < self._give_up

    # --- opening

    def _open(self) -> None:
        failpoint("restore-begin", self.partition)
        started = self._config.monotonic()
        self._writer.open()
        self._restore()
        self._metrics.restore_seconds.observe(self._config.monotonic() - started)

    def _restore(self) -> None:
        config = self._config
        new = not self._take_back() and not self._read_back()
        self._pending.clear()
        self._cadence.begin(config.monotonic())
        for topic, runner in self._runners.items():
            self._check_in_log(topic, runner)
            self._fetch(topic)
            self.committed[topic] = runner.committed
            runner.settle()
        if self.partition < config.canary_partitions:
            # Canaries sent before a worker took over tell nothing about it.
            self._tickets[CANARIES] = self._fetcher.add((CANARIES, self.partition), NEWEST)
        self._metrics.restored(self.partition, self.committed)
        if new:
            self._commit(with_state=True)  # from now on the start position is known, whatever the log loses
        if not self.ready.is_set():
            self.ready.set()
            since = self._paused_since
            self._metrics.running(self.partition, None if since is None else config.monotonic() - since)

    def _take_back(self) -> bool:
        """Go on with the tasks that were left in memory, if nobody has committed since."""
        config, parked, self.parked = self._config, self.parked, None
        if parked is None:
            return False
        since = read_checkpoint(
            config.connection, config.checkpoint_topic, self.partition, self._may_wait, Warm(next=parked.end)
        )
        if since != Restored():
            return False
        self._owner, self._transaction, self._checkpoint_end = parked.owner, parked.transaction, parked.end
        self._runners, self._saver.ledger = parked.runners, parked.ledger
        return True

    def _read_back(self) -> bool:
        """Build the tasks from the checkpoint; say whether there is one."""
        config = self._config
        restored = read_checkpoint(
            config.connection,
            config.checkpoint_topic,
            self.partition,
            self._may_wait,
            self._warm(self.partition),
        )
        failpoint("restore-read", self.partition)
        self._rebuild(restored)
        return restored.manifest is not None

    def _rebuild(self, restored: Restored) -> None:
        manifest, progress = restored.manifest, restored.progress
        if manifest is not None:
            check_compatible(manifest, self._stages, self._partitions, self._config.app_id)
        private = {stage.topic for stage in self._stages if stage.private}
        stale = unseal(restored, self.partition, private, self._config.seals)
        if stale:
            self._dirty = True  # the next state is a base, sealed by the newest key; what lies before it goes
        self._transaction = 0 if progress is None else progress.transaction
        self._saver.begin(restored, anew=stale)
        self._runners = {
            stage.topic: StageRunner.restored(stage, self.partition, restored, BIG_BANG)
            for stage in self._stages
        }
        for topic, runner in self._runners.items():
            if runner.position == BIG_BANG:
                readable = log_range(self._config.connection, topic, self.partition)
                runner.position = readable.high if self._config.start == "latest" else readable.low
                runner.committed = max(runner.committed, runner.position)

    def _check_in_log(self, topic: str, runner: StageRunner) -> None:
        readable = log_range(self._config.connection, topic, self.partition)
        lost, why = readable.gap(runner.position, runner.committed)
        if not lost:
            return
        text = (
            f"{topic}[{self.partition}] holds offsets {readable.low} to {readable.high}, but the checkpoint goes on at "
            f"{runner.position} (committed {runner.committed}): up to {lost} records are gone; {why}"
        )
        self._lose(lost, text, "Restart with --accept-loss to go on without them, or run")
        runner.position = readable.nearest(runner.position)
        runner.committed = readable.nearest(max(runner.committed, runner.position))

    def _lose(self, lost: int, text: str, advice: str) -> None:
        """Go on without records if that was allowed; the next commit moves the checkpoint, so that they are counted once."""
        if not self._config.accept_loss:
            raise PositionLostError(f"{text}. {advice} 'tidewatch reset' to recompute the rest.")
        log.error("%s; going on, as --accept-loss allows", text)
        self._metrics.lost_records.inc(lost)
        self._dirty = True
        self._cadence.want_state()

    def _fetch(self, topic: str) -> None:
        self._at_end.pop(topic, None)
        self._tickets[topic] = self._fetcher.add((topic, self.partition), self._runners[topic].position)

    # --- processing

    def _step(self) -> None:
        wait = self._cadence.wait(self._config.monotonic(), pending=self._waiting)
        try:
            delivery = self._inbox.get(timeout=min(wait, 0.5) or 0.001)
        except queue.Empty:
            delivery = None
            self._wait_idly()
        if delivery is not None:
            try:
                self._take(delivery)
            finally:
                self._fetcher.done(delivery)
        self._follow_rules()
        now, cadence = self._config.monotonic(), self._cadence
        if self._dirty and cadence.state_due(now):
            self._commit(with_state=True)
        elif (self._waiting and cadence.emission_due(now)) or (self._moved() and cadence.position_due(now)):
            self._commit(with_state=False)
        elif cadence.position_due(now):
            cadence.nothing_moved(now)

    def _follow_rules(self) -> None:
        for runner in self._runners.values():
            text = self.rules.get(runner.stage.pipeline)
            if text is not None and runner.follow_rules(text):
                self._dirty = True

    def _take(self, delivery: Delivery) -> None:
        topic, batch = delivery.batch.topic, delivery.batch
        if delivery.ticket != self._tickets.get(topic):
            return
        if topic == CANARIES:
            self._take_canary(delivery)
            return
        runner = self._runners[topic]
        if delivery.error is not None:
            self._look_again(topic, runner, delivery.error)
            return
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
        if not delivery.at_end:
            self._at_end.pop(topic, None)
        elif len(batch) or topic not in self._at_end:  # what comes as fast as it is written is not idle
            self._at_end[topic] = self._config.monotonic()
        if batch.next == batch.start:
            return
        self._metrics.received(len(batch))
        self._run_task(runner, delivery)
        self.spent = Spent(time.thread_time(), self.spent.offsets + batch.next - batch.start)

    def _take_canary(self, delivery: Delivery) -> None:
        # While outputs are recomputed nothing is published, so the canary would only wait: its age tells that by not coming.
        if not any(runner.replaying for runner in self._runners.values()):
            self._canary.take(delivery.batch)

    def _run_task(self, runner: StageRunner, delivery: Delivery) -> None:
        batch = delivery.batch
        before = runner.position
        try:
            outputs = runner.take(batch)
            runner.settle()
        except EngineError:
            raise
        except Exception:
            self._recover(batch.topic, before, batch.next)
            return
        self._dirty = True
        self._cadence.read(delivery.size)
        self._watch_breaker(runner.rows, sum(output.kind == "dead" for output in outputs))
        if outputs and not self._pending:
            self._oldest_pending = float(batch.log_times[0]) / 1000 if len(batch) else 0.0
        self._place(runner, outputs)
        self._metrics.processed(batch, outputs, runner.task.watermark, runner.rows)
        self._metrics.tallied(runner.stage.pipeline, runner.tally)

    def _place(self, runner: StageRunner, outputs: list[Output]) -> None:
        topics = runner.stage.outputs
        if runner.stage.private:
            outputs = [redacted(output) for output in outputs]
        self._pending += [Placed(topics[output.kind], output) for output in outputs]

    def _look_again(self, topic: str, runner: StageRunner, error: Failure) -> None:
        """The source cannot be read on: publish what there is, then go on only where that loses nothing or loss is accepted."""
        log.warning("%s[%d] cannot be read at %d: %s", topic, self.partition, runner.position, error.text)
        self._commit(with_state=True)
        if error.final:
            raise UnreadableError(
                f"{topic}[{self.partition}] cannot be read at {runner.position}: {error.text}. Repair the topic, or run "
                "'tidewatch reset' to go on behind it."
            )
        if error.cut_at is not None and error.cut_at < runner.position:
            lost = runner.position - error.cut_at
            text = f"{topic}[{self.partition}]: {error.text}; {lost} records that were processed are gone from it"
            self._lose(lost, text, "Run")
            runner.position = runner.committed = error.cut_at
        else:
            self._check_in_log(topic, runner)
        self._fetch(topic)

    def _recover(self, topic: str, failed_at: int, until: int) -> None:
        """Discard the memory, restore, and let the batch be looked at row by row if it fails again.

        To be called while an exception of the task is being handled, which is raised again if this does not help.
        """
        if self._recoveries >= MAX_RECOVERIES:
            raise  # noqa: PLE0704
        log.exception("the task on %s[%d] failed at %d; restoring it", topic, self.partition, failed_at)
        self._metrics.error("process", "processing")
        self._recoveries += 1
        self._pending.clear()
        self._restore()
        self._runners[topic].suspect_until = until

    def _watch_breaker(self, rows: int, bad: int) -> None:
        try:
            self._breaker.add(rows, bad)
        except BreakerOpenError:
            self._metrics.breaker_open.set(1)
            raise

    def _wait_idly(self) -> None:
        for topic, runner in list(self._runners.items()):
            try:
                self._idle(topic, runner)
            except Exception:
                self._recover(topic, runner.position, -1)
                return

    def _idle(self, topic: str, runner: StageRunner) -> None:
        """Move the watermark of a source that has been read to its end and brings nothing for its idle timeout."""
        timeout, since = runner.stage.idle_timeout_ms, self._at_end.get(topic)
        if timeout is None or since is None or runner.replaying:
            return
        target = runner.idle_target(int((self._config.monotonic() - since) * 1000), timeout)
        if target is not None:
            self._place(runner, runner.advance(target))
            self._dirty = True

    # --- committing

    @property
    def _waiting(self) -> bool:
        """Whether something waits to be published."""
        return bool(self._pending) or self._canary.waiting

    def _moved(self) -> bool:
        return any(
            r.controls or r.position > self.committed.get(t, -1) for t, r in self._runners.items()
        ) and not any(r.replaying for r in self._runners.values())

    def _commit(self, *, with_state: bool) -> None:
        """Commit the pending outputs with the position they lead to and, if asked, the state at that position."""
        if any(runner.replaying for runner in self._runners.values()):
            self._cadence.put_off_state(self._config.monotonic() + 0.1)
            return
        failpoint("commit-begin", self.partition)
        started, cpu = self._config.monotonic(), time.thread_time()
        self._transaction += 1
        positions = {topic: runner.position for topic, runner in self._runners.items()}
        controls = [control for runner in self._runners.values() for control in runner.controls]
        records = records_of(self._pending, self.partition, self._partitions) + self._canary.records()
        key, value = progress_record(Progress(self._owner, self._transaction, positions, controls))
        records.append(Record(self._config.checkpoint_topic, self.partition, key, value))
        if with_state:
            records.extend(self._saver.records(self._runners, self._transaction, positions))
            failpoint("state-blocks", self.partition)
            self._write(records, self._delivered)
            failpoint("state-done", self.partition)
            self._metrics.checkpoint_bytes.inc(self._saver.saved())
        else:
            self._write(records, self._delivered)
        self._saver.ledger.records += 1
        let_go(records)
        self._committed(positions, started, cpu, "state" if with_state else "emission")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._saver.delivered(error, message)
        if error is None and message.topic() == self._config.checkpoint_topic:
            self._checkpoint_end = max(self._checkpoint_end, int(message.offset() or 0) + 1)

    def _write(self, records: list[Record], delivered: Delivered | None) -> None:
        try:
            self._writer.write(records, delivered, self._config.checkpoint_topic)
        except OutputRefusedError as error:
            if error.too_large:
                self._write_shorter(records, delivered, error)
            elif self._canary.waiting:
                # No canary is worth a partition: go on without, and see whether that was it.
                self._canary.refused()
                self._write([record for record in records if record.topic != CANARIES_SEEN], delivered)
            else:
                raise

    def _write_shorter(
        self, records: list[Record], delivered: Delivered | None, error: OutputRefusedError
    ) -> None:
        dead = {stage.outputs["dead"] for stage in self._stages if "dead" in stage.outputs}
        for cut in shorter(records, dead):
            log.warning("partition %d: dead letters are cut to fit: %s", self.partition, error)
            try:
                self._writer.write(cut, delivered, self._config.checkpoint_topic)
            except OutputRefusedError as again:
                error = again
            else:
                return
        raise error

    def _committed(self, positions: dict[str, int], started: float, cpu: float, kind: str) -> None:
        failpoint("commit-done", self.partition)
        config = self._config
        for topic, runner in self._runners.items():
            runner.controls = []
            runner.committed = positions[topic]
        now = config.monotonic()
        took = now - started
        cpu = time.thread_time() - cpu
        if self._pending and self._oldest_pending:
            self._metrics.end_to_end.observe(max(config.wall_clock() - self._oldest_pending, 0.0))
        self._metrics.committed(kind, took, cpu, self.partition, positions)
        self._canary.committed()
        let_go(self._pending)
        self._recoveries = 0
        self.committed = positions
        self._cadence.committed(started, now, cpu, with_state=kind == "state")
        if kind == "state":
            self._dirty = False
