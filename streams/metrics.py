"""Every metric a worker exposes to Prometheus, declared once: name, unit, labels, help."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.columns import RawBatch
from schemas.deadletters import CODE, STAGE, header
from schemas.errors import ErrorCode
from streams.task import Output, OutputKind

Stage = Literal["decode", "process"]
Checkpoint = Literal["emission", "state"]

LATENCY_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
_NO_TIME: Final = -(10**15)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric as Prometheus sees it; counters are exposed with the suffix ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""


EVENTS_RECEIVED: Final = Definition("tidewatch_events_received", "Events taken from the source partitions.")
EVENTS_PROCESSED: Final = Definition("tidewatch_events_processed", "Events taken through the task.")
ERRORS: Final = Definition("tidewatch_errors", "Events and batches that failed.", ("stage", "code"))
LATE: Final = Definition("tidewatch_late", "Events that came after their window had closed.")
DEAD: Final = Definition("tidewatch_dead", "Events written to the dead-letter topic.", ("code",))
RESULTS: Final = Definition("tidewatch_results", "Records written to the output topics.", ("kind",))
END_TO_END: Final = Definition(
    "tidewatch_end_to_end_latency_seconds",
    "Time from the log-append time of the oldest event of a commit to its results being visible.",
    unit="seconds",
)
WATERMARK: Final = Definition(
    "tidewatch_watermark_timestamp_seconds",
    "Event time, in seconds since the epoch, before which nothing more is expected.",
    ("topic", "partition"),
    "seconds",
)
POSITION: Final = Definition(
    "tidewatch_position", "Committed position: the next offset to read.", ("topic", "partition")
)
CHECKPOINT_SECONDS: Final = Definition(
    "tidewatch_checkpoint_seconds", "Duration of a commit, with or without state.", ("kind",), "seconds"
)
CHECKPOINT_BYTES: Final = Definition(
    "tidewatch_checkpoint_bytes", "State written to the checkpoint topic.", (), "bytes"
)
RESTORE_SECONDS: Final = Definition(
    "tidewatch_restore_seconds", "Time from owning a partition to being ready for it.", (), "seconds"
)
BUFFERED_BYTES: Final = Definition(
    "tidewatch_buffered_bytes", "Input fetched and not yet processed.", (), "bytes"
)
BREAKER_OPEN: Final = Definition(
    "tidewatch_breaker_open", "1 while a partition is stopped because nearly all of its input is bad, else 0."
)
PARTITION_STOPPED: Final = Definition(
    "tidewatch_partition_stopped",
    "1 while an owned partition is stopped by an error, else 0.",
    ("partition",),
)
REBALANCES: Final = Definition("tidewatch_rebalance", "Assignments of partitions to this worker.")
FENCED: Final = Definition("tidewatch_fenced", "Partitions lost to another worker while working on them.")
LOST_RECORDS: Final = Definition(
    "tidewatch_lost_records", "Source records that retention removed before they were processed."
)


class Metrics:
    """The metrics of one worker in one registry.

    Counters exist from the start with value 0 for each of their bounded labels, so that the first error is
    a rise that a rate sees. Safe for use by several threads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(definition: Definition) -> Counter:
            return Counter(
                definition.name, definition.help, definition.labels, unit=definition.unit, registry=registry
            )

        def gauge(definition: Definition) -> Gauge:
            return Gauge(
                definition.name, definition.help, definition.labels, unit=definition.unit, registry=registry
            )

        def histogram(definition: Definition) -> Histogram:
            return Histogram(
                definition.name,
                definition.help,
                definition.labels,
                unit=definition.unit,
                buckets=LATENCY_BUCKETS,
                registry=registry,
            )

        self.events_received = counter(EVENTS_RECEIVED)
        self.events_processed = counter(EVENTS_PROCESSED)
        self.errors = counter(ERRORS)
        self.late = counter(LATE)
        self.dead = counter(DEAD)
        self.results = counter(RESULTS)
        self.end_to_end = histogram(END_TO_END)
        self.watermark = gauge(WATERMARK)
        self.position = gauge(POSITION)
        self.checkpoint_seconds = histogram(CHECKPOINT_SECONDS)
        self.checkpoint_bytes = counter(CHECKPOINT_BYTES)
        self.restore_seconds = histogram(RESTORE_SECONDS)
        self.buffered_bytes = gauge(BUFFERED_BYTES)
        self.breaker_open = gauge(BREAKER_OPEN)
        self.partition_stopped = gauge(PARTITION_STOPPED)
        self.rebalances = counter(REBALANCES)
        self.fenced = counter(FENCED)
        self.lost_records = counter(LOST_RECORDS)
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

    def emitted(self, outputs: Iterable[Output]) -> None:
        """Count the outputs of a task by kind, and dead letters by stage and code."""
        for output in outputs:
            self.results.labels(output.kind).inc()
            if output.kind == "late":
                self.late.inc()
            elif output.kind == "dead":
                code = _code(header(output.headers, CODE))
                self.dead.labels(code).inc()
                self.error(header(output.headers, STAGE) or "decode", code)

    def error(self, stage: str, code: str) -> None:
        """Count a failure; what is not among the declared stages and codes counts as processing."""
        known = stage if stage in get_args(Stage) else "process"
        self.errors.labels(known, _code(code)).inc()

    def committed(self, kind: str, seconds: float, partition: int, positions: Mapping[str, int]) -> None:
        """Record a commit: how long it took and the position of each source topic it led to."""
        self.checkpoint_seconds.labels(kind).observe(seconds)
        for topic, position in positions.items():
            self.position.labels(topic, partition).set(position)

    def stopped(self, partition: int) -> None:
        """Mark an owned partition as stopped by an error."""
        self.partition_stopped.labels(partition).set(1)

    def owned(self, partitions: Collection[int]) -> None:
        """Drop the series of partitions that are no longer owned, and take every owned one to be running."""
        names = {str(partition) for partition in partitions}
        for gauge, definition in (
            (self.watermark, WATERMARK),
            (self.position, POSITION),
            (self.partition_stopped, PARTITION_STOPPED),
        ):
            for sample in next(iter(gauge.collect())).samples:
                if sample.labels["partition"] not in names:
                    gauge.remove(*(sample.labels[name] for name in definition.labels))
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


def _code(code: str | None) -> str:
    return code if code in set(ErrorCode) else ErrorCode.PROCESSING.value


def to_markdown() -> str:
    """Return the page that documents every metric, as Markdown."""
    registry = CollectorRegistry()
    Metrics(registry)
    labels = {definition.name: definition.labels for definition in _definitions()}
    rows = []
    for family in registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        names = ", ".join(f"`{label}`" for label in labels[family.name])
        rows.append(
            f"| `{family.name}{suffix}` | {family.type} | {names} | {family.unit} | {family.documentation} |"
        )
    return _PAGE.format(
        rows="\n".join(rows),
        buckets=", ".join(f"{bucket:g}" for bucket in LATENCY_BUCKETS),
        codes=", ".join(f"`{code}`" for code in ErrorCode),
        stages=", ".join(f"`{stage}`" for stage in get_args(Stage)),
        kinds=", ".join(f"`{kind}`" for kind in get_args(OutputKind)),
        checkpoints=", ".join(f"`{kind}`" for kind in get_args(Checkpoint)),
    )


def _definitions() -> list[Definition]:
    return [value for value in globals().values() if isinstance(value, Definition)]


_PAGE: Final = """# Metrics of a worker

Every worker exposes these to Prometheus.
The page is generated: `python -m streams.metrics > docs/metrics.md`.

| metric | type | labels | unit | meaning |
|---|---|---|---|---|
{rows}

Labels are bounded, and counters with bounded labels start at 0:

- `stage`: {stages}
- `code`: {codes}
- `kind` of results: {kinds}
- `kind` of commits: {checkpoints}
- `topic` and `partition`: the source partitions this worker owns; their series go when the partition goes.

Histogram buckets are {buckets} seconds.
"""

if __name__ == "__main__":
    sys.stdout.write(to_markdown())
