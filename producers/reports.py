"""Safety reports from a table of (report, drug, event) rows, such as a quarter of FAERS, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from producers.errors import SourceError
from schemas.safety import SafetyReport

FIRST = 1_656_633_600_000
"""Where the clock of reports without times starts: 1 July 2022."""


@dataclass(frozen=True, slots=True)
class ReportColumns:
    """Which columns hold the report's id, its drug and its event."""

    report: str = "report_id"
    drug: str = "drug"
    event: str = "event"


def report_rows(path: Path, columns: ReportColumns) -> Any:
    """Return the table of rows as pandas reads it (CSV, gzip too).

    Raises:
        SourceError: there is no such file, or it lacks a column.
    """
    import pandas as pd

    wanted = [columns.report, columns.drug, columns.event]
    try:
        return pd.read_csv(path, usecols=wanted, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {error}") from error


def safety_reports(
    rows: Any, columns: ReportColumns, *, source: str, population: str, step_ms: int = 1_000
) -> Iterator[SafetyReport]:
    """Give one report for each id, in order of first appearance, with all its drugs and events.

    The table has no times: reports are dated ``step_ms`` apart, so that their order is their time.
    """
    drug, event = rows[columns.drug].tolist(), rows[columns.event].tolist()
    cases: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for number, d, e in zip(rows[columns.report].tolist(), drug, event, strict=True):
        drugs, events = cases.setdefault(number, ({}, {}))
        drugs[d], events[e] = None, None
    for i, (number, (drugs, events)) in enumerate(cases.items()):
        yield SafetyReport(
            id=number,
            source=source,
            time=FIRST + i * step_ms,
            population=population,
            drugs=list(drugs),
            events=list(events),
        )


def encoded(reports: Iterator[SafetyReport], sent: Callable[[int], None]) -> Iterator[tuple[bytes, bytes]]:
    """Give key and value of each record; ``sent`` hears how many went by, now and then."""
    encode = msgspec.json.Encoder().encode
    count = 0
    for report in reports:
        yield report.population.encode(), encode(report)
        count += 1
        if count % 1_000 == 0:
            sent(1_000)
    sent(count % 1_000)
