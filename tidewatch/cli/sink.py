"""``tidewatch sink``: carry topics to where people keep things."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tidewatch.cli.alerts import AtLeast, Groups, Muted, Rules
from tidewatch.cli.alerts import Topics as AlertTopics
from tidewatch.cli.shared import DryRun, Yes, agreed, connection, explained, fail, say
from tidewatch.exits import Exit

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from sinks.contract import Sink
    from sinks.runner import SinkLimits

group = typer.Typer(no_args_is_help=True, help="Carry topics to files, databases and web services.")

MetricsPort = Annotated[
    int | None, typer.Option(help="Port for Prometheus; 0 takes a free one, none if not given.")
]
Like = Annotated[
    str | None, typer.Option(help="Topic of the catalogue that these are like, if they are not in it.")
]
Once = Annotated[bool, typer.Option("--once", help="End when everything that is there has been written.")]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="sink")


@group.command()
def parquet(
    topics: Annotated[list[str], typer.Argument(help="Topics to archive: sources, late letters or results.")],
    directory: Annotated[Path, typer.Option(help="Where the archive is; made if need be.")],
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds until records become a file at the latest.")
    ] = 60.0,
    records: Annotated[
        int, typer.Option(min=1, help="Records of a partition that make a file at once.")
    ] = 500_000,
    once: Once = False,
    like: Like = None,
    accept_loss: Annotated[
        bool, typer.Option(help="Go on when the topic has dropped records that were not archived.")
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="File of patients' keys, made if need be; topics about patients are archived sealed by them."
        ),
    ] = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Archive topics as Parquet files, DIRECTORY/TOPIC/PARTITION/FIRST-OFFSET.parquet, each record exactly once.

    Read them with `tidewatch.read`, or any tool that reads Parquet. It goes on where its files end; a full disk is waited for.

    Example: tidewatch sink parquet iot.sensor.reading.v1 --directory archive

    Exit code 3: it refused to go on and said why; nothing is lost.
    """
    from sinks.archiver import ArchiveLimits, Archiver
    from sinks.makers import archive_maker
    from sinks.metrics import SinkMetrics
    from sinks.patient_keys import PatientKeys

    settings = connection()
    with _running(metrics_port) as (registry, stopping):
        secrets = None if keys is None else PatientKeys(keys)
        makers = {topic: archive_maker(topic, like=like, keys=secrets) for topic in topics}
        limits = ArchiveLimits(records=records, seconds=every)
        archiver = Archiver(
            settings,
            makers,
            directory,
            SinkMetrics(registry, "parquet"),
            limits=limits,
            accept_loss=accept_loss,
        )
        archiver.run(stopping, until_end=once)


@group.command()
def forget(
    patient: Annotated[str, typer.Argument(help="The pseudonym, as records of the patient are keyed.")],
    keys: Annotated[Path, typer.Option(help="File of patients' keys.", exists=True, dir_okay=False)],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a patient's key, for good: what archives hold of the patient can no longer be read by anybody.

    Stop archives before and start them after it; copies of the file of keys must go too.

    Example: tidewatch sink forget 9f2c41 --keys patients.db
    """
    from sinks.errors import SinkError
    from sinks.patient_keys import PatientKeys

    try:
        held = PatientKeys(keys)
        if not held.knows(patient):
            hint = "Name the pseudonym, which is the key of the patient's records."
            fail(f"{keys} has no key of {patient}", hint)
        if agreed(f"delete the key of {patient} for good", yes=yes, dry_run=dry_run):
            held.forget(patient)
            say(f"the key of {patient} is deleted")
    except SinkError as error:
        fail(error)


@group.command()
def postgres(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Topics of results; all of the catalogue's if none is given.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Consumer group; sinks of one group share the work.")
    ] = "tidewatch-postgres",
    batch: Annotated[int, typer.Option(min=1, help="Results of a transaction at most.")] = 5_000,
    like: Like = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Keep results and alerts in PostgreSQL, upserted by their ids; an outage is waited for.

    The database is named by TIDEWATCH_POSTGRES_DSN. Its schema `tidewatch` is made and migrated by this command.

    Example: TIDEWATCH_POSTGRES_DSN=postgresql://me@localhost/mine tidewatch sink postgres

    Exit code 3: it refused to go on and said why; nothing is lost.
    """
    from schemas.topics import result_topics
    from sinks.postgres import PostgresSink
    from sinks.runner import SinkLimits
    from tidewatch.settings import Settings

    dsn = Settings().postgres_dsn
    if dsn is None:
        fail("no database", "Set TIDEWATCH_POSTGRES_DSN, such as postgresql://user:password@host/database.")
    names = topics or [spec.name for spec in result_topics()]
    _carry(
        "postgres", group, names, lambda: PostgresSink(dsn.get_secret_value()), SinkLimits(batch), metrics_port,
        like=like,
    )  # fmt: skip


@group.command()
def webhook(
    severity: AtLeast = "info",
    rule: Rules = None,
    group: Groups = None,
    muted: Muted = False,
    topic: AlertTopics = None,
    start: Annotated[
        Literal["earliest", "latest"], typer.Option("--from", help="Where a new sink begins.")
    ] = "latest",
    consumer_group: Annotated[
        str, typer.Option(help="Consumer group; one for each receiver.")
    ] = "tidewatch-webhook",
    metrics_port: MetricsPort = None,
) -> None:
    """Post alerts to a web service, signed, until it has them; each transition carries its id as Idempotency-Key.

    The service is named by TIDEWATCH_WEBHOOK_URL, the key of the signature by TIDEWATCH_WEBHOOK_SECRET. See docs/sinks.md.

    Example: tidewatch sink webhook --severity critical

    Exit code 3: it refused to go on and said why; nothing is lost.
    """
    from schemas.results import Alert
    from sinks.alert_filter import AlertFilter
    from sinks.decoding import topics_of
    from sinks.runner import SinkLimits
    from sinks.webhook import WebhookSink
    from tidewatch.settings import Settings

    url, secret = Settings().webhook_url, Settings().webhook_secret
    if url is None or secret is None:
        fail("no receiver", "Set TIDEWATCH_WEBHOOK_URL and TIDEWATCH_WEBHOOK_SECRET.")
    wanted = AlertFilter(severity, tuple(rule or ()), tuple(group or ()), muted)
    _carry(
        "webhook", consumer_group, list(topic or topics_of(Alert)),
        lambda: WebhookSink(url.get_secret_value(), secret.get_secret_value().encode(), wanted),
        SinkLimits(batch=100, linger=0.1), metrics_port, start=start,
        like=topics_of(Alert)[0],
    )  # fmt: skip


def _carry(
    name: str,
    group: str,
    topics: list[str],
    make: Callable[[], Sink],
    limits: SinkLimits,
    metrics_port: int | None,
    *,
    start: str = "earliest",
    like: str | None = None,
) -> None:
    """Run a sink of result topics until it is told to stop."""
    from sinks.decoding import decoders, struct_of
    from sinks.metrics import SinkMetrics
    from sinks.runner import SinkRunner

    settings = connection()
    with _running(metrics_port) as (registry, stopping):
        metrics = SinkMetrics(registry, name)
        kinds = decoders(topics, struct_of(like) if like else None)
        runner = SinkRunner(settings, group, kinds, make(), metrics, limits=limits, start=start)
        say(f"{name} takes {', '.join(topics)}; Ctrl-C ends")
        runner.run(stopping)


@contextmanager
def _running(metrics_port: int | None) -> Iterator[tuple[CollectorRegistry, Event]]:
    """Give a registry that is served and an event that SIGTERM and Ctrl-C set; turn errors into words."""
    import logging

    from prometheus_client import CollectorRegistry

    from sinks.errors import SinkError, TopicError

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    registry, stopping = CollectorRegistry(), Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: stopping.set())
    close = _serve(registry, metrics_port)
    try:
        with explained():
            yield registry, stopping
    except TopicError as error:
        fail(error)
    except SinkError as error:
        say(f"error: {error}")
        raise typer.Exit(Exit.REFUSED) from error
    finally:
        close()


def _serve(registry: CollectorRegistry, port: int | None) -> Callable[[], None]:
    if port is None:
        return lambda: None
    from prometheus_client import start_http_server

    from tidewatch.settings import Settings

    server, _ = start_http_server(port, addr=Settings().metrics_host, registry=registry)
    say(f"metrics on http://{server.server_address[0]!s}:{server.server_port}/metrics")

    def close() -> None:
        server.shutdown()
        server.server_close()

    return close
