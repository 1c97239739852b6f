"""Folding late letters in: what is on the late topic and the result topics, and the revisions that follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from schemas.codec import Decoder
from schemas.columns import RawBatch
from schemas.deadletters import header
from schemas.partitioning import partition_of
from schemas.results import WindowSummary
from schemas.topics import late_topic
from sinks.reader import read_to_end
from streams.attributes import Attributed
from streams.late import LateRow, Place, View, by_window, folded, late_rows, views_of
from streams.pipeline import Pipeline, Session
from streams.transactions import Record, TransactionalWriter

Connection = Mapping[str, str | int]
_PLACE = (
    "tidewatch.late.partition",
    "tidewatch.late.offset",
    "tidewatch.late.row",
    "tidewatch.late.watermark",
)


@dataclass(slots=True)
class Outcome:
    """What a replay found and did: letters read, letters without the headers of one, windows by what became of them."""

    letters: int = 0
    foreign: int = 0
    revised: int = 0
    unchanged: int = 0
    still_open: int = 0
    records: list[Record] = field(default_factory=list)


def fold_in(connection: Connection, pipeline: Pipeline, *, dry_run: bool) -> Outcome:
    """Publish a revision of every window that has late rows its newest revision lacks.

    Delivery: all revisions in one transaction that fences another replay of the same pipeline; each has a deterministic id, and
    replaying again without new letters publishes nothing.

    Raises:
        TopicError: a topic is not there.
        ValueError: the pipeline has session windows.
    """
    if dry_run:
        return _found(connection, pipeline)
    writer = TransactionalWriter(connection, f"tw.late.{pipeline.name}", 60.0, 0)
    try:
        # Opening waits until a replay before this one is visible in full, so what it published is seen.
        writer.open()
        outcome = _found(connection, pipeline)
        if outcome.records:
            writer.write(outcome.records)
    finally:
        writer.close()
    return outcome


def _found(connection: Connection, pipeline: Pipeline) -> Outcome:
    """Read letters and results, and return what is to be published."""
    outcome = Outcome()
    rows = _letters(connection, pipeline, outcome)
    for view in views_of(pipeline):
        _fold(connection, pipeline, view, rows, outcome)
    return outcome


def _fold(
    connection: Connection, pipeline: Pipeline, view: View, rows: list[LateRow], outcome: Outcome
) -> None:
    window = pipeline.window
    assert not isinstance(window, Session)
    places = by_window(view, rows, window.size_ms)
    if not places:
        return
    retained = {f"{pipeline.name}:{r.name}": r.retain_ms for r in pipeline.rollups}.get(view.name)
    topic = pipeline.results if retained is None else pipeline.totals
    published, newest_end = _published(connection, topic, view.name, places)
    count = len(AdminClient(dict(connection)).list_topics(topic, timeout=30).topics[topic].partitions)
    for place, members in places.items():
        if retained is not None and place[2] + pipeline.allowed_lateness_ms + retained > newest_end:
            outcome.still_open += 1
            continue
        output = folded(view, pipeline, place, members, published[place])
        if output is None:
            outcome.unchanged += 1
            continue
        outcome.revised += 1
        # A pipeline's own windows are where their rows came from, those of a roll-up where their group belongs.
        where = members[0].partition if retained is None else int(partition_of([output.key or b""], count)[0])
        outcome.records.append(Record(topic, where, output.key, output.value))


def _letters(connection: Connection, pipeline: Pipeline, outcome: Outcome) -> list[LateRow]:
    decode = Attributed(Decoder(pipeline.event), pipeline.attributes)
    rows: list[LateRow] = []
    for messages in read_to_end(connection, [late_topic(pipeline.source)]):
        placed = [(_place(message), message) for message in messages]
        letters = [(place, message) for place, message in placed if place is not None]
        outcome.letters += len(letters)
        outcome.foreign += len(placed) - len(letters)
        if not letters:
            continue
        columns = decode(_batch(pipeline.source, [message for _, message in letters]))
        found = [letters[i][0] for i in columns.offset.tolist()]
        where = [(place[0], place[1], place[2]) for place in found if place]
        rows += late_rows(pipeline, columns, [place[3] for place in found if place], where)
    return rows


def _place(message: Message) -> tuple[int, int, int, int] | None:
    """Return partition, offset, row and watermark that a letter carries, ``None`` if it is none."""
    headers = message.headers()
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    try:
        partition, offset, row, watermark = (int(header(pairs, name) or "") for name in _PLACE)
    except ValueError:
        return None
    return partition, offset, row, watermark


def _batch(topic: str, messages: list[Message]) -> RawBatch:
    n = len(messages)
    times = np.array([message.timestamp()[1] for message in messages], np.int64)
    keys, values = [message.key() for message in messages], [message.value() for message in messages]
    return RawBatch(topic, 0, 0, n, np.arange(n, dtype=np.int64), times, keys, values)


def _published(
    connection: Connection, topic: str, name: str, places: Mapping[Place, list[LateRow]]
) -> tuple[dict[Place, list[WindowSummary]], int]:
    """Return the revisions of the windows concerned, and the newest end of any window of the view."""
    decoder = msgspec.json.Decoder(WindowSummary)
    found: dict[Place, list[WindowSummary]] = defaultdict(list)
    newest = -1
    for messages in read_to_end(connection, [topic]):
        for message in messages:
            summary = decoder.decode(message.value() or b"")
            if summary.pipeline == name:
                newest = max(newest, summary.end)
                place = summary.group, summary.start, summary.end
                if place in places:
                    found[place].append(summary)
    return found, newest
