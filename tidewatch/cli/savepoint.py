"""``tidewatch savepoint``: name a state, see which there are, start another app from one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import DryRun, JsonLines, Yes, agreed, connection, explained, fail, print_json, say

if TYPE_CHECKING:
    from streams.config import EngineConfig

App = Annotated[str, typer.Option(help="The app whose state it is.")]
Name = Annotated[str, typer.Argument(help="The savepoint's name.")]

group = typer.Typer(
    no_args_is_help=True, help="Named copies of a pipeline's state, to start side by side from."
)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(group, name="savepoint")


@group.command()
def save(name: Name, app_id: App) -> None:
    """Copy the newest state of an app under a name; its workers may go on meanwhile.

    Example: tidewatch savepoint save before-change --app-id air-quality
    """
    from streams.savepoint import save

    with _refusing():
        _tell(save(_config(app_id), name), "stands at")


@group.command()
def start(
    name: Name,
    app_id: App,
    new_app: Annotated[str, typer.Option("--as", help="The new app, which must not have run before.")],
) -> None:
    """Let a new app begin with a savepoint; then run its workers with that --app-id.

    Example: tidewatch savepoint start before-change --app-id air-quality --as air-quality-2
    """
    from streams.savepoint import Savepoint, start

    with _refusing():
        _tell(start(_config(new_app), Savepoint(app_id, name)), "goes on at")
    say(f"Run it with: tidewatch worker PIPELINE --app-id {new_app}")


@group.command("list")
def list_(as_json: JsonLines = False) -> None:
    """List the savepoints of all apps and where they stand.

    Example: tidewatch savepoint list
    """
    from streams.savepoint import listed, positions_of

    config = _config("tidewatch")
    for savepoint in listed(config):
        places = {f"{topic}[{p}]": n for (topic, p), n in sorted(positions_of(config, savepoint).items())}
        if as_json:
            print_json({"app_id": savepoint.app_id, "name": savepoint.name, "positions": places})
        else:
            where = ", ".join(f"{place} at {position}" for place, position in places.items())
            typer.echo(f"{savepoint.app_id} {savepoint.name}: {where}")


@group.command()
def drop(name: Name, app_id: App, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete a savepoint.

    Example: tidewatch savepoint drop before-change --app-id air-quality
    """
    from streams.savepoint import Savepoint, drop, require

    config, savepoint = _config(app_id), Savepoint(app_id, name)
    with _refusing():
        require(config, savepoint)
        if agreed(f"delete the savepoint {name!r} of {app_id!r}", yes=yes, dry_run=dry_run):
            drop(config, savepoint)


def _config(app_id: str) -> EngineConfig:
    from streams.config import EngineConfig

    return EngineConfig(app_id, connection())


@contextmanager
def _refusing() -> Iterator[None]:
    from streams.savepoint import SavepointError

    try:
        with explained():
            yield
    except SavepointError as error:
        fail(error)


def _tell(positions: dict[tuple[str, int], int], what: str) -> None:
    for (topic, partition), position in sorted(positions.items()):
        typer.echo(f"{topic}[{partition}] {what} {position}")
