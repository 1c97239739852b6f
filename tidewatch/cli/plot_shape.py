"""``tidewatch plot shape``: fans, ridgelines, modes, distances and forecasts of distributions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import connection, explained, fail, say

if TYPE_CHECKING:
    from tidewatch.shapes.series import Shapes


class Kind(StrEnum):
    """What to draw."""

    FAN = "fan"
    RIDGELINE = "ridgeline"
    MODES = "modes"
    DISTANCES = "distances"
    FORECAST = "forecast"


def register(app: typer.Typer) -> None:
    """Add the verb to the ``plot`` group, which another module may have made."""
    group = next((g.typer_instance for g in app.registered_groups if g.name == "plot"), None)
    if group is None:
        group = typer.Typer(no_args_is_help=True, help="Draw what is on the topics.")
        app.add_typer(group, name="plot")
    group.command()(shape)


def shape(
    source: Annotated[
        str,
        typer.Argument(help="Topic of site shapes, or a file: .jsonl of them, .csv of quantiles (q01, ...)."),
    ] = "shape.site.v1",
    kind: Annotated[list[Kind] | None, typer.Option(help="What to draw; all five if not given.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, such as pm25.")] = None,
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")] = Path("shapes"),
    form: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
) -> None:
    """Draw distributions over time, from what a shape pipeline published or from a table of quantiles.

    Example: tidewatch plot shape --family pm25 --kind fan --kind modes -o pictures
    """
    from streams.distributions.errors import DistributionError
    from tidewatch.shapes.figures import KINDS
    from tidewatch.shapes.series import NoShapesError

    try:
        series = _series(source, family, site)
        output.mkdir(parents=True, exist_ok=True)
        for name in kind or list(Kind):
            path = output / f"{name}.{form}"
            KINDS[name](series).savefig(path, dpi=120)
            say(f"{len(series)} series drawn to {path}")
    except (NoShapesError, DistributionError, ValueError, OSError) as error:
        fail(error)


def _series(source: str, family: str | None, site: str | None) -> list[Shapes]:
    from schemas.shapes import SiteShape
    from sinks.decoding import decode, decoders
    from sinks.errors import TopicError
    from sinks.reader import read_to_end
    from tidewatch.shapes.series import NoShapesError, of_file, of_results

    if Path(source).suffix in {".csv", ".jsonl"}:
        return of_file(Path(source), family, site)
    found = decoders([source], SiteShape)[source]
    try:
        with explained():
            batches = list(read_to_end(connection(), [source]))
    except TopicError as error:
        raise NoShapesError(str(error)) from error
    results = [decode(found, message.value()) for batch in batches for message in batch]
    return of_results([result for result in results if isinstance(result, SiteShape)], family, site)
