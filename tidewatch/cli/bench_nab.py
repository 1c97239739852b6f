"""``tidewatch bench nab``: run detectors over the Numenta Anomaly Benchmark and score them by its rules."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import Json, console, fail, print_json, say

if TYPE_CHECKING:
    from benchmarks.nab.report import Row


def register(app: typer.Typer) -> None:
    """Add the verb to the ``bench`` group, which another module may have made."""
    group = next((g.typer_instance for g in app.registered_groups if g.name == "bench"), None)
    if group is None:
        group = typer.Typer(no_args_is_help=True, help="Measure against peers.")
        app.add_typer(group, name="bench")
    group.command()(nab)


def nab(
    folder: Annotated[
        Path, typer.Argument(help="NAB's folder, or one with its data and combined_windows.json.")
    ],
    detector: Annotated[
        list[str] | None, typer.Option(help="Registered detector to run; may be given more than once.")
    ] = None,
    alarms: Annotated[
        Path | None, typer.Option(help="JSON with alarmed rows of published detectors, by detector and file.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="NAB's results folder, to rescore it.")] = None,
    thresholds: Annotated[
        Path | None, typer.Option(help="NAB's config/thresholds.json, for --results.")
    ] = None,
    json: Json = False,
) -> None:
    """Score detectors strictly online, each half of the files at the threshold that is best for the other half.

    The fixed split takes every other file; mean and sd are over 100 random splits. A dummy that knows nothing runs beside.

    Example: tidewatch bench nab NAB/
    """
    from benchmarks.nab.corpus import CorpusError, read_alarms, read_corpus, read_results
    from benchmarks.nab.report import measured, rescored

    try:
        corpus = read_corpus(folder)
        published = {} if alarms is None else read_alarms(alarms)
        if results is not None:
            published |= read_results(results, thresholds or results.parent / "config" / "thresholds.json")
        say(f"{len(corpus)} files with {sum(len(series.windows) for series in corpus)} windows")
        rows = measured(corpus, detector or ["tail-exceedance"]) + rescored(corpus, published)
    except (CorpusError, ValueError, OSError) as error:
        fail(error)
    if json:
        print_json({"files": len(corpus), "detectors": [asdict(row) for row in rows]})
    else:
        _print(rows)


def _print(rows: list[Row]) -> None:
    from rich.table import Table

    table = Table("detector", "standard", "low FP", "low FN", "hindsight", box=None)
    for row in rows:
        cells = [_cell(scores) for scores in row.scores.values()]
        best = row.scores["standard"].get("best")
        table.add_row(row.detector, *cells, "" if best is None else f"{best:.1f}")
    console().print(table)


def _cell(scores: dict[str, float]) -> str:
    if "published" in scores:
        return f"{scores['published']:.1f} (published threshold)"
    return f"{scores['fixed']:.1f}  ({scores['mean']:.1f} ± {scores['sd']:.1f})"
