"""``tidewatch replay``: send a file's rows or a year of real weather as sensor readings, or an OMOP database."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli import sending
from tidewatch.cli.signal_sources import RESOURCES

if TYPE_CHECKING:
    from producers.mapping import ColumnMap, Melt, Readings
    from producers.rejects import Rejects
    from producers.replay import ReplayReport

WEATHER, OMOP = "weather", "omop"

Pairs = list[str] | None
Plan = tuple["Iterable[Readings]", int | None, int]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(replay)


def replay(
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, NDJSON (each .gz too) or Parquet file; 'weather', a year of real readings; or 'omop'."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(help="For 'omop': the folder with the tables of an OMOP CDM 5.4 database."),
    ] = None,
    columns: Annotated[
        Pairs, typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field of the reading comes from.")
    ] = None,
    constants: Annotated[
        Pairs, typer.Option("--const", metavar="FIELD=VALUE", help="A field that is the same for all rows.")
    ] = None,
    melts: Annotated[
        Pairs,
        typer.Option(
            "--melt", metavar="COLUMN=QUANTITY:UNIT", help="A column of values in a table that has several."
        ),
    ] = None,
    time_format: Annotated[
        str, typer.Option(help="auto, iso, s, ms, us, ns or a pattern such as '%d/%m/%Y %H:%M'.")
    ] = "auto",
    zone: Annotated[str, typer.Option(help="Where times without an offset were taken.")] = "UTC",
    delimiter: Annotated[str, typer.Option(help="What separates the columns of a CSV file.")] = ",",
    speed: sending.Speed = "max",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move event times so that the last is when it is sent.")
    ] = False,
    sort: Annotated[
        bool, typer.Option("--sort", help="Send in order of event time; holds the file in memory.")
    ] = False,
    spread: sending.Spread = False,
    source: Annotated[
        str | None, typer.Option(help="For 'omop': the database it is; part of every pseudonym.")
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            help=f"Topic to send to; {sending.DEFAULT_TOPIC} or, for 'omop', {RESOURCES} if not given."
        ),
    ] = None,
    metrics_port: sending.MetricsPort = None,
    json: sending.Json = False,
) -> None:
    """Send a table's rows as sensor readings, at the speed of their event times or faster; or an OMOP database by pseudonym.

    Fields: sensor_id, site, quantity, unit, value, time. A field not mentioned is read from the column of its own
    name; site is the sensor's id unless it is mapped. Rows that are no readings are counted by reason.

    `omop FOLDER --source NAME` sends persons, drug exposures and conditions as FHIR resources in order of their dates, as
    `tidewatch signals omop` does; the key of the pseudonyms is taken from TIDEWATCH_PSEUDONYM_KEY and goes nowhere.

    Example: tidewatch replay greenhouse.csv --map sensor_id=bed --map site=house --map time=when --melt temp=temperature:degC

    Exit code 0: all sent; 1: failed, with the reason; 4: all readings sent, but some rows were none (missing values aside).
    """
    from producers.rejects import Rejects

    if file == OMOP:
        _send_omop(folder, source, topic or RESOURCES, json)
        return
    if folder is not None or source is not None:
        raise typer.BadParameter("a folder and --source are for 'omop'")
    topic = topic or sending.DEFAULT_TOPIC
    factor = sending.speed_of(speed)
    rejects = Rejects()
    with sending.explained():
        chunks, total, shift = (
            _weather_plan(rejects, factor, shift_to_now)
            if file == WEATHER
            else _file_plan(
                Path(file), _mapping(columns, constants, melts, time_format, zone), rejects, factor,
                delimiter=delimiter, sort=sort, shifted=shift_to_now,
            )
        )  # fmt: skip
        _send(chunks, total, shift, factor, rejects, topic, metrics_port, json, spread=spread)


def _send_omop(folder: Path | None, source: str | None, topic: str, json: bool) -> None:
    from tidewatch.cli.signal_sources import send_omop

    if folder is None or not source:
        raise typer.BadParameter("omop needs the folder of its tables and --source")
    send_omop(folder, source, topic, json)


def _mapping(columns: Pairs, constants: Pairs, melts: Pairs, time_format: str, zone: str) -> ColumnMap:
    from producers.mapping import ColumnMap
    from producers.times import TimeForm

    named, fixed = _pairs(columns, "--map FIELD=COLUMN"), _pairs(constants, "--const FIELD=VALUE")
    melted = [_melt(column, what) for column, what in _pairs(melts, "--melt COLUMN=QUANTITY:UNIT").items()]
    needed = ("sensor_id", "time") if melted else ("sensor_id", "quantity", "unit", "value", "time")
    own = {name: name for name in needed if name not in named and name not in fixed}
    return ColumnMap(own | named, fixed, melted, TimeForm(time_format, zone))


def _pairs(texts: Pairs, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"{text!r} is not of the form {form}")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice in {form}")
        found[name] = value
    return found


def _melt(column: str, what: str) -> Melt:
    from producers.mapping import Melt

    quantity, colon, unit = what.partition(":")
    if not (quantity and colon and unit):
        raise typer.BadParameter(f"'{column}={what}' is not of the form COLUMN=QUANTITY:UNIT")
    return Melt(column, quantity, unit)


def _weather_plan(rejects: Rejects, speed: float | None, shifted: bool) -> Plan:
    from producers.weather import weather_readings

    readings = weather_readings(rejects)
    span = int(readings.times[0]), int(readings.times[-1])
    return [readings], len(readings.events), _shift(span, speed) if shifted else 0


def _file_plan(
    path: Path,
    mapping: ColumnMap,
    rejects: Rejects,
    speed: float | None,
    *,
    delimiter: str,
    sort: bool,
    shifted: bool,
) -> Plan:
    from producers.replay import file_readings, time_span
    from producers.sources import check_file

    check_file(path)
    shift = _shift(time_span(path, mapping, delimiter=delimiter), speed) if shifted else 0
    return file_readings(path, mapping, rejects, delimiter=delimiter, ordered=sort), None, shift


def _shift(span: tuple[int, int], speed: float | None) -> int:
    from producers.pacing import shift_to

    return shift_to(int(time.time() * 1000), *span, speed)


def _send(
    chunks: Iterable[Readings],
    total: int | None,
    shift: int,
    speed: float | None,
    rejects: Rejects,
    topic: str,
    metrics_port: int | None,
    json: bool,
    *,
    spread: bool,
) -> None:
    from producers.pacing import Pacer
    from producers.replay import ReplayReport
    from producers.replay import replay as play

    report, started, interrupted = ReplayReport(rejects=rejects), time.monotonic(), False
    with (
        sending.connected(topic, spread=spread) as producer,
        sending.measured("replay", producer, metrics_port, rejects),
        sending.progress("Replaying", total) as sent,
    ):
        pacer = Pacer(speed, time.monotonic, producer.poll)
        try:
            play(chunks, producer.send, pacer, report, shift=shift, on_sent=sent)
        except KeyboardInterrupt:
            interrupted = True
        delivered = producer.flush().delivered
    facts = _facts(topic, report, delivered, time.monotonic() - started)
    sending.summarise(facts | {"interrupted": interrupted}, _lines(facts, rejects), json)
    if interrupted:
        raise typer.Exit(sending.EXIT_INTERRUPTED)
    if rejects.total > rejects.missing:
        raise typer.Exit(sending.EXIT_REJECTED)


def _facts(topic: str, report: ReplayReport, delivered: int, seconds: float) -> dict[str, object]:
    rejects = report.rejects
    return {
        "topic": topic,
        "accepted": report.events,
        "delivered": delivered,
        "first_time": report.first_time,
        "last_time": report.last_time,
        "seconds": round(seconds, 3),
        "rejected": {str(reason): count for reason, count in sorted(rejects.counts.items())},
        "examples": {str(reason): text for reason, text in sorted(rejects.examples.items())},
    }


def _lines(facts: dict[str, object], rejects: Rejects) -> list[str]:
    lines = [f"{facts['delivered']} readings delivered to {facts['topic']} in {facts['seconds']} s"]
    if rejects.total:
        lines.append(f"{rejects.total} rows or values were not sent:")
        lines += [
            f"  {reason}: {count}, such as {rejects.examples[reason]!r}"
            for reason, count in rejects.counts.most_common()
        ]
    return lines
