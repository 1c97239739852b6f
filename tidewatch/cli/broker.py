"""``tidewatch broker``: start, stop and look at the local Kafka."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import DryRun, Yes, agreed

if TYPE_CHECKING:
    from tidewatch.broker.daemon import Running
    from tidewatch.broker.jars import Progress

group = typer.Typer(no_args_is_help=True, help="Start, stop and look at the local Kafka.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="broker")


@contextmanager
def fetch_progress() -> Iterator[Progress]:
    """Show a progress bar on stderr while jars are fetched, and nothing when all are there."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("Fetching Apache Kafka, once", total=None, visible=False)
        yield lambda done, total: bars.update(task, completed=done, total=total, visible=True)


@group.command()
def start(
    brokers: Annotated[int, typer.Option(help="1, or 3 for threefold replication.")] = 1, json: Json = False
) -> None:
    """Start a local Kafka that stays until it is stopped; topics and data are kept.

    Example: tidewatch broker start --brokers 3
    """
    from tidewatch.broker.daemon import start as start_daemon
    from tidewatch.settings import Settings

    settings = Settings()
    with _explained(), fetch_progress() as progress:
        running = start_daemon(
            settings.state_dir, brokers, repository=settings.maven_repository, progress=progress
        )
    _print(running, json)


@group.command()
def stop(
    delete: Annotated[bool, typer.Option("--delete", help="Also delete its topics and data.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Stop the local Kafka.

    Example: tidewatch broker stop --delete
    """
    from tidewatch.broker.daemon import stop as stop_daemon
    from tidewatch.settings import Settings

    if (delete or dry_run) and not agreed(
        "stop the local Kafka" + " and delete all its topics and data" * delete, yes=yes, dry_run=dry_run
    ):
        return
    with _explained():
        ended = stop_daemon(Settings().state_dir, delete=delete)
    if json:
        _print_json({"stopped": ended})
    else:
        typer.echo(f"stopped {ended} broker{'s' * (ended != 1)}" if ended else "no local Kafka was running")


@group.command()
def status(json: Json = False) -> None:
    """Say where the local Kafka is; exit code 3 when none runs.

    Example: tidewatch broker status --json
    """
    from tidewatch.broker.daemon import status as daemon_status
    from tidewatch.settings import Settings

    running = daemon_status(Settings().state_dir)
    _print(running, json)
    if running is None:
        raise typer.Exit(3)


@contextmanager
def _explained() -> Iterator[None]:
    from tidewatch.broker.errors import BrokerError

    try:
        yield
    except BrokerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _print(running: Running | None, json: bool) -> None:
    if json:
        _print_json(_facts(running))
    elif running is None:
        typer.echo("no local Kafka runs; start one with: tidewatch broker start")
    else:
        typer.echo(f"Kafka runs at {running.bootstrap}, {running.alive} of {len(running.brokers)} brokers")
        typer.echo(f"data and logs: {running.directory}")


def _facts(running: Running | None) -> dict[str, object]:
    if running is None:
        return {"running": False}
    return {
        "running": True,
        "bootstrap": running.bootstrap,
        "brokers": len(running.brokers),
        "alive": running.alive,
        "pids": [broker.pid for broker in running.brokers],
        "directory": running.directory,
    }


def _print_json(facts: dict[str, object]) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(facts).decode() + "\n")
