"""The verbs of ``tidewatch signals`` that send: reports from tables, FHIR resources, E2B messages, OMOP databases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidewatch.cli.shared import Json, connection, explained, fail, print_json, say

REPORTS = "pharma.report.received.v1"
RESOURCES = "hospital.fhir.resource.v1"


def register(group: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (replay, fhir, e2b, omop):
        group.command()(verb)


def replay(
    file: Annotated[Path, typer.Argument(help="CSV (gzip too) of one row a report, drug and event.")],
    report: Annotated[str, typer.Option(help="Column of the report's id.")] = "report_id",
    drug: Annotated[str, typer.Option(help="Column of the drug.")] = "drug",
    event: Annotated[str, typer.Option(help="Column of the event.")] = "event",
    source: Annotated[str, typer.Option(help="What the reports say of their source.")] = "file",
    population: Annotated[str, typer.Option(help="Population they are counted in.")] = "faers",
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = REPORTS,
    json: Json = False,
) -> None:
    """Send a table of reports in its order, such as a quarter of FAERS.

    Example: tidewatch signals replay faers.csv.gz --report CASEID --drug did --event eid
    """
    from producers.errors import SourceError, UndeliveredError
    from producers.loader import load
    from producers.reports import ReportColumns, encoded, report_rows, safety_reports
    from tidewatch.cli import sending

    columns = ReportColumns(report, drug, event)
    try:
        rows = report_rows(file, columns)
        reports = safety_reports(rows, columns, source=source, population=population)
        with explained(), sending.progress("Sending reports", rows[report].nunique()) as sent:
            counts = load(connection(), topic, encoded(reports, sent))
    except (SourceError, UndeliveredError) as error:
        fail(error)
    _tell(counts.delivered, "reports", topic, json)


def fhir(
    files: Annotated[
        list[Path], typer.Argument(help="FHIR R4 JSON files, or NDJSON with one resource a line.")
    ],
    source: Annotated[str, typer.Option(help="The hospital they come from; part of every pseudonym.")],
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = RESOURCES,
    json: Json = False,
) -> None:
    """Send FHIR resources by pseudonym: names, addresses and notes stay here.

    The key of the pseudonyms is taken from TIDEWATCH_PSEUDONYM_KEY and goes nowhere.

    Example: tidewatch signals fhir bundles.ndjson --source st-elsewhere
    """
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.pseudonyms import Pseudonyms, pseudonymised

    try:
        pseudonyms = Pseudonyms.from_environment()
        records = [
            record
            for file in files
            for value in _documents(file)
            for record in pseudonymised(value, source, pseudonyms)
        ]
        with explained():
            counts = load(connection(), topic, records)
    except (ProducerError, OSError) as error:
        fail(error)
    _tell(counts.delivered, "resources", topic, json)


def e2b(
    files: Annotated[list[Path], typer.Argument(help="ICH E2B(R3) XML messages.")],
    source: Annotated[str, typer.Option(help="Where they come from.")],
    population: Annotated[str, typer.Option(help="Population they are counted in.")] = "all",
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = REPORTS,
    json: Json = False,
) -> None:
    """Send the cases of E2B(R3) messages as safety reports, by pseudonym where TIDEWATCH_PSEUDONYM_KEY is set.

    Example: tidewatch signals e2b case-1.xml case-2.xml --source regulator
    """
    import os

    import msgspec

    from producers.e2b import reports_of
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.pseudonyms import KEY_VARIABLE, Pseudonyms

    try:
        pseudonyms = Pseudonyms.from_environment() if os.environ.get(KEY_VARIABLE) else None
        reports = [r for file in files for r in reports_of(file.read_bytes(), source, population, pseudonyms)]
        with explained():
            records = [(report.population.encode(), msgspec.json.encode(report)) for report in reports]
            counts = load(connection(), topic, records)
    except (ProducerError, OSError) as error:
        fail(error)
    _tell(counts.delivered, "reports", topic, json)


def omop(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of OMOP CDM 5.4 tables: person, drug_exposure, condition_occurrence."),
    ],
    source: Annotated[str, typer.Option(help="The database they come from; part of every pseudonym.")],
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = RESOURCES,
    json: Json = False,
) -> None:
    """Send an OMOP database's persons, drug exposures and conditions by pseudonym, in order of their dates.

    The key of the pseudonyms is taken from TIDEWATCH_PSEUDONYM_KEY and goes nowhere. The same as `tidewatch replay omop`.

    Example: tidewatch signals omop cdm/ --source st-elsewhere
    """
    send_omop(folder, source, topic, json)


def send_omop(folder: Path, source: str, topic: str, json: bool) -> None:
    """Send an OMOP database and say how much arrived."""
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.omop import omop_records
    from producers.pseudonyms import Pseudonyms

    try:
        records = omop_records(folder, source, Pseudonyms.from_environment())
        with explained():
            counts = load(connection(), topic, records)
    except ProducerError as error:
        fail(error)
    _tell(counts.delivered, "resources", topic, json)


def _tell(delivered: int, what: str, topic: str, json: bool) -> None:
    if json:
        print_json({"topic": topic, "delivered": delivered})
    else:
        say(f"{delivered} {what} delivered to {topic}")


def _documents(file: Path) -> list[bytes]:
    content = file.read_bytes()
    return content.splitlines() if file.suffix == ".ndjson" else [content]
