"""``tidewatch topics``: make the catalogue's topics, list them, and tell where the cluster differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import Json, admin_client, connection, console, explained, print_json
from tidewatch.exits import Exit

if TYPE_CHECKING:
    from schemas.topics import TopicSpec
    from tidewatch.topics import Drift, Observed

group = typer.Typer(no_args_is_help=True, help="Make and look at the topics of the catalogue.")
Partitions = Annotated[
    int | None, typer.Option(min=1, help="Partitions of every topic; the catalogue's number if not given.")
]
Names = Annotated[
    list[str] | None, typer.Argument(help="Topics of the catalogue; all of them if none is given.")
]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="topics")


@group.command()
def create(
    names: Names = None,
    partitions: Partitions = None,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="Replicas of each partition; the cluster's default if not given."),
    ] = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="Also change settings that differ, where no record can be lost.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Make the topics that are missing; never delete, shrink or re-partition one.

    Safe to repeat. A topic comes with its topics for dead and late letters.

    Example: tidewatch topics create --partitions 8

    Exit code 5: some topics differ from the catalogue and were left as they are.
    """
    from tidewatch import topics

    specs = _specs(names, partitions)
    admin = admin_client(connection())
    with explained():
        before = topics.observe(admin, [spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in before]
        made = [] if dry_run else topics.create(admin, missing, replication or -1)
        found = [d for d in topics.drift(specs, before) if d.kind != "missing"]
        mended = [d for d in found if mend and topics.mendable(d)]
        if not dry_run:
            topics.mend(admin, mended)
    left = [d for d in found if d not in mended]
    planned = [spec.name for spec in missing]
    if json:
        facts = {"made": made, "would_make": planned if dry_run else [], "mended": _facts(mended)}
        print_json(facts | {"existing": sorted(before), "drift": _facts(left)})
    else:
        _report(planned if dry_run else made, mended, left, existing=len(before), dry_run=dry_run)
    if left:
        raise typer.Exit(Exit.DIFFERS)


@group.command("list")
def list_(partitions: Partitions = None, json: Json = False) -> None:
    """List the catalogue's topics, whether they are there, and what differs.

    Example: tidewatch topics list --json
    """
    from tidewatch import topics

    specs = _specs(None, partitions)
    admin = admin_client(connection())
    with explained():
        there = topics.observe(admin, [spec.name for spec in specs])
    found = topics.drift(specs, there)
    if json:
        rows = [_row(spec, there.get(spec.name)) for spec in specs]
        print_json({"topics": rows, "drift": _facts(found)})
    else:
        _table(specs, there, found)


@group.command()
def describe(
    name: Annotated[str, typer.Argument(help="A topic of the catalogue.")],
    partitions: Partitions = None,
    json: Json = False,
) -> None:
    """Tell what a topic holds, how it should be set up and how it is.

    Example: tidewatch topics describe iot.sensor.alert.v1
    """
    from tidewatch import topics

    (spec,) = _specs([name], partitions)[:1]
    admin = admin_client(connection())
    with explained():
        there = topics.observe(admin, [name])
    found = topics.drift([spec], there)
    facts = _row(spec, there.get(name)) | {"fields": _fields(spec), "drift": _facts(found)}
    if json:
        print_json(facts)
        return
    for label in ("name", "role", "holds", "key", "partitioner", "partitions", "replication", "there"):
        typer.echo(f"{label:12} {facts[label]}")
    for setting, wanted in spec.config.items():
        typer.echo(f"{setting:22} {wanted}")
    typer.echo("fields       " + ", ".join(_fields(spec)))
    _say_drift(found)


def _specs(names: Sequence[str] | None, partitions: int | None) -> list[TopicSpec]:
    from schemas.topics import all_topics, find_topic

    specs: dict[str, TopicSpec] = {}
    try:
        for name in names or [spec.name for spec in all_topics()]:
            spec = find_topic(name)
            specs |= {each.name: each for each in (spec, *spec.derived)}
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from error
    chosen = list(specs.values())
    return [spec.with_partitions(partitions) for spec in chosen] if partitions else chosen


def _holds(spec: TopicSpec) -> str:
    from schemas.event_types import EventType

    what = spec.value.name if isinstance(spec.value, EventType) else getattr(spec.value, "__name__", "bytes")
    return f"{what} ({spec.role} letters)" if spec.role in {"dead", "late"} else what


def _fields(spec: TopicSpec) -> list[str]:
    from schemas.event_types import EventType

    struct = spec.value.struct if isinstance(spec.value, EventType) else spec.value
    return list(struct.__struct_fields__) if struct is not None else []


def _row(spec: TopicSpec, there: Observed | None) -> dict[str, object]:
    return {
        "name": spec.name,
        "role": spec.role,
        "holds": _holds(spec),
        "key": spec.key,
        "partitioner": spec.partitioner,
        "there": there is not None,
        "partitions": there.partitions if there else None,
        "replication": there.replication if there else None,
        "wanted_partitions": spec.partitions,
        "wanted_settings": spec.config,
    }


def _facts(found: Sequence[Drift]) -> list[dict[str, str]]:
    from dataclasses import asdict

    return [asdict(d) | {"text": d.text} for d in found]


def _report(
    made: Sequence[str], mended: Sequence[Drift], left: Sequence[Drift], *, existing: int, dry_run: bool
) -> None:
    would = "would " if dry_run else ""
    for name in made:
        typer.echo(f"{would}make {name}" if dry_run else f"made {name}")
    for d in mended:
        typer.echo(f"{would}change {d.topic}: {d.setting} from {d.found} to {d.wanted}")
    if existing:
        typer.echo(f"{existing} topics were there already")
    _say_drift(left)


def _say_drift(found: Sequence[Drift]) -> None:
    for d in found:
        typer.echo(f"differs: {d.text}\n  to mend: {d.remedy}", err=True)


def _table(specs: Sequence[TopicSpec], there: dict[str, Observed], found: Sequence[Drift]) -> None:
    from rich.table import Table

    differing = {d.topic: d.kind for d in found}
    table = Table("topic", "holds", "key", "partitions", "kept", "state", box=None, pad_edge=False)
    for spec in specs:
        kept = "for ever" if spec.retention is None else f"{spec.retention.days} days"
        partitions = str(there[spec.name].partitions) if spec.name in there else "-"
        state = {"missing": "missing", None: "ok"}.get(differing.get(spec.name), "differs")
        table.add_row(spec.name, _holds(spec), spec.key, partitions, kept, state)
    console().print(table)
    _say_drift([d for d in found if d.kind != "missing"])
    if "missing" in differing.values():
        typer.echo("make the missing ones with: tidewatch topics create", err=True)
