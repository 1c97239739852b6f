"""``tidewatch demo``: watch it work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Annotated

import typer

from tidewatch.exits import Exit


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    verbs = typer.Typer(invoke_without_command=True)
    verbs.callback()(demo)
    verbs.command()(pharma)
    app.add_typer(verbs, name="demo")


def demo(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long events are sent.")] = 60.0,
    kill: Annotated[
        bool, typer.Option("--kill/--no-kill", help="Kill a worker (-9) in the middle; no result may change.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same city and incidents.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Watch it work: a Kafka of its own, real weather and a simulated city, two workers, one of them killed.

    In the end all results are compared with a recount of what was produced. Nothing is left running or on disk but
    the cached Kafka.

    Example: tidewatch demo --json

    Exit code 0: the results are right; 1: it could not be played, with the reason; 5: the results differ from the
    recount; 130: interrupted.
    """
    if context.invoked_subcommand:
        return
    import msgspec

    from tidewatch.broker import BrokerError
    from tidewatch.broker.jars import class_path
    from tidewatch.cli.broker import fetch_progress
    from tidewatch.demo.crew import WorkerError
    from tidewatch.demo.run import DemoError, run_demo
    from tidewatch.demo.scenario import Scenario
    from tidewatch.demo.view import view_for
    from tidewatch.settings import Settings

    repository = Settings().maven_repository
    scenario = Scenario(seconds=seconds, seed=seed, kill=kill)
    try:
        with _terminable():
            with fetch_progress() as progress:
                class_path(repository=repository, progress=progress)
            with view_for(sys.stderr) as view:
                report = run_demo(scenario, view, repository=repository)
    except (BrokerError, WorkerError, DemoError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.FAILED) from error
    except KeyboardInterrupt:
        typer.echo("interrupted; everything that was started is stopped", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in report.lines()))
    if not report.ok:
        raise typer.Exit(Exit.DIFFERS)


def pharma(
    courses: Annotated[int, typer.Option(min=100, help="Courses of medicine given over a year.")] = 20_000,
    relative_risk: Annotated[
        float, typer.Option(min=0, help="How much the hidden drug raises its event.")
    ] = 4.0,
    begins: Annotated[int, typer.Option(min=0, max=359, help="Day on which that begins.")] = 90,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same network.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long the year is played.")] = 40.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Find a hidden side effect: a simulated network of hospitals, its FHIR resources counted live on a Kafka of its own.

    Tells how long each of four presets took to find it, and which other pairs they raised. In the end every published state is
    compared with a batch computation. Nothing is left running or on disk but the cached Kafka.

    Example: tidewatch demo pharma --relative-risk 2

    Exit code 0: it was played and the states are right, whether or not a preset found the hidden pair; 1: it could not be played,
    with the reason; 5: the states differ from a batch computation; 130: interrupted.
    """
    import msgspec

    from producers.hospitals import Network
    from tidewatch.broker import BrokerError, start_brokers
    from tidewatch.broker.jars import class_path
    from tidewatch.cli.broker import fetch_progress
    from tidewatch.demo.crew import WorkerError
    from tidewatch.pharma_demo import PharmaDemoError, play
    from tidewatch.settings import Settings

    network = Network(courses=courses, relative_risk=relative_risk, begins=begins, seed=seed)
    repository = Settings().maven_repository
    try:
        with _terminable():
            with fetch_progress() as progress:
                class_path(repository=repository, progress=progress)
            with start_brokers(1, repository=repository) as kafka:
                say = partial(typer.echo, err=True)
                report = play(dict(kafka.connection), network, say, seconds=seconds)
    except (BrokerError, WorkerError, PharmaDemoError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.FAILED) from error
    except KeyboardInterrupt:
        typer.echo("interrupted; everything that was started is stopped", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in report.lines()))
    if not report.ok:
        raise typer.Exit(Exit.DIFFERS)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the demo in order, also where the shell that started it lets Ctrl-C be ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
