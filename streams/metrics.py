"""The metrics of one worker: what it counts, and when."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry

from schemas.columns import RawBatch
from schemas.deadletters import CODE, STAGE, header
from schemas.errors import ErrorCode
from schemas.metrics import (
    BREAKER_OPEN,
    BUFFERED_BYTES,
    CANARY_AGE,
    CANARY_SENT,
    CHECKPOINT_BYTES,
    CHECKPOINT_CPU,
    CHECKPOINT_SECONDS,
    DEAD,
    END_TO_END,
    ERRORS,
    EVENTS_PROCESSED,
    EVENTS_RECEIVED,
    FENCED,
    LATE,
    LOOP_LAG,
    LOST_RECORDS,
    PARTITION_STOPPED,
    POSITION,
    PRIOR_FITS,
    REBALANCE_PAUSE,
    REBALANCES,
    REPORTS,
    RESTORE_SECONDS,
    RESULTS,
    STANDBY_BYTES,
    TAKEOVERS,
    WATERMARK,
    counter,
    gauge,
    histogram,
)
from streams.task import PRIOR_FITTED, Output, OutputKind

Stage = Literal["decode", "process"]
Checkpoint = Literal["emission", "state"]

_NO_TIME: Final = -(10**15)


class Metrics:
    """The metrics of one worker in one registry.

    Counters exist from the start with value 0 for each of their bounded labels, so that the first error is
    a rise that a rate sees. Safe for use by several threads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events_received = counter(EVENTS_RECEIVED, registry)
        self.events_processed = counter(EVENTS_PROCESSED, registry)
        self.errors = counter(ERRORS, registry)
        self.late = counter(LATE, registry)
        self.dead = counter(DEAD, registry)
        self.results = counter(RESULTS, registry)
        self.end_to_end = histogram(END_TO_END, registry)
        self.watermark = gauge(WATERMARK, registry)
        self.position = gauge(POSITION, registry)
        self.checkpoint_seconds = histogram(CHECKPOINT_SECONDS, registry)
        self.checkpoint_cpu = counter(CHECKPOINT_CPU, registry)
        self.checkpoint_bytes = counter(CHECKPOINT_BYTES, registry)
        self.restore_seconds = histogram(RESTORE_SECONDS, registry)
        self.loop_lag = histogram(LOOP_LAG, registry)
        self.buffered_bytes = gauge(BUFFERED_BYTES, registry)
        self.breaker_open = gauge(BREAKER_OPEN, registry)
        self.partition_stopped = gauge(PARTITION_STOPPED, registry)
        self.rebalances = counter(REBALANCES, registry)
        self.rebalance_pause = histogram(REBALANCE_PAUSE, registry)
        self.fenced = counter(FENCED, registry)
        self.takeovers = counter(TAKEOVERS, registry)
        self.standby_bytes = gauge(STANDBY_BYTES, registry)
        self.lost_records = counter(LOST_RECORDS, registry)
        self.reports = counter(REPORTS, registry)
        self.prior_fits = counter(PRIOR_FITS, registry)
        self.canary_age = gauge(CANARY_AGE, registry)
        self.canary_sent = gauge(CANARY_SENT, registry)
        self._start_at_zero()

    def received(self, events: int) -> None:
        """Count events taken from a source partition."""
        self.events_received.inc(events)

    def processed(
        self, batch: RawBatch, outputs: Collection[Output], watermark: int, events: int | None = None
    ) -> None:
        """Count a batch that went through its task, and what it caused.

        ``events`` is the number of rows where a record may hold several, else that of the records;
        ``watermark`` is in milliseconds.
        """
        self.events_processed.inc(len(batch) if events is None else events)
        if watermark > _NO_TIME:
            self.watermark.labels(batch.topic, batch.partition).set(watermark / 1000)
        self.emitted(outputs)

    def emitted(self, outputs: Collection[Output]) -> None:
        """Count the outputs of a task by kind, and dead letters by stage and code."""
        kinds = Counted(output.kind for output in outputs)
        for kind, count in kinds.items():
            self.results.labels(kind).inc(count)
        self.late.inc(kinds["late"])
        if not kinds["dead"]:
            return
        for output in outputs:
            if output.kind == "dead":
                code = _code(header(output.headers, CODE))
                self.dead.labels(code).inc()
                self.error(header(output.headers, STAGE) or "decode", code)

    def error(self, stage: str, code: str) -> None:
        """Count a failure; what is not among the declared stages and codes counts as processing."""
        known = stage if stage in get_args(Stage) else "process"
        self.errors.labels(known, _code(code)).inc()

    def committed(
        self, kind: str, seconds: float, cpu: float, partition: int, positions: Mapping[str, int]
    ) -> None:
        """Record a commit: how long it took, ``cpu`` seconds of them at work, and the position of each source topic it led to."""
        self.checkpoint_seconds.labels(kind).observe(seconds)
        self.checkpoint_cpu.labels(kind).inc(cpu)
        self.restored(partition, positions)

    def restored(self, partition: int, positions: Mapping[str, int]) -> None:
        """Show where a partition stands, also before its new owner has committed anything."""
        for topic, position in positions.items():
            self.position.labels(topic, partition).set(position)

    def stopped(self, partition: int) -> None:
        """Mark an owned partition as stopped by an error."""
        self.partition_stopped.labels(partition).set(1)

    def running(self, partition: int, paused: float | None) -> None:
        """Mark an owned partition as running again, after a pause of so many seconds where a rebalance was the cause."""
        self.partition_stopped.labels(partition).set(0)
        if paused is not None:
            self.rebalance_pause.observe(paused)

    def tallied(self, pipeline: str, counts: Mapping[str, int]) -> None:
        """Add what a task counted; names with 0 exist from then on."""
        for name, count in counts.items():
            series = (
                self.prior_fits.labels(pipeline)
                if name == PRIOR_FITTED
                else self.reports.labels(pipeline, name)
            )
            series.inc(count)

    def canary(self, app: str, partition: int, stage: str, sent: float, now: float) -> None:
        """Show the canary that a stage has just had; times in seconds since the epoch."""
        self.canary_sent.labels(app, partition, stage).set(sent)
        self.canary_age.labels(app, partition, stage).set(max(now - sent, 0.0))

    def owned(self, partitions: Collection[int]) -> None:
        """Drop the series of partitions that are no longer owned, and take every owned one to be running."""
        names = {str(partition) for partition in partitions}
        for series, metric in (
            (self.watermark, WATERMARK),
            (self.position, POSITION),
            (self.partition_stopped, PARTITION_STOPPED),
            (self.canary_age, CANARY_AGE),
            (self.canary_sent, CANARY_SENT),
        ):
            for sample in next(iter(series.collect())).samples:
                if sample.labels["partition"] not in names:
                    series.remove(*(sample.labels[name] for name in metric.labels))
        for partition in partitions:
            self.partition_stopped.labels(partition).set(0)
        self.breaker_open.set(0)

    def _start_at_zero(self) -> None:
        for code in ErrorCode:
            self.dead.labels(code.value)
            for stage in get_args(Stage):
                self.errors.labels(stage, code.value)
        for kind in get_args(OutputKind):
            self.results.labels(kind)
        for checkpoint in get_args(Checkpoint):
            self.checkpoint_seconds.labels(checkpoint)
            self.checkpoint_cpu.labels(checkpoint)


def _code(code: str | None) -> str:
    return code if code in set(ErrorCode) else ErrorCode.PROCESSING.value
