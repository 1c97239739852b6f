"""The group's offsets of a running engine: what lag monitors and heirs read, and what no task goes by."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from streams.balance import Note, decode_note
from streams.offsets import reader_of
from tests.streams.cases import CountingCase, expected
from tests.streams.harness import (
    PARTITIONS,
    committed_position,
    eventually,
    make_topics,
    read,
    send,
    workers,
)

Published = list[tuple[int, Note]]


@pytest.fixture
def case(kafka: Any) -> CountingCase:
    return CountingCase(kafka.bootstrap, f"offsets-{uuid.uuid4().hex[:8]}")


def published(case: CountingCase) -> Published:
    """Return the group's offset and note, by partition."""
    group = reader_of({"bootstrap.servers": case.bootstrap}, case.app)
    try:
        found = group.committed([TopicPartition(case.source, p) for p in range(PARTITIONS)], timeout=30)
        return [(place.offset, decode_note(place.metadata)) for place in found]
    finally:
        group.close()


def committed(case: CountingCase) -> list[int]:
    """Return the newest committed position of each partition."""
    return [committed_position(case.bootstrap, case.app, case.source, p) for p in range(PARTITIONS)]


def move(case: CountingCase, offset: int) -> None:
    """Set the offsets of a group that nobody is in."""
    group = reader_of({"bootstrap.servers": case.bootstrap}, case.app)
    try:
        places = [TopicPartition(case.source, p, offset) for p in range(PARTITIONS)]
        group.commit(offsets=places, asynchronous=False)
    finally:
        group.close()


@pytest.mark.slow
@pytest.mark.kafka
def test_group_offsets_are_the_committed_positions_and_decide_nothing(
    case: CountingCase, tmp_path: Path
) -> None:
    """They come with their owner's note; set elsewhere while no worker runs, they neither repeat nor skip a record."""
    make_topics(case.bootstrap, case.source)
    for partition in range(PARTITIONS):
        send(case.bootstrap, case.source, [b"%d" % i for i in range(1, 11)], partition)
    with workers(case.command(), tmp_path) as group:
        first = group.start()
        eventually(lambda: case.visible() == 10, lambda: group.log()[-2000:])
        eventually(
            lambda: [offset for offset, _ in published(case)] == committed(case) == [10] * PARTITIONS,
            lambda: f"{published(case)} are published, {committed(case)} committed: {group.log()[-2000:]}",
        )
        (owner,) = {note.worker for _, note in published(case)}
        assert owner
        first.terminate()
        first.wait(60)
        move(case, 3)
        group.start()
        for partition in range(PARTITIONS):
            send(case.bootstrap, case.source, [b"11"], partition)
        eventually(
            lambda: [offset for offset, _ in published(case)] == committed(case) == [11] * PARTITIONS,
            lambda: f"{published(case)} are published, {committed(case)} committed: {group.log()[-2000:]}",
        )
        (heir,) = {note.worker for _, note in published(case)}
        assert heir not in ("", owner)
    for partition in range(PARTITIONS):
        assert read(case.bootstrap, f"{case.source}.out", partition) == expected(11)
