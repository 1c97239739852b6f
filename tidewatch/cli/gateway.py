"""``tidewatch gateway``: readings from a file or a pipe to Arrow batches, on disk until Kafka has them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tidewatch.cli import sending
from tidewatch.cli.shared import fail, stop_event

if TYPE_CHECKING:
    from producers.gateway import Gateway, Reduce

Form = Annotated[
    Literal["auto", "ndjson", "csv"],
    typer.Option(
        "--form", help="How lines are written; 'auto' goes by the file's name, NDJSON where there is none."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(gateway)


def gateway(
    name: Annotated[str, typer.Argument(help="Name of this gateway, the same in every life.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="File of NDJSON or CSV with a header; standard input if not given."),
    ] = None,
    spool: Annotated[
        Path | None,
        typer.Option(help="Directory for batches on their way; one in the state directory if not given."),
    ] = None,
    topic: sending.Topic = sending.DEFAULT_TOPIC,
    form: Form = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Rows of a batch, over all partitions.")] = 4_000,
    aggregate: Annotated[
        str | None,
        typer.Option(metavar="PIPELINE", help="Send panes of this pipeline's windows instead of readings."),
    ] = None,
    linger: Annotated[
        float, typer.Option(min=0.0, help="Seconds until a batch that is not full goes.")
    ] = 1.0,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Partitions of the topic, where no broker has told yet.")
    ] = None,
    spool_mb: Annotated[int, typer.Option(min=2, help="Most that the spool takes on disk, in MB.")] = 10_000,
    when_full: Annotated[
        Literal["wait", "drop-oldest"],
        typer.Option(help="What a full spool does: let the input wait, or let go of the oldest batches."),
    ] = "wait",
    sync: Annotated[
        str,
        typer.Option(help="When to sync to disk: 'batch', 'never', or at most so many seconds later."),
    ] = "batch",
    drain: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for delivery after the input has ended.")
    ] = 60.0,
    metrics_port: sending.MetricsPort = None,
    json: sending.Json = False,
) -> None:
    """Take readings in, keep them on disk while Kafka is away, and send them as Arrow batches.

    Fields: sensor_id, site, quantity, unit, value, time. What is on disk survives kills and is delivered by the next run of
    the same name; a batch that is sent twice counts once. Lines that are no readings are passed on for the processors to
    dead-letter. With --aggregate each batch is reduced to one row for each sensor and pane, with the sketch of its values;
    the pipeline adds them to what arrives as readings, to the same bytes.

    Example: tail -f readings.ndjson | tidewatch gateway roof-1

    Exit code 0: all delivered; 1: failed, or some is still on disk; 4: all delivered, but some lines were no readings;
    130: interrupted, and all is delivered or on disk.
    """
    from producers.gateway import GatewayLimits
    from producers.spool import SpoolLimits

    segment = max(min(64 << 20, (spool_mb << 20) // 4), 1 << 20)
    limits = SpoolLimits(spool_mb << 20, segment, _seconds(sync), when_full)
    stopping = stop_event()
    with sending.explained(), _descriptor(file) as descriptor:
        from producers.gateway import Gateway

        made = Gateway(
            _connection(), topic, name, _directory(spool, name, topic), reduce=_reduce(aggregate, topic),
            partitions=partitions,
            limits=GatewayLimits(batch, linger, max_block=1.0), spool_limits=limits,
        )  # fmt: skip
        with _measured(made, metrics_port):
            _run(made, descriptor, _form(form, file), stopping, drain, json, topic)


@contextmanager
def _measured(gateway: Gateway, port: int | None) -> Iterator[None]:
    from prometheus_client import CollectorRegistry

    from producers.gateway_metrics import GatewayCollector

    registry = CollectorRegistry()
    registry.register(GatewayCollector(gateway))
    with sending.served(registry, port):
        yield


def _seconds(sync: str) -> float | None:
    if sync in {"batch", "never"}:
        return 0.0 if sync == "batch" else None
    try:
        seconds = float(sync)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"--sync is 'batch', 'never' or a number of seconds, not {sync!r}")
    return seconds


def _form(form: str, file: Path | None) -> Literal["ndjson", "csv"]:
    if form == "auto":
        return "csv" if file is not None and file.suffix.lower() == ".csv" else "ndjson"
    return "csv" if form == "csv" else "ndjson"


def _reduce(aggregate: str | None, topic: str) -> Reduce | None:
    if aggregate is None:
        return None
    from streams.edge import reducer
    from tidewatch.cli.shared import windowed_pipeline

    pipeline = windowed_pipeline(aggregate)
    if pipeline.source != topic:
        raise typer.BadParameter(f"{pipeline.name} reads {pipeline.source}, not {topic}; say --topic")
    try:
        return reducer(pipeline)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _connection() -> dict[str, str]:
    from tidewatch.settings import Settings

    # The gateway says itself what is wrong, once.
    return {**Settings().connection(), "log_level": "2"}


def _directory(spool: Path | None, name: str, topic: str) -> Path:
    from tidewatch.settings import Settings

    return spool or Settings().state_dir / "spool" / f"{name}@{topic}"


@contextmanager
def _descriptor(file: Path | None) -> Iterator[int]:
    if file is None:
        yield sys.stdin.fileno()
        return
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _run(
    gateway: Gateway, descriptor: int, form: Literal["ndjson", "csv"], stopping: Event, drain: float, json: bool, topic: str
) -> None:  # fmt: skip
    from producers.lines import as_json, chunks_of_lines
    from schemas.event_types import SENSOR_READING

    with sending.progress("Taking in", None) as taken:
        try:
            chunks = chunks_of_lines(descriptor, stopping.is_set)
            for lines in as_json(chunks, form, SENSOR_READING.numbers, SENSOR_READING.time):
                _send(gateway, lines, stopping)
                taken(len(lines))
        finally:
            interrupted = stopping.is_set()
            gateway.close(0.0 if interrupted else drain)
    _tell(gateway, interrupted, json, topic)


def _send(gateway: Gateway, lines: list[bytes], stopping: Event) -> None:
    """Hand lines over, waiting while the spool is full for as long as nobody wants to stop."""
    from producers.errors import BackPressureError

    while True:
        try:
            return gateway.send_lines(lines)
        except BackPressureError:
            lines = []  # they are kept for the next batch
            if stopping.is_set():
                return None


def _tell(gateway: Gateway, interrupted: bool, json: bool, topic: str) -> None:
    counts, problem, left = gateway.counts, gateway.problem, not gateway.empty
    facts: dict[str, object] = {
        "topic": topic,
        "accepted": counts.accepted,
        "passed_on": counts.passed_on,
        "delivered": counts.delivered,
        "dropped": counts.dropped,
        "damaged_bytes": gateway.damaged,
        "on_disk": left,
        "problem": problem,
        "interrupted": interrupted,
    }
    lines = [f"{counts.accepted} readings taken in, {counts.delivered} rows delivered to {topic}"]
    if counts.passed_on:
        lines.append(f"{counts.passed_on} lines were no readings and were passed on as they came")
    if counts.dropped:
        lines.append(f"{counts.dropped} rows were let go of because the spool was full")
    if gateway.damaged:
        lines.append(f"{gateway.damaged} bytes on disk were damaged and could not be sent")
    if left:
        lines.append(
            "the rest is on disk and goes with the next run of this name"
            + (f": {problem}" if problem else "")
        )
    sending.summarise(facts, lines, json)
    if interrupted:
        raise typer.Exit(sending.EXIT_INTERRUPTED)
    if left or counts.dropped or gateway.damaged:
        raise typer.Exit(sending.EXIT_FAILED)
    if counts.passed_on:
        raise typer.Exit(sending.EXIT_REJECTED)
