"""What verbs share: errors in words, JSON on stdout, Kafka clients that are quiet."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tidewatch.exits import Exit

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient
    from rich.console import Console

    from streams.pipeline import Pipeline

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def agreed(deed: str, *, yes: bool, dry_run: bool) -> bool:
    """Return whether to do what cannot be undone: a dry run only says it, else it is asked for; a no leaves the process."""
    if dry_run:
        say(f"would {deed}")
        return False
    if not yes:
        typer.confirm(f"{deed[0].upper()}{deed[1:]}?", abort=True, err=True)
    return True


def fail(error: Exception | str, hint: str = "") -> NoReturn:
    """Say what went wrong and what to do, and leave with the exit code of failures."""
    typer.echo(f"error: {error}" + (f"\n{hint}" if hint else ""), err=True)
    raise typer.Exit(Exit.FAILED)


def stop_event() -> Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: stopping.set())
    return stopping


def print_json(facts: object) -> None:
    """Print one JSON object on a line of its own."""
    import orjson

    sys.stdout.write(orjson.dumps(facts).decode() + "\n")


def say(text: str) -> None:
    """Remark on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def console() -> Console:
    """Return a console on stdout: coloured only on a terminal, and elsewhere wide enough to cut nothing."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def connection() -> dict[str, str]:
    """Return librdkafka's settings to connect, without its own log lines: verbs say once what is wrong."""
    from tidewatch.settings import NoKafkaError, Settings

    try:
        return {**Settings().connection(), "log_level": "2"}
    except NoKafkaError as error:
        fail(error)


def windowed_pipeline(text: str) -> Pipeline:
    """Return the pipeline of windows that a person names."""
    from tidewatch.declarations import DeclarationError, find_windowed

    try:
        return find_windowed(text)
    except DeclarationError as error:
        raise typer.BadParameter(str(error)) from error


def admin_client(settings: dict[str, str]) -> AdminClient:
    """Return an admin client."""
    from confluent_kafka.admin import AdminClient

    return AdminClient(dict(settings))


@contextmanager
def explained() -> Iterator[None]:
    """Turn what Kafka refuses into words with a remedy."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        fail(f"Kafka: {error.args[0].str()}", "Look with `tidewatch doctor`, or `tidewatch broker status`.")
