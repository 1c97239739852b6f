"""``tidewatch console``: everything live on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidewatch.cli.shared import connection, explained, fail, say, stop_event


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(console)


def console(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PIPELINE]...",
            help="Pipelines to show, named as for `tidewatch worker`; air-quality if none.",
        ),
    ] = None,
    app_id: Annotated[
        str | None, typer.Option("--app-id", help="Their group, if it is not the pipeline's name.")
    ] = None,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            "--worker", metavar="URL", help="A worker's metrics address, as it printed it; one option each."
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option("--targets", help="File in which `tidewatch worker --targets FILE` lists its workers."),
    ] = None,
    alertmanager: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="An Alertmanager whose alerts about the operation the self-check shows."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8383,
    token: Annotated[
        str | None,
        typer.Option(envvar="TIDEWATCH_CONSOLE_TOKEN", help="Token to ask for; made up where one is needed."),
    ] = None,
) -> None:
    """Show pipelines, partitions, distributions, alerts, signals and dead letters on a live page, until Ctrl-C.

    Reads committed records only, joins no group and writes nothing. Every section is JSON too: curl -H 'Accept: application/json'
    http://127.0.0.1:8383/alerts

    Example: tidewatch console air-quality --worker http://127.0.0.1:9100/metrics
    """
    from tidewatch.console.serve import ConsoleError
    from tidewatch.console.serve import console as serve
    from tidewatch.declarations import DeclarationError, find_watchable
    from tidewatch.live.watch import Watcher
    from tidewatch.live.workers import addresses_in

    try:
        chosen = [find_watchable(name) for name in pipelines or ["air-quality"]]
    except DeclarationError as error:
        raise typer.BadParameter(str(error)) from error
    named = {_name(url): url for url in worker or ()}
    stopping = stop_event()
    with explained():
        watcher = Watcher(
            connection(),
            app_id or chosen[0].name,
            chosen,
            lambda: named | (addresses_in(targets) if targets else {}),
            alertmanager,
        )
        watcher.start()
        try:
            with serve(watcher.snapshot, watcher.news, host=host, port=port, token=token) as address:
                say(f"console at {address}; Ctrl-C ends")
                stopping.wait()
        except ConsoleError as error:
            fail(error)
        finally:
            watcher.stop()


def _name(url: str) -> str:
    return url.removeprefix("http://").removesuffix("/metrics").removesuffix("/")
