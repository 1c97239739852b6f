"""``tidewatch signals``: the pairs of drug and event that stand out, as they change, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidewatch.cli.shared import Json, JsonLines, connection, console, explained, fail, say, stop_event

if TYPE_CHECKING:
    from confluent_kafka import Message

    from schemas.safety import SignalChange
    from sinks.signals import Keyed, SignalFilter

group = typer.Typer(no_args_is_help=True, help="Rank, follow and explain signals of medicines.")

REPORTS, STATES, CHANGES = "pharma.report.received.v1", "pharma.signal.state.v1", "pharma.signal.raised.v1"

Drug = Annotated[str, typer.Option("--drug", help="Only these drugs; * and ? stand for anything.")]
Event = Annotated[str, typer.Option("--event", help="Only these events; * and ? stand for anything.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Only what meets this preset.")]
PipelineName = Annotated[str, typer.Option("--pipeline", help="Only this pipeline.")]
Serious = Annotated[bool, typer.Option("--serious", help="Only pairs with serious reports.")]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="signals")


@group.command()
def top(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many to show.")] = 20,
    drug: Drug = "*",
    event: Event = "*",
    preset: Preset = None,
    pipeline: PipelineName = "*",
    serious: Serious = False,
    topic: Annotated[str, typer.Option(help="Topic of states.")] = STATES,
    json: Json = False,
) -> None:
    """Show the pairs with the strongest evidence, and what it is made of.

    Example: tidewatch signals top --preset ema-2016 --drug 'clop*'
    """
    import msgspec

    from sinks.signals import Evidence, SignalFilter, latest_states, ranked

    wanted = SignalFilter(drug, event, pipeline, preset, serious)
    states = latest_states(_records(topic)).values()
    shown = ranked(state for state in states if state.presets and wanted.takes(state))[:count]
    if json:
        rows = [{"state": state, "evidence": Evidence.of(state)} for state in shown]
        sys.stdout.write(msgspec.json.encode({"signals": rows}).decode() + "\n")
        return
    from rich.table import Table

    table = Table(
        "drug", "event", "n", "expected", "IC025", "ROR025", "EB05", "presets", "evidence", "of which"
    )
    for state in shown:
        evidence = Evidence.of(state)
        parts = (
            f"disproportionality {evidence.disproportionality:.1f}, presets {evidence.presets:.1f}, "
            f"reports {evidence.reports:.1f}, serious {evidence.seriousness:.1f}"
        )
        table.add_row(
            state.drug, state.event, str(state.n), f"{state.expected:.2f}", _number(state.ic025),
            _number(state.ror025), _number(state.eb05), ", ".join(state.presets), f"{evidence.total:.1f}", parts,
        )  # fmt: skip
    console().print(table)


@group.command()
def follow(
    drug: Drug = "*",
    event: Event = "*",
    preset: Preset = None,
    pipeline: PipelineName = "*",
    serious: Serious = False,
    start: Annotated[str, typer.Option("--from", help="earliest or latest.")] = "latest",
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    fhir: Annotated[bool, typer.Option("--fhir", help="Print each as a FHIR DetectedIssue.")] = False,
    topic: Annotated[str, typer.Option(help="Topic of signals.")] = CHANGES,
    json: JsonLines = False,
) -> None:
    """Show signals as they open, strengthen, weaken and close, until Ctrl-C.

    Reads committed records only and keeps no position, so any number of people can follow.
    """
    from itertools import islice

    import msgspec
    import orjson

    from sinks.reader import follow as follow_topics
    from sinks.signals import SignalFilter, detected_issue

    wanted, stopping = SignalFilter(drug, event, pipeline, preset, serious), stop_event()
    with explained():
        batches = follow_topics(connection(), [topic], start, stopping)
        next(batches)
        say(f"following {topic}; Ctrl-C ends")
        for change in islice(_changes(batches, wanted), limit):
            if fhir:
                line = orjson.dumps(detected_issue(change)).decode()
            elif json:
                line = msgspec.json.encode(change).decode()
            else:
                state = change.state
                line = (
                    f"{_day(change.time)}  {change.step:<12} {change.preset:<11} {state.drug} / {state.event}  "
                    f"n={state.n} expected={state.expected:.2f} IC025={_number(state.ic025)}"
                )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


@group.command()
def explain(
    drug: Annotated[str, typer.Argument(help="The drug, as reports name it.")],
    event: Annotated[str, typer.Argument(help="The event, as reports name it.")],
    pipeline: PipelineName = "*",
    states: Annotated[str, typer.Option(help="Topic of states.")] = STATES,
    topic: Annotated[str, typer.Option(help="Topic of signals.")] = CHANGES,
    json: Json = False,
) -> None:
    """Tell all about one pair: its table, its measures, the presets with their thresholds, and its history."""
    import msgspec

    from sinks.signals import Evidence, SignalFilter, latest_states
    from sinks.signals import changes as read_changes

    wanted = SignalFilter(drug, event, pipeline)
    found = [state for state in latest_states(_records(states)).values() if wanted.takes(state)]
    if not found:
        fail(f"no state of {drug} and {event}", "Look at what there is with `tidewatch signals top`.")
    steps = [
        change for change in read_changes(value for _, value in _records(topic)) if wanted.takes(change.state)
    ]
    if json:
        facts = {"states": found, "evidence": [Evidence.of(state) for state in found], "history": steps}
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        return
    for state in found:
        _explain(state, [step for step in steps if step.pipeline == state.pipeline])


@group.command()
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
    from tidewatch.cli.shared import print_json

    columns = ReportColumns(report, drug, event)
    try:
        rows = report_rows(file, columns)
        reports = safety_reports(rows, columns, source=source, population=population)
        with explained(), sending.progress("Sending reports", rows[report].nunique()) as sent:
            counts = load(connection(), topic, encoded(reports, sent))
    except (SourceError, UndeliveredError) as error:
        fail(error)
    if json:
        print_json({"topic": topic, "delivered": counts.delivered})
    else:
        say(f"{counts.delivered} reports delivered to {topic}")


@group.command()
def fhir(
    files: Annotated[
        list[Path], typer.Argument(help="FHIR R4 JSON files, or NDJSON with one resource a line.")
    ],
    source: Annotated[str, typer.Option(help="The hospital they come from; part of every pseudonym.")],
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = "hospital.fhir.resource.v1",
    json: Json = False,
) -> None:
    """Send FHIR resources by pseudonym: names, addresses and notes stay here.

    The key of the pseudonyms is taken from TIDEWATCH_PSEUDONYM_KEY and goes nowhere.
    """
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.pseudonyms import Pseudonyms, pseudonymised
    from tidewatch.cli.shared import print_json

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
    if json:
        print_json({"topic": topic, "delivered": counts.delivered})
    else:
        say(f"{counts.delivered} resources delivered to {topic}")


@group.command()
def e2b(
    files: Annotated[list[Path], typer.Argument(help="ICH E2B(R3) XML messages.")],
    source: Annotated[str, typer.Option(help="Where they come from.")],
    population: Annotated[str, typer.Option(help="Population they are counted in.")] = "all",
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = REPORTS,
    json: Json = False,
) -> None:
    """Send the cases of E2B(R3) messages as safety reports, by pseudonym where TIDEWATCH_PSEUDONYM_KEY is set."""
    import os

    import msgspec

    from producers.e2b import reports_of
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.pseudonyms import KEY_VARIABLE, Pseudonyms
    from tidewatch.cli.shared import print_json

    try:
        pseudonyms = Pseudonyms.from_environment() if os.environ.get(KEY_VARIABLE) else None
        reports = [r for file in files for r in reports_of(file.read_bytes(), source, population, pseudonyms)]
        with explained():
            records = [(report.population.encode(), msgspec.json.encode(report)) for report in reports]
            counts = load(connection(), topic, records)
    except (ProducerError, OSError) as error:
        fail(error)
    if json:
        print_json({"topic": topic, "delivered": counts.delivered})
    else:
        say(f"{counts.delivered} reports delivered to {topic}")


@group.command()
def omop(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of OMOP CDM 5.4 tables: person, drug_exposure, condition_occurrence."),
    ],
    source: Annotated[str, typer.Option(help="The database they come from; part of every pseudonym.")],
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = "hospital.fhir.resource.v1",
    json: Json = False,
) -> None:
    """Send an OMOP database's persons, drug exposures and conditions by pseudonym, in order of their dates.

    The key of the pseudonyms is taken from TIDEWATCH_PSEUDONYM_KEY and goes nowhere.
    """
    from producers.errors import ProducerError
    from producers.loader import load
    from producers.omop import omop_records
    from producers.pseudonyms import Pseudonyms
    from tidewatch.cli.shared import print_json

    try:
        records = omop_records(folder, source, Pseudonyms.from_environment())
        with explained():
            counts = load(connection(), topic, records)
    except ProducerError as error:
        fail(error)
    if json:
        print_json({"topic": topic, "delivered": counts.delivered})
    else:
        say(f"{counts.delivered} resources delivered to {topic}")


def _documents(file: Path) -> list[bytes]:
    content = file.read_bytes()
    return content.splitlines() if file.suffix == ".ndjson" else [content]


def _records(topic: str) -> Iterator[Keyed]:
    from sinks.errors import TopicError
    from sinks.reader import read_to_end

    try:
        with explained():
            for batch in read_to_end(connection(), [topic]):
                for message in batch:
                    yield message.key(), message.value()
    except TopicError as error:
        fail(error, "Make it with `tidewatch topics create`.")


def _changes(batches: Iterable[list[Message]], wanted: SignalFilter) -> Iterator[SignalChange]:
    from sinks.signals import changes as read_changes

    for batch in batches:
        for change in read_changes(message.value() for message in batch):
            if wanted.takes(change.state, change.preset):
                yield change


def _explain(state: Any, steps: list[SignalChange]) -> None:
    from rich.table import Table

    from streams.signals.presets import PRESETS

    shown = console()
    b, c = state.drug_total - state.n, state.event_total - state.n
    shown.print(
        f"{state.drug} and {state.event} in {state.pipeline}, as of {_day(state.time)}, by {state.unit}"
    )
    cells = Table("", "event", "no event", "all")
    cells.add_row("drug", str(state.n), str(b), str(state.drug_total))
    rest = state.total - state.n - b - c
    cells.add_row("no drug", str(c), str(rest), str(state.total - state.drug_total))
    shown.print(cells)
    measures = Table("measure", "value", "lower limit")
    for name, value, lower in (
        ("PRR", state.prr, state.prr025),
        ("ROR", state.ror, state.ror025),
        ("IC", state.ic, state.ic025),
        ("EBGM", state.ebgm, state.eb05),
        ("chi-square (Yates)", state.chi2_yates, None),
    ):
        measures.add_row(name, _number(value), _number(lower))
    shown.print(measures)
    presets = Table("preset", "met", "needs", "source")
    for preset in PRESETS.values():
        needs = ", ".join(f"{c.statistic} {'>' if c.strictly else '>='} {c.value:g}" for c in preset.criteria)
        presets.add_row(preset.name, "yes" if preset.name in state.presets else "no", needs, preset.source)
    shown.print(presets)
    for step in steps:
        shown.print(
            f"{_day(step.time)}  {step.preset:<11} {step.step:<12} n={step.state.n} IC025={_number(step.state.ic025)}"
        )
    if len(steps) > 1:
        shown.print(_sparkline([step.state.ic025 or 0.0 for step in steps]))


def _sparkline(values: list[float]) -> str:
    """Return IC025 over the steps as bars, with its range and the boundary at 0."""
    bars = "▁▂▃▄▅▆▇█"
    low, high = min(*values, 0.0), max(*values, 0.0)
    width = (high - low) or 1.0
    drawn = "".join(bars[min(int((value - low) / width * len(bars)), len(bars) - 1)] for value in values)
    return f"IC025 over these steps: {drawn}  from {values[0]:.2f} to {values[-1]:.2f}; it signals above 0"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
