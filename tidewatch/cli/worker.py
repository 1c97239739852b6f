"""``tidewatch worker`` runs a pipeline; ``tidewatch reset`` lets it start anew from a chosen time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import DryRun, Yes, agreed, say, stop_event

if TYPE_CHECKING:
    from streams.stages import AnyPipeline

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="PIPELINE...",
        help="Pipelines of one app: a name such as air-quality, or FILE.py:VARIABLE, or module:VARIABLE.",
    ),
]
App = Annotated[
    str | None,
    typer.Option("--app-id", help="Group and checkpoints to use; a single pipeline's name if not given."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(worker)
    app.command()(reset)


def worker(
    pipelines: Names,
    app_id: App = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port for Prometheus; 0 takes a free one.")] = None,
    state_interval: Annotated[float, typer.Option(help="Seconds between state checkpoints.")] = 10.0,
    session_timeout: Annotated[
        float, typer.Option(help="Seconds until a dead worker's partitions move.")
    ] = 10.0,
    start: Annotated[
        str, typer.Option(help="Where to start without a checkpoint: earliest or latest.")
    ] = "earliest",
    accept_loss: Annotated[
        bool, typer.Option(help="Go on when the source has dropped unread records.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Worker processes to keep running; metrics ports count up from the first."),
    ] = 1,
    targets: Annotated[
        Path | None,
        typer.Option(help="File to write the metrics addresses to, for Prometheus' file_sd_configs."),
    ] = None,
) -> None:
    """Run one worker of a pipeline, or of several that share an app, until Ctrl-C or SIGTERM.

    Start as many as you like: they share the partitions. With --workers they are processes of this machine, started again with
    back-off when they end. Exit code 3 means that it refused to go on and said why.

    Example: tidewatch worker air-quality --workers 4 --metrics-port 9100
    """
    from tidewatch.settings import Settings
    from tidewatch.worker import config_of, run_worker, seals_of

    chosen = [_pipeline(name) for name in pipelines]
    settings = Settings()
    config = config_of(
        _app(app_id, chosen),
        settings.connection(),
        state_interval=state_interval,
        session_timeout=session_timeout,
        start=start,
        accept_loss=accept_loss,
        seals=seals_of(settings.checkpoint_keys),
        takeover_after=settings.takeover_after,
        standbys=settings.standbys,
        standby_bytes=settings.standby_bytes,
    )
    port = settings.metrics_port if metrics_port is None else metrics_port
    if workers > 1 or targets is not None:
        command = [sys.executable, "-m", "tidewatch", "worker", *pipelines, "--app-id", config.app_id]
        command += ["--state-interval", str(state_interval), "--session-timeout", str(session_timeout)]
        command += ["--start", start, "--accept-loss" if accept_loss else "--no-accept-loss"]
        _supervise(command, workers, settings.metrics_host, port, targets, config.app_id)
        return
    run_worker(
        config,
        chosen,
        metrics_port=port,
        metrics_host=settings.metrics_host,
        log_level=settings.log_level,
    )


def _supervise(
    command: list[str], workers: int, host: str, port: int, targets: Path | None, app: str
) -> None:
    from tidewatch.supervisor import Supervisor, metrics_ports, write_targets

    ports = metrics_ports(workers, port, host)
    if targets is not None:
        write_targets(targets, host, ports, app)
    commands = [[*command, "--metrics-port", str(one)] for one in ports]
    raise typer.Exit(Supervisor(commands, say).run(stop_event()))


def reset(
    pipelines: Names,
    to: Annotated[str, typer.Option(help="'earliest', or a time such as 2026-01-31T06:00:00Z.")],
    app_id: App = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Forget an app's state and let it recompute from a position; stop its workers first.

    Results that are recomputed carry the same ids as before, so sinks replace rather than double them.

    Example: tidewatch reset air-quality --to 2026-01-31T06:00:00Z
    """
    from streams.errors import EngineError
    from streams.reset import reset_app
    from streams.stages import stages_of
    from tidewatch.settings import Settings
    from tidewatch.worker import config_of

    chosen = [_pipeline(name) for name in pipelines]
    time_ms = None if to == "earliest" else _milliseconds(to)
    name = _app(app_id, chosen)
    if not agreed(f"forget the state of {name!r} and recompute from {to}", yes=yes, dry_run=dry_run):
        return
    config = config_of(name, Settings().connection())
    try:
        positions = reset_app(config, [stage for p in chosen for stage in stages_of(p, 1)], time_ms)
    except EngineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from error
    for (topic, partition), position in sorted(positions.items()):
        typer.echo(f"{topic}[{partition}] goes on at {position}")


def _app(given: str | None, pipelines: Sequence[AnyPipeline]) -> str:
    if given is None and len(pipelines) > 1:
        raise typer.BadParameter(
            "several pipelines share one group and its checkpoints: name it with --app-id"
        )
    return given or pipelines[0].name


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is neither 'earliest' nor a time such as 2026-01-31T06:00:00Z"
        ) from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone: add Z for UTC, or an offset such as +02:00")
    return int(moment.timestamp() * 1000)


def _pipeline(text: str) -> AnyPipeline:
    from tidewatch.declarations import DeclarationError, find_pipeline

    try:
        return find_pipeline(text)
    except DeclarationError as error:
        raise typer.BadParameter(str(error)) from error
