"""``tidewatch signals simulate``: a network of hospitals with one hidden side effect, sent as they would send."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import Json, connection, explained, fail, print_json, say
from tidewatch.cli.signal_sources import RESOURCES

if TYPE_CHECKING:
    from producers.hospitals import Sent

_DAY_MS = 86_400_000


def register(group: typer.Typer) -> None:
    """Add the verb to the group."""
    group.command()(simulate)


def simulate(
    courses: Annotated[int, typer.Option(min=100, help="Courses of medicine given over a year.")] = 20_000,
    relative_risk: Annotated[
        float, typer.Option(min=0, help="How much the hidden drug raises its event.")
    ] = 4.0,
    begins: Annotated[int, typer.Option(min=0, max=359, help="Day on which that begins.")] = 90,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same resources.")] = 1,
    seconds: Annotated[
        float, typer.Option(min=0, max=604_800, help="How long the year is played; 0: as fast as possible.")
    ] = 0.0,
    topic: Annotated[str, typer.Option(help="Topic to send to.")] = RESOURCES,
    json: Json = False,
) -> None:
    """Send a simulated network of hospitals: a year of FHIR resources, with delays, duplicates and corrections.

    The patients are made up, and so is the key of their pseudonyms: it follows from the seed, so that sending again changes
    no count.

    Example: tidewatch signals simulate --seconds 600
    """
    from producers.errors import UndeliveredError
    from producers.hospitals import Network, records
    from producers.loader import load
    from producers.pseudonyms import Pseudonyms
    from tidewatch.cli import sending

    network = Network(courses=courses, relative_risk=relative_risk, begins=begins, seed=seed)
    sent = records(network, Pseudonyms(hashlib.sha256(f"simulated network {seed}".encode()).digest()))
    try:
        with explained(), sending.progress("Sending resources", len(sent)) as on_sent:
            counts = load(connection(), topic, _paced(sent, seconds, on_sent))
    except UndeliveredError as error:
        fail(error)
    drug, event = network.hidden
    if json:
        print_json(
            {"topic": topic, "delivered": counts.delivered, "drug": drug, "event": event, "relative_risk": relative_risk,
             "began_on_day": begins}
        )  # fmt: skip
    else:
        say(
            f"{counts.delivered} resources delivered to {topic}; {drug} raises {event} {relative_risk:g}-fold from day {begins} on"
        )


def _paced(sent: list[Sent], seconds: float, on_sent: Callable[[int], None]) -> Iterator[tuple[bytes, bytes]]:
    """Give records when their day has come."""
    from producers.pacing import Pacer

    days = max(sent[-1].day, 1.0)
    pacer = Pacer(days * 86_400 / seconds if seconds else None, time.monotonic, time.sleep)
    for record in sent:
        pacer.wait_for(int(record.day * _DAY_MS))
        yield record.key, record.value
        on_sent(1)
