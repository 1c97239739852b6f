"""``tidewatch signals``: the pairs of drug and event that stand out, as they change, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.safety import DISPOSITIONS
from tidewatch.cli import dispositions, signal_explain, signal_simulate, signal_sources
from tidewatch.cli.dispositions import read_dispositions
from tidewatch.cli.shared import Json, JsonLines, connection, console, explained, say, stop_event
from tidewatch.cli.signal_records import CHANGES, STATES, day, number, records_of

if TYPE_CHECKING:
    from confluent_kafka import Message

    from schemas.safety import Disposition, SignalChange
    from sinks.signals import SignalFilter

group = typer.Typer(no_args_is_help=True, help="Rank, follow and explain signals of medicines.")

Drug = Annotated[str, typer.Option("--drug", help="Only these drugs; * and ? stand for anything.")]
Event = Annotated[str, typer.Option("--event", help="Only these events; * and ? stand for anything.")]
Preset = Annotated[str | None, typer.Option("--preset", help="Only what meets this preset.")]
PipelineName = Annotated[str, typer.Option("--pipeline", help="Only this pipeline.")]
Serious = Annotated[bool, typer.Option("--serious", help="Only pairs with serious reports.")]


class Shown(StrEnum):
    """Which pairs to show by what analysts said of them."""

    NONE = "none"
    REVIEWED = "reviewed"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"


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
    disposition: Annotated[
        Shown | None,
        typer.Option(help="Only pairs that analysts judged so; none: that nobody has judged yet."),
    ] = None,
    topic: Annotated[str, typer.Option(help="Topic of states.")] = STATES,
    judged: Annotated[str, typer.Option("--dispositions", help="Topic of dispositions.")] = DISPOSITIONS,
    json: Json = False,
) -> None:
    """Show the pairs with the strongest evidence, what it is made of, and what analysts make of them.

    Example: tidewatch signals top --preset ema-2016 --drug 'clop*' --disposition none
    """
    import msgspec

    from sinks.dispositions import told
    from sinks.signals import Evidence, SignalFilter, latest_states, ranked

    wanted = SignalFilter(drug, event, pipeline, preset, serious)
    states = latest_states(records_of(topic)).values()
    said = read_dispositions(judged)
    shown = ranked(
        state
        for state in states
        if state.presets and wanted.takes(state) and _as_wanted(said.get(state.id), disposition)
    )[:count]
    if json:
        rows = [
            {"state": state, "evidence": Evidence.of(state), "disposition": said.get(state.id)}
            for state in shown
        ]
        sys.stdout.write(msgspec.json.encode({"signals": rows}).decode() + "\n")
        return
    from rich.table import Table

    table = Table(
        "drug",
        "event",
        "n",
        "expected",
        "IC025",
        "ROR025",
        "EB05",
        "presets",
        "evidence",
        "of which",
        "disposition",
    )
    for state in shown:
        evidence = Evidence.of(state)
        parts = (
            f"disproportionality {evidence.disproportionality:.1f}, presets {evidence.presets:.1f}, "
            f"reports {evidence.reports:.1f}, serious {evidence.seriousness:.1f}"
        )
        table.add_row(
            state.drug, state.event, str(state.n), f"{state.expected:.2f}", number(state.ic025),
            number(state.ror025), number(state.eb05), ", ".join(state.presets), f"{evidence.total:.1f}", parts,
            told(said.get(state.id), state.n),
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

    Example: tidewatch signals follow
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
                    f"{day(change.time)}  {change.step:<12} {change.preset:<11} {state.drug} / {state.event}  "
                    f"n={state.n} expected={state.expected:.2f} IC025={number(state.ic025)}"
                )
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _as_wanted(said: Disposition | None, wanted: Shown | None) -> bool:
    return wanted is None or wanted.value == ("none" if said is None else said.judgement)


def _changes(batches: Iterable[list[Message]], wanted: SignalFilter) -> Iterator[SignalChange]:
    from sinks.signals import changes as read_changes

    for batch in batches:
        for change in read_changes(message.value() for message in batch):
            if wanted.takes(change.state, change.preset):
                yield change


for verbs in (signal_explain, dispositions, signal_sources, signal_simulate):
    verbs.register(group)
