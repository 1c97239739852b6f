"""``tidewatch topics balance`` and ``recut``: how evenly keys load partitions, and a topic that shares them better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tidewatch.cli.shared import Json, admin_client, connection, explained, fail, print_json, stop_event
from tidewatch.cli.topics import group
from tidewatch.exits import Exit

if TYPE_CHECKING:
    from schemas.topics import TopicSpec
    from tidewatch.recut import Balance

T = TypeVar("T")
Since = Annotated[
    datetime | None,
    typer.Option(
        help="Look at what was appended from then on (UTC where it has no zone); else at everything."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the group of topics."""
    del app
    group.command()(balance)
    group.command()(recut)


def balance(
    topic: Annotated[str, typer.Argument(help="Topic to look at.")],
    since: Since = None,
    limit: Annotated[
        float, typer.Option(min=1.0, help="Largest load of a partition over the mean that is still well.")
    ] = 1.25,
    json: Json = False,
) -> None:
    """Tell how evenly the keys of a topic load its partitions, and how evenly a range table could share them.

    Example: tidewatch topics balance iot.sensor.reading.v1 --since 2026-01-31T06:00

    Exit code 5: the load is less even than --limit.
    """
    from tidewatch import recut as recutting

    with explained():
        found = _looked(lambda: recutting.balance(connection(), topic, _start(since)))
    if json:
        print_json({"topic": topic, **_facts(found)})
    else:
        for partition, share in enumerate(found.shares.tolist()):
            typer.echo(f"partition {partition}: {share:.1%}")
        typer.echo(
            f"largest over mean: {found.imbalance:.2f} of {found.rows} records; {found.after:.2f} with a range table"
        )
    if found.imbalance > limit:
        raise typer.Exit(Exit.DIFFERS)


def recut(
    source: Annotated[str, typer.Argument(help="Topic that is to be taken over from.")],
    target: Annotated[str, typer.Argument(help="Topic that takes over; made if it is not there.")],
    at: Annotated[
        datetime,
        typer.Option(
            help="Event time at which it takes over, where a window begins (UTC where it has no zone)."
        ),
    ],
    since: Since = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of a new topic; as many as the source's if not given."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on copying what comes to the source, until Ctrl-C.")
    ] = False,
    like: Annotated[
        str | None, typer.Option(help="Topic of the catalogue that the source is like, if it is not in it.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a topic whose partitions are ranges of keys with equal load, and copy what is its to it, each row once.

    Rows with event times from --at on are copied; those before stay the source's. Let the pipeline on the source end there
    (`ends_ms`), one on the target begin there (`begins_ms`), and producers send to the target from some moment after --at.
    Safe to repeat: copying goes on where it was. See docs/howto/recut.md.

    Example: tidewatch topics recut iot.sensor.reading.v1 iot.sensor.reading.v2 --at 2026-02-01T00:00 --follow
    """
    from schemas.ranges import RangeTable
    from schemas.topics import RANGES, event_type_of, find_topic
    from tidewatch import recut as recutting
    from tidewatch import topics

    settings, stopping = connection(), stop_event()
    try:
        spec, event = find_topic(like or source), event_type_of(like or source)
    except (KeyError, TypeError) as error:
        raise typer.BadParameter(f"{error.args[0]}; say with --like which topic it is like") from error
    with explained():
        admin = admin_client(settings)
        topics.create(admin, [find_topic(RANGES)])
        table = recutting.range_table(settings, target)
        if table is None:
            count = partitions or len(admin.list_topics(source, timeout=30).topics[source].partitions)
            found = _looked(lambda: recutting.balance(settings, source, _start(since), count))
            made = RangeTable(target, source, _millis(at), found.bounds)
            topics.create(admin, _specs(spec, target, made.partitions))
            table = recutting.keep_table(settings, made)
        if (table.source, table.begins) != (source, _millis(at)):
            fail(f"{target} takes over from {table.source} at {table.begins} ms; its table never changes")
        chosen = table
        copied = _looked(
            lambda: recutting.copy(settings, chosen, event, stopping, lambda _: None, follow=follow)
        )
    if json:
        facts = {"source": source, "target": target, "begins": table.begins, "bounds": list(table.bounds)}
        print_json(facts | {"copied": copied})
    else:
        typer.echo(f"{copied} rows copied to {target}, whose partitions begin at: {', '.join(table.bounds)}")


def _specs(spec: TopicSpec, name: str, partitions: int) -> list[TopicSpec]:
    new = replace(spec, name=name, partitions=partitions)
    return [new, *new.derived]


def _looked(look: Callable[[], T]) -> T:
    from sinks.errors import TopicError
    from streams.errors import EngineError

    try:
        return look()
    except (TopicError, EngineError) as error:
        fail(error)


def _facts(found: Balance) -> dict[str, object]:
    return {
        "records": found.rows,
        "shares": found.shares.tolist(),
        "imbalance": found.imbalance,
        "with_range_table": found.after,
        "bounds": list(found.bounds),
    }


def _start(since: datetime | None) -> str | int:
    from sinks.reader import EARLIEST

    return EARLIEST if since is None else _millis(since)


def _millis(time: datetime) -> int:
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
