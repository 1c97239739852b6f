"""``tidewatch simulate``: send a simulated city's readings, and write down what is wrong with them."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli import sending
from tidewatch.cli.shared import fail

if TYPE_CHECKING:
    from producers.incidents import Incident
    from producers.simulator import CitySpec, Sent


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(simulate)


def simulate(
    sensors: Annotated[
        int, typer.Option(min=1, help="Sensors, each of which measures four quantities.")
    ] = 40,
    rate: Annotated[
        float | None,
        typer.Option(help="Events per second of event time; one a second and series if not given."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Event time to simulate.")] = 3600.0,
    sites: Annotated[int, typer.Option(min=1, help="Sites that the sensors are spread over.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same city.")] = 1,
    start: Annotated[
        int | None,
        typer.Option(
            help="First event time, ms since the epoch; if not given, the last event is sent in time."
        ),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="File to write the injected incidents to, one JSON object a line.")
    ] = None,
    speed: sending.Speed = "real",
    topic: sending.Topic = sending.DEFAULT_TOPIC,
    metrics_port: sending.MetricsPort = None,
    json: sending.Json = False,
) -> None:
    """Send a simulated city's air readings, with drift, faults and incidents whose truth is known.

    Example: tidewatch simulate --sensors 100 --seconds 600 --speed 10 --truth incidents.ndjson

    Exit code 0: all delivered; 1: failed, with the reason; 130: interrupted, what was sent is delivered.
    """
    factor = sending.speed_of(speed)
    spec = _spec(sensors, rate, seconds, sites, _start(start, seconds, factor))
    with sending.explained():
        _run(spec, seed, truth, factor, topic, metrics_port, json)


def _spec(sensors: int, rate: float | None, seconds: float, sites: int, start: int) -> CitySpec:
    from producers.simulator import CitySpec

    try:
        spec = CitySpec(start=start, seconds=seconds, sensors=sensors, sites=min(sites, sensors))
        if rate is None:
            return spec
        if rate <= 0:
            raise ValueError("the rate must be positive")
        return CitySpec(
            start=start, seconds=seconds, sensors=sensors, sites=spec.sites, interval=spec.series / rate
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _start(start: int | None, seconds: float, speed: float | None) -> int:
    from producers.pacing import shift_to

    span = round(seconds * 1000)
    return shift_to(int(time.time() * 1000), 0, span, speed) if start is None else start


def _run(
    spec: CitySpec,
    seed: int,
    truth: Path | None,
    speed: float | None,
    topic: str,
    metrics_port: int | None,
    json: bool,
) -> None:
    from producers.incidents import draw_incidents, shortest_seconds
    from producers.pacing import Pacer
    from producers.simulator import Sent, send_arrivals
    from producers.simulator import simulate as generate

    incidents = draw_incidents(spec, seed)
    if not incidents and truth is not None:
        typer.echo(f"no incident fits: simulate {shortest_seconds():g} s or more, or more sensors", err=True)
    sent, started, interrupted = Sent(), time.monotonic(), False
    with sending.connected(topic) as producer, sending.measured("simulate", producer, metrics_port):
        if truth is not None:
            _written(truth, incidents)
        with sending.progress("Simulating", spec.readings) as on_sent:
            pacer = Pacer(speed, time.monotonic, producer.poll)
            try:
                send_arrivals(generate(spec, seed), producer.send_bytes, pacer, sent, on_sent)
            except KeyboardInterrupt:
                interrupted = True
            delivered = producer.flush().delivered
    facts = _facts(spec, seed, sent, len(incidents), delivered, time.monotonic() - started)
    sending.summarise(facts | {"topic": topic, "interrupted": interrupted}, _lines(facts, topic), json)
    if interrupted:
        raise typer.Exit(sending.EXIT_INTERRUPTED)


def _written(path: Path, incidents: list[Incident]) -> None:
    from producers.incidents import write_truth

    try:
        write_truth(path, incidents)
    except OSError as error:
        fail(f"the truth cannot be written: {error}", "Give --truth another file.")


def _facts(
    spec: CitySpec, seed: int, sent: Sent, incidents: int, delivered: int, seconds: float
) -> dict[str, object]:
    return {
        "seed": seed,
        "delivered": delivered,
        "seconds": round(seconds, 3),
        "first_time": spec.start,
        "end_time": spec.end,
        "series": spec.series,
        "incidents": incidents,
        **asdict(sent),
    }


def _lines(facts: dict[str, object], topic: str) -> list[str]:
    return [
        f"{facts['delivered']} events of {facts['series']} series delivered to {topic} in {facts['seconds']} s",
        f"{facts['late']} late, {facts['duplicates']} duplicates, {facts['malformed']} malformed; "
        f"{facts['incidents']} incidents",
    ]
