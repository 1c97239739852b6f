"""``tidewatch alerts``: follow alerts as they come, or list those that are open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tidewatch.cli.shared import Json, JsonLines, connection, console, explained, fail, say, stop_event

if TYPE_CHECKING:
    from confluent_kafka import Message
    from rich.text import Text

    from schemas.results import Alert
    from sinks.alert_filter import AlertFilter
    from sinks.decoding import Decoder

group = typer.Typer(no_args_is_help=True, help="Follow and list alerts.")

Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="Topic of alerts; all of the catalogue's if not given.")
]
AtLeast = Annotated[
    Literal["info", "warning", "critical"], typer.Option("--severity", help="Only this severity and graver.")
]
Rules = Annotated[
    list[str] | None, typer.Option("--rule", help="Only these rules; * and ? stand for anything.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Only these groups; * and ? stand for anything.")
]

Muted = Annotated[
    bool, typer.Option("--muted", help="Also those that a silence or maintenance window covers.")
]

_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="alerts")


@group.command()
def follow(
    start: Annotated[
        Literal["earliest", "latest"], typer.Option("--from", help="Begin with the oldest, or with new ones.")
    ] = "latest",
    severity: AtLeast = "info",
    rule: Rules = None,
    group: Groups = None,
    muted: Muted = False,
    topic: Topics = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    json: JsonLines = False,
) -> None:
    """Show alerts as they open, change and close, until Ctrl-C.

    Reads committed records only and keeps no position, so any number of people can follow.

    Example: tidewatch alerts follow --severity warning --group 'north*'
    """
    from itertools import islice

    from sinks.reader import follow as follow_topics

    stopping = stop_event()
    topics, decoders = _sources(topic)
    wanted = _filter(severity, rule, group, muted=muted)
    with explained(), _readable():
        batches = follow_topics(connection(), topics, start, stopping)
        next(batches)
        say(f"following {', '.join(topics)}; Ctrl-C ends")
        _show(islice(_alerts(batches, decoders, wanted), limit), json)


@group.command("list")
def list_(
    closed: Annotated[bool, typer.Option("--all", help="Also those that have closed.")] = False,
    severity: AtLeast = "info",
    rule: Rules = None,
    group: Groups = None,
    muted: Muted = False,
    topic: Topics = None,
    json: Json = False,
) -> None:
    """List alerts that are open now, the gravest first.

    Example: tidewatch alerts list --severity critical --json
    """
    from sinks.alert_filter import SEVERITIES, latest
    from sinks.reader import read_to_end

    topics, decoders = _sources(topic)
    with explained(), _readable():
        found = latest(
            _alerts(read_to_end(connection(), topics), decoders, _filter("info", rule, group, muted=True))
        )
    wanted = _filter(severity, None, None, muted=muted)
    shown = [alert for alert in found if (closed or alert.state != "close") and wanted.takes(alert)]
    shown.sort(key=lambda alert: (-SEVERITIES.index(alert.severity), alert.opened_at, alert.alert_id))
    if json:
        import msgspec

        sys.stdout.write(msgspec.json.encode({"alerts": shown}).decode() + "\n")
        return
    _table(shown)


@group.command()
def notify(
    url: Annotated[str, typer.Option("--alertmanager", help="Base address, such as http://localhost:9093.")],
    severity: AtLeast = "warning",
    rule: Rules = None,
    group: Groups = None,
    muted: Muted = False,
    topic: Topics = None,
) -> None:
    """Keep an Alertmanager informed of the alerts that are open, until stopped.

    Reads all alerts from the beginning, tells of those that are open, and of every change at once; an Alertmanager that is away is
    told when it is back.

    Example: tidewatch alerts notify --alertmanager http://localhost:9093
    """
    import time

    from sinks.alertmanager import AlertmanagerFeed, http_post
    from sinks.reader import follow as follow_topics

    stopping = stop_event()
    topics, decoders = _sources(topic)
    wanted = _filter("info", rule, group, muted=True)
    feed = AlertmanagerFeed(
        http_post(url), time.time, time.monotonic, _filter(severity, None, None, muted=muted).takes
    )
    with explained(), _readable():
        began, caught_up = time.time() * 1000, False
        batches = follow_topics(connection(), topics, "earliest", stopping)
        next(batches)
        for batch in batches:
            feed.take(_alerts([batch], decoders, wanted))
            # Nobody is called for what opened and closed long ago.
            caught_up = caught_up or not batch or batch[-1].timestamp()[1] >= began
            if caught_up:
                feed.send()


def _sources(topics: list[str] | None) -> tuple[tuple[str, ...], dict[str, Decoder]]:
    from schemas.results import Alert
    from schemas.safety import SignalChange
    from sinks.decoding import decoders, topics_of

    alerts, signals = topics_of(Alert), topics_of(SignalChange)
    names = tuple(topics or (*alerts, *signals))
    # Topics of one's own hold alerts.
    return names, {
        topic: decoders([topic], SignalChange if topic in signals else Alert)[topic] for topic in names
    }


def _filter(severity: str, rules: list[str] | None, groups: list[str] | None, *, muted: bool) -> AlertFilter:
    from sinks.alert_filter import AlertFilter

    return AlertFilter(severity, tuple(rules or ()), tuple(groups or ()), muted)


@contextmanager
def _readable() -> Iterator[None]:
    """Turn a missing topic into words, and a reader that went away (``| head``) into a quiet end."""
    from sinks.errors import TopicError

    try:
        yield
    except TopicError as error:
        fail(error)
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _alerts(
    batches: Iterable[list[Message]], decoders: dict[str, Decoder], wanted: AlertFilter
) -> Iterator[Alert]:
    from schemas.errors import ErrorCode
    from schemas.results import Alert
    from schemas.safety import SignalChange
    from sinks.decoding import decode
    from sinks.signals import alert_of

    for batch in batches:
        for message in batch:
            alert = decode(decoders[str(message.topic())], message.value())
            if isinstance(alert, SignalChange):
                alert = alert_of(alert, message.partition() or 0, message.offset() or 0)
            if isinstance(alert, Alert):
                if wanted.takes(alert):
                    yield alert
            elif isinstance(alert, ErrorCode):
                where = f"{message.topic()}[{message.partition()}] at {message.offset()}"
                say(f"left out: {where} is no alert ({alert})")


def _show(alerts: Iterable[Alert], json: bool) -> None:
    import msgspec

    out = console()
    for alert in alerts:
        if json:
            sys.stdout.write(msgspec.json.encode(alert).decode() + "\n")
        else:
            out.print(line_of(alert), soft_wrap=True)
        sys.stdout.flush()


def line_of(alert: Alert) -> Text:
    """Return one transition as a line for people: event time, state, severity, rule, group, message."""
    from rich.text import Text

    colour = _COLOURS[alert.severity]
    return Text.assemble(
        (utc(alert.time), "dim"),
        " ",
        (f"{alert.state.upper():6}", "green" if alert.state == "close" else colour),
        " ",
        (f"{alert.severity:8}", colour),
        f" {alert.rule}  {alert.group}  {alert.message}",
    )


def utc(milliseconds: int) -> str:
    """Return a time as RFC 3339 text to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(alerts: list[Alert]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("severity", "state", "since", "rule", "group", "value", "message", box=None, pad_edge=False)
    for alert in alerts:
        value = "" if alert.value is None else f"{alert.value:.6g}"
        cells = (alert.state, utc(alert.opened_at), alert.rule, alert.group, value, alert.message)
        table.add_row(f"[{_COLOURS[alert.severity]}]{alert.severity}[/]", *map(escape, cells))
    console().print(table)
    say(f"{len(alerts)} alerts")
