"""The verbs of ``tidewatch signals`` by which analysts say what they make of a pair."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.safety import DISPOSITIONS
from tidewatch.cli.shared import Json, connection, console, explained, fail, print_json, say
from tidewatch.cli.signal_records import STATES, day, records_of

if TYPE_CHECKING:
    from schemas.safety import Disposition

MOST_WORDS = 500

Topic = Annotated[str, typer.Option("--dispositions", help="Topic of dispositions.")]


class Judgement(StrEnum):
    """What an analyst can say of a pair."""

    REVIEWED = "reviewed"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"


def register(group: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (dispose, dispositions):
        group.command()(verb)


def dispose(
    drug: Annotated[str, typer.Argument(help="The drug, exactly as signals name it.")],
    event: Annotated[str, typer.Argument(help="The event, exactly as signals name it.")],
    judgement: Annotated[Judgement, typer.Argument(help="reviewed, confirmed or refuted.")],
    reason: Annotated[
        str, typer.Option(help="Why; everyone who reads signals sees it, so say nothing of a patient.")
    ],
    analyst: Annotated[str, typer.Option("--by", help="Who says so.", show_default="your login")] = "",
    pipeline: Annotated[str, typer.Option(help="The pipeline whose pair it is.")] = "pharma",
    states: Annotated[str, typer.Option(help="Topic of states.")] = STATES,
    topic: Topic = DISPOSITIONS,
    json: Json = False,
) -> None:
    """Say what you make of a pair: reviewed, confirmed or refuted, and why. A later word replaces an earlier one.

    Written idempotently and acknowledged by all in-sync replicas before this returns.

    Example: tidewatch signals dispose warfarin haemorrhage confirmed --reason 'labelled'
    """
    import msgspec

    from producers.errors import UndeliveredError
    from producers.loader import load
    from schemas.safety import Disposition
    from sinks.signals import latest_states

    if not reason.strip() or len(reason) > MOST_WORDS:
        raise typer.BadParameter(f"a reason has between 1 and {MOST_WORDS} characters", param_hint="--reason")
    state = latest_states(records_of(states)).get(f"{pipeline}|{drug}|{event}")
    if state is None:
        fail(
            f"{pipeline} has no pair of {drug} and {event}",
            "Look at what there is with `tidewatch signals top`.",
        )
    said = Disposition(
        id=state.id, pipeline=pipeline, drug=drug, event=event, judgement=judgement.value, reason=reason.strip(),
        analyst=analyst or getpass.getuser(), time=int(time.time() * 1000), n=state.n,
    )  # fmt: skip
    try:
        with explained():
            load(connection(), topic, [(said.id.encode(), msgspec.json.encode(said))])
    except UndeliveredError as error:
        fail(error, "Make the topic with `tidewatch topics create`.")
    if json:
        print_json(msgspec.to_builtins(said))
    else:
        say(f"{drug} and {event}: {judgement.value} by {said.analyst}")


def dispositions(
    judgement: Annotated[Judgement | None, typer.Option(help="Only these.")] = None,
    pipeline: Annotated[str, typer.Option(help="Only this pipeline.")] = "*",
    topic: Topic = DISPOSITIONS,
    json: Json = False,
) -> None:
    """List what analysts made of pairs, the newest first.

    Example: tidewatch signals dispositions
    """
    import msgspec

    found = [
        each
        for each in read_dispositions(topic, required=True).values()
        if pipeline in {"*", each.pipeline} and (judgement is None or each.judgement == judgement.value)
    ]
    found.sort(key=lambda each: (-each.time, each.id))
    if json:
        sys.stdout.write(msgspec.json.encode({"dispositions": found}).decode() + "\n")
        return
    from rich.table import Table

    table = Table("when", "drug", "event", "judgement", "n then", "by", "reason")
    for each in found:
        table.add_row(
            day(each.time), each.drug, each.event, each.judgement, str(each.n), each.analyst, each.reason
        )  # fmt: skip
    console().print(table)


def read_dispositions(topic: str, *, required: bool = False) -> Mapping[str, Disposition]:
    """Return the latest judgement of each pair by its id; none where the topic is not there, unless ``required``."""
    from sinks.dispositions import latest_dispositions

    return latest_dispositions(records_of(topic, required=required))
