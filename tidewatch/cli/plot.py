"""``tidewatch plot``: pictures of distributions, alerts and lag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import connection, explained, fail, say

if TYPE_CHECKING:
    import msgspec

group = typer.Typer(no_args_is_help=True, help="Draw distributions, alerts and lag.")

Output = Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.")]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="plot")


@group.command()
def distributions(
    quantity: Annotated[str, typer.Option(help="Quantity to draw, such as pm25.")],
    output: Output = Path("distributions.png"),
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline's windows.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic of windows; all of the catalogue's if not given.")
    ] = None,
) -> None:
    """Draw quantile fans over time, one for each site, from the windows on the result topics.

    Example: tidewatch plot distributions --quantity pm25 -o pm25.svg
    """
    from schemas.results import WindowSummary
    from tidewatch.plots.canvas import save, styled
    from tidewatch.plots.distributions import by_site, draw

    with _drawing():
        found = (s for s in _records(WindowSummary, topic) if isinstance(s, WindowSummary))
        series = by_site((s for s in found if pipeline in {None, s.pipeline}), quantity)
        with styled() as plt:
            save(draw(plt, series, quantity), output)
    say(f"{len(series)} sites drawn to {output}")


@group.command()
def alerts(
    output: Output = Path("alerts.png"),
    rule: Annotated[
        list[str] | None, typer.Option(help="Only these rules; * and ? stand for anything.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic of alerts; all of the catalogue's if not given.")
    ] = None,
) -> None:
    """Draw when which alerts were open, one line for each group, coloured by severity.

    Example: tidewatch plot alerts --rule 'stuck*' -o stuck.png
    """
    from schemas.results import Alert
    from sinks.alert_filter import AlertFilter
    from tidewatch.plots.alerts import draw, spans
    from tidewatch.plots.canvas import save, styled

    with _drawing():
        wanted = AlertFilter(rules=tuple(rule or ()))
        found = spans(a for a in _records(Alert, topic) if isinstance(a, Alert) and wanted.takes(a))
        with styled() as plt:
            save(draw(plt, found), output)
    say(f"{len(found)} stretches drawn to {output}")


@group.command()
def lag(
    output: Output = Path("lag.png"),
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to watch.")] = 30.0,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
) -> None:
    """Watch the lag of every group for a while and draw it.

    Example: tidewatch plot lag --seconds 60 -o lag.png
    """
    import time

    from tidewatch.monitor.cluster import ClusterReader
    from tidewatch.monitor.history import History
    from tidewatch.plots.canvas import save, styled
    from tidewatch.plots.lag import draw

    with _drawing():
        reader, history = ClusterReader(connection(), time.time), History(seconds + 60)
        deadline = time.monotonic() + seconds
        say(f"watching for {seconds:g} s")
        while True:
            history.add(reader.look())
            if time.monotonic() >= deadline:
                break
            time.sleep(interval)
        with styled() as plt:
            save(draw(plt, history), output)
    say(f"{len(history.looks)} partitions drawn to {output}")


def _records(struct: type[msgspec.Struct], topics: Sequence[str] | None) -> Iterator[object]:
    from sinks.decoding import decode, decoders, topics_of
    from sinks.reader import read_to_end

    found = decoders(topics or topics_of(struct), struct)
    for batch in read_to_end(connection(), list(found)):
        for message in batch:
            yield decode(found[str(message.topic())], message.value())


@contextmanager
def _drawing() -> Iterator[None]:
    from sinks.errors import TopicError
    from tidewatch.plots.canvas import NothingToPlotError

    try:
        with explained():
            yield
    except (NothingToPlotError, TopicError, ValueError, OSError) as error:
        fail(error)
