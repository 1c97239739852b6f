"""``tidewatch dlq``: look at dead letters, mend them and send them back, once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.alerts import utc
from tidewatch.cli.shared import (
    DryRun,
    Json,
    JsonLines,
    Yes,
    connection,
    console,
    explained,
    fail,
    print_json,
    say,
)

if TYPE_CHECKING:
    from tidewatch.dlq import Letter, Resend, Wanted

group = typer.Typer(no_args_is_help=True, help="Look at dead letters, mend them and send them back, once.")

Source = Annotated[str, typer.Argument(help="Source topic whose dead letters are meant.")]
Codes = Annotated[list[str] | None, typer.Option("--code", help="Only letters with this reason.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this letter, as `show` names it.")]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="dlq")


@group.command("list")
def list_(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Source topics; all of the catalogue's if none is given.")
    ] = None,
    json: Json = False,
) -> None:
    """Count dead letters by topic and reason.

    Example: tidewatch dlq list --json
    """
    from dataclasses import asdict

    from schemas.topics import CATALOGUE
    from tidewatch import dlq

    names = topics or [spec.name for spec in CATALOGUE if spec.role == "source"]
    with explained(), _told():
        done = dlq.replayed(connection())
        every = dlq.Wanted()
        found = [
            reason
            for name in names
            for reason in dlq.reasons(dlq.letters(connection(), name, every, done), name)
        ]
    if json:
        print_json({"reasons": [asdict(reason) for reason in found]})
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "topic", "code", "stage", "letters", "sent back", "last", "example", box=None, pad_edge=False
    )
    for r in found:
        table.add_row(
            r.topic, r.code, r.stage, str(r.count), str(r.replayed), utc(r.last), escape(r.example[:80])
        )
    console().print(table)


@group.command()
def show(
    source: Source,
    code: Codes = None,
    id_: Ids = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 20,
    payload: Annotated[
        bool, typer.Option("--payload", help="Also show what was sent; it may be about a person.")
    ] = False,
    json: JsonLines = False,
) -> None:
    """Show dead letters: where each came from and why; with --payload what it holds.

    Example: tidewatch dlq show iot.sensor.reading.v1 --code unknown_unit --payload --json
    """
    from itertools import islice

    from tidewatch import dlq

    with explained(), _told():
        done = dlq.replayed(connection())
        found = list(islice(dlq.letters(connection(), source, _wanted(code, id_), done), limit))
    for each in found:
        facts = _facts(each, payload=payload)
        if json:
            print_json(facts)
        else:
            typer.echo("  ".join(f"{name}={value}" for name, value in facts.items()))
    say(f"{len(found)} letters" + (f", no more than --limit {limit}" if len(found) == limit else ""))


@group.command()
def replay(
    source: Source,
    code: Codes = None,
    id_: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters of the topic.")] = False,
    edited: Annotated[
        Path | None,
        typer.Option(
            help="File of JSON lines with id and value, as `show --payload --json` prints: sent instead."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send dead letters back to their source topic, as they were or mended; each is sent once, however often this is run.

    Example: tidewatch dlq replay iot.sensor.reading.v1 --code unknown_unit --dry-run
    """
    from tidewatch import dlq

    if not (code or id_ or every or edited):
        raise typer.BadParameter("say which: --code, --id, --edited or --all")
    edits = _edits(edited)
    wanted = _wanted(code, id_ or (list(edits) if edits and not (code or every) else None))
    settings = connection()
    already = 0

    def choose(done: frozenset[str]) -> list[Resend]:
        nonlocal already
        found = list(dlq.letters(settings, source, wanted, done))
        already = sum(each.replayed for each in found)
        return dlq.plan(found, source, _partitions(settings, source), edits)

    with explained(), _told():
        planned = choose(dlq.replayed(settings))
        if planned and not (dry_run or yes):
            typer.confirm(f"Send {len(planned)} letters back to {source}?", abort=True, err=True)
        sent = dlq.send_back(settings, source, choose, time.time) if planned and not dry_run else 0
    mended = sum(each.edited for each in planned)
    facts = {"topic": source, "planned": len(planned), "mended": mended, "sent": sent, "already": already}
    if json:
        print_json(facts)
    else:
        verb = f"would send {len(planned)}" if dry_run else f"sent {sent}"
        typer.echo(
            f"{verb} letters back to {source}, {mended} of them mended; {already} had been sent before"
        )


def _wanted(codes: list[str] | None, ids: list[str] | None) -> Wanted:
    from tidewatch.dlq import Wanted

    return Wanted(frozenset(codes or ()), frozenset(ids or ()))


def _facts(each: Letter, *, payload: bool) -> dict[str, object]:
    letter = each.letter
    facts: dict[str, object] = {
        "id": letter.id, "code": letter.code, "stage": letter.stage, "at": utc(each.time), "sent_back": each.replayed,
        "bytes": len(letter.value or b""),
    }  # fmt: skip
    if payload:
        facts |= {
            "detail": letter.detail,
            "key": (letter.key or b"").decode("utf-8", "replace"),
            "value": (letter.value or b"").decode("utf-8", "replace"),
        }
    return facts


def _edits(file: Path | None) -> dict[str, bytes]:
    import msgspec

    if file is None:
        return {}
    edits: dict[str, bytes] = {}
    for number, text in enumerate(file.read_text().splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=dict[str, object]) if text.strip() else None
            if line is not None:
                edits[str(line["id"])] = str(line["value"]).encode()
        except (msgspec.MsgspecError, KeyError) as error:
            raise typer.BadParameter(
                f"line {number} of {file} is no JSON object with id and value ({error})"
            ) from error
    return edits


def _partitions(settings: dict[str, str], source: str) -> int:
    from tidewatch.cli.shared import admin_client

    return len(admin_client(settings).list_topics(source, timeout=30).topics[source].partitions)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what cannot be read or sent into words."""
    from sinks.errors import TopicError
    from tidewatch.dlq import LetterError

    try:
        yield
    except (TopicError, LetterError) as error:
        sys.stdout.flush()
        fail(error)
