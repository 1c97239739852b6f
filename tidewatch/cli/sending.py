"""What verbs that send events share: speed, progress, errors in words, the summary and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import fail, say
from tidewatch.exits import Exit

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from producers.producer import EventProducer
    from producers.rejects import Rejects

DEFAULT_TOPIC = "iot.sensor.reading.v1"
EXIT_FAILED = Exit.FAILED
EXIT_REJECTED = Exit.REJECTED
EXIT_INTERRUPTED = Exit.INTERRUPTED

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
Topic = Annotated[str, typer.Option(help="Topic to send to.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(help="Port to show metrics on while sending; 0 takes a free one, none if not given."),
]
Speed = Annotated[str, typer.Option(help="'real', a factor such as 60 (event time per wall time), or 'max'.")]
Spread = Annotated[
    bool,
    typer.Option(
        "--spread", help="Send hot sensors' rows to all partitions, for pipelines with a roll-up by sensor."
    ),
]

_SHOW_EVERY = 256


def speed_of(text: str) -> float | None:
    """Return event time per wall time, or ``None`` for as fast as possible."""
    if text == "max":
        return None
    try:
        speed = 1.0 if text == "real" else float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"a speed is 'real', 'max' or a positive number, not {text!r}")
    return speed


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of sending into words with a remedy."""
    from producers.errors import (
        BackPressureError,
        MappingError,
        ProducerError,
        ProducerFailedError,
        UndeliveredError,
    )
    from tidewatch.settings import NoKafkaError

    try:
        yield
    except MappingError as error:
        fail(error, "Say where each field comes from: --map FIELD=COLUMN or --const FIELD=VALUE.")
    except ProducerFailedError as error:
        fail(error, "Look with `tidewatch broker status`; make topics with `tidewatch topics create`.")
    except (UndeliveredError, BackPressureError) as error:
        fail(error, "Not everything was delivered: look at the broker, then send again.")
    except (NoKafkaError, ProducerError) as error:
        fail(error)


@contextmanager
def connected(topic: str, *, spread: bool = False) -> Iterator[EventProducer]:
    """Give a producer whose topic is known to be there, and let go of it in the end.

    Raises:
        NoKafkaError, ProducerFailedError: there is no broker or no such topic.
        UndeliveredError: at the end, something accepted did not arrive.
    """
    from producers.producer import EventProducer
    from tidewatch.recut import range_table
    from tidewatch.settings import Settings

    settings: dict[str, str | int] = {**Settings().connection(), "log_level": 2}
    # librdkafka would log every attempt to connect; `check` says once why there is none.
    with EventProducer(settings, topic) as producer:
        producer.check()
        table = range_table(settings, topic)
        if spread:
            producer.spread_hot_keys()
        elif table is not None:
            producer.follow_ranges(table)
        yield producer


@contextmanager
def measured(
    name: str, producer: EventProducer, port: int | None, rejects: Rejects | None = None
) -> Iterator[None]:
    """Serve a producer's metrics under a name while it sends, where a port is given."""
    from prometheus_client import CollectorRegistry

    from producers.metrics import register

    registry = CollectorRegistry()
    register(name, producer, registry, rejects)
    with served(registry, port):
        yield


@contextmanager
def served(registry: CollectorRegistry, port: int | None) -> Iterator[None]:
    """Serve a registry's metrics, where a port is given."""
    if port is None:
        yield
        return
    from prometheus_client import start_http_server

    from tidewatch.settings import Settings

    host = Settings().metrics_host
    server, thread = start_http_server(port, addr=host, registry=registry)
    say(f"metrics on http://{host}:{server.server_port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr with the rate; gives a function to call with the number of new events."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True),
        TextColumn("{task.completed:,.0f} events"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task, unseen = bars.add_task(title, total=total), 0

        def sent(count: int) -> None:
            nonlocal unseen
            unseen += count
            # Locking the display for each event would cost more than sending it; a slow play shows each.
            if unseen >= _SHOW_EVERY or (total is not None and total < _SHOW_EVERY):
                bars.update(task, advance=unseen)
                unseen = 0

        yield sent
        bars.update(task, advance=unseen)


def summarise(facts: dict[str, object], lines: list[str], json: bool) -> None:
    """Print the summary as one JSON object or as lines."""
    if json:
        import orjson

        sys.stdout.write(orjson.dumps(facts).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
