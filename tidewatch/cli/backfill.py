"""``tidewatch backfill``: run a pipeline over history, partitions in parallel, on Dask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import Json, connection, explained, fail, print_json, say

if TYPE_CHECKING:
    from tidewatch.backfill.planning import Plan
    from tidewatch.backfill.run import Outcome


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(backfill)


def backfill(
    pipeline: Annotated[
        str, typer.Argument(help="A name such as air-quality, or FILE.py:VARIABLE, or module:VARIABLE.")
    ],
    output: Annotated[Path, typer.Option(help="Directory for what is published; new or empty.")],
    archive: Annotated[
        Path | None,
        typer.Option(help="Archive of `tidewatch sink parquet` to read; the topics themselves if not given."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask scheduler of a cluster, such as tcp://host:8786; processes on this machine if not given."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; one a core if not given.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Count late rows too, and close every window at the end.")
    ] = False,
    app_id: Annotated[
        str | None,
        typer.Option(help="Apply the idle timeouts and rule changes that this app's checkpoints still tell."),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Also publish results and alerts to the pipeline's topics.")
    ] = False,
    speculate: Annotated[
        bool, typer.Option(help="Give tasks that straggle to a second worker, and take the first answer.")
    ] = True,
    json: Json = False,
) -> None:
    """Run a pipeline over history: the same tasks as a worker's, with the same results byte for byte.

    What would be published is left in OUTPUT/TOPIC/PARTITION, for `tidewatch.read` and other readers of Parquet. Late rows are
    late as they were on the stream, unless --complete.

    Example: tidewatch backfill air-quality --archive archive --output history
    """
    from sinks.errors import SinkError, TopicError
    from streams.errors import EngineError
    from tidewatch.backfill.coordinator import NoWorkersError
    from tidewatch.backfill.planning import BackfillError
    from tidewatch.backfill.run import cluster, run
    from tidewatch.declarations import DeclarationError

    if publish and complete:
        raise typer.BadParameter(
            "--complete counts anew what the stream has published; to bring late rows to its readers use `tidewatch late replay`"
        )
    with explained():
        try:
            plan = _plan(pipeline, output, archive, app_id, complete=complete)
            with cluster(scheduler, workers or os.cpu_count() or 1) as client, _progress("reading") as tell:
                outcome = run(plan, client, tell, speculative=speculate)
            sent = _published(plan) if publish else None
        except DeclarationError as error:
            raise typer.BadParameter(str(error)) from error
        except (BackfillError, NoWorkersError, TopicError, SinkError, EngineError, OSError) as error:
            fail(error)
    _report(outcome, output, sent, json=json)


def _plan(text: str, output: Path, archive: Path | None, app_id: str | None, *, complete: bool) -> Plan:
    from dataclasses import replace

    from tidewatch.backfill.influences import influences_of
    from tidewatch.backfill.planning import Plan, Sources, topics_read
    from tidewatch.backfill.sources import archive_sources, topic_sources
    from tidewatch.declarations import Declared

    declared = Declared.of(text)
    topics = topics_read(declared.pipeline())
    if archive is not None:
        found: Sources = {topic: archive_sources(archive, topic) for topic in topics}
    else:
        settings: dict[str, str | int] = {**connection()}
        found = {topic: topic_sources(settings, topic) for topic in topics}
    plan = Plan(declared, found, output, complete)
    if app_id is None:
        return plan
    influences, cut = influences_of(connection(), app_id, plan.partitions)
    if cut:
        say(
            f"the checkpoints of {app_id} no longer tell of earlier idle timeouts and rule changes on partitions "
            f"{', '.join(map(str, cut))}; where there were some, results may differ from the stream's"
        )
    return replace(plan, influences=influences)


def _published(plan: Plan) -> int:
    from streams.stages import stages_of
    from tidewatch.backfill.publishing import publish

    stages = stages_of(plan.declared.pipeline(), plan.partitions)
    wanted = {"result", "alert", "barycenter", "forecast"}
    topics = sorted({topic for stage in stages for kind, topic in stage.outputs.items() if kind in wanted})
    name = plan.declared.pipeline().name
    with _progress("publishing") as tell:
        return publish(connection(), name, plan.output, topics, lambda sent: tell(sent, 0))


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that moves a bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _report(outcome: Outcome, output: Path, sent: int | None, *, json: bool) -> None:
    if json:
        facts = {"records": outcome.records, "published": outcome.published, "output": str(output)}
        print_json(facts | {"raced": outcome.raced, "won_by_duplicates": outcome.won, "sent": sent})
        return
    for topic, count in sorted(outcome.published.items()):
        typer.echo(f"{count:>10}  {output / topic}")
    typer.echo(f"{outcome.records} records read")
    if outcome.raced:
        typer.echo(f"{outcome.raced} straggling tasks were given to a second worker, which won {outcome.won}")
    if sent is not None:
        typer.echo(f"{sent} records published; readers that upsert by id take them once")
