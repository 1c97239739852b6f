"""Checkpoints on a real broker: bounded blocks, new bases, lost positions, one position vector for all topics of an app."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streams.checkpoint import BLOCK
from streams.positions import log_range
from tests.streams.cases import COUNTING, CountingCase, expected, feeding
from tests.streams.harness import (
    PARTITIONS,
    eventually,
    make_topics,
    progress_of,
    read,
    read_messages,
    send,
    workers,
    working_members,
)
from tests.streams.test_engine_kills import WARM


@pytest.fixture
def case(kafka: Any) -> CountingCase:
    return CountingCase(kafka.bootstrap, f"state-{uuid.uuid4().hex[:8]}")


def delete_before(bootstrap: str, topic: str, offset: int) -> None:
    """Delete records as retention would."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        future.result(30)


@pytest.mark.kafka
def test_large_state_is_split_and_a_new_base_lets_the_old_one_go(case: CountingCase, tmp_path: Path) -> None:
    """1.2 MB of state that changes all the time: restored whole after a kill, and the checkpoint topic stays short."""
    ballast = {"COUNTING_BALLAST": "1200000"}
    checkpoint = f"tw.{case.app}.checkpoint"
    connection = {"bootstrap.servers": case.bootstrap}
    with feeding(case, 400) as feed, workers(case.command(), tmp_path, ballast) as group:
        group.start()
        eventually(
            lambda: log_range(connection, checkpoint, 0).low > 0,
            lambda: f"nothing is deleted: {group.log()[-2000:]}",
        )
        group.arm("batch-processed:5")
        group.died(0, "batch-processed")
        group.start()
        seen = case.visible()
        eventually(lambda: case.visible() > seen, lambda: f"nobody went on: {group.log()[-2000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-2000:]}")
    case.check(sent)
    blocks = [m for m in read_messages(case.bootstrap, checkpoint, 0) if (m.key() or b"")[:1] == BLOCK]
    assert 0 < max(len(block.value()) for block in blocks) <= 512_000
    total = sum(len(block.value()) for block in blocks)
    assert total < 4 * 1_200_000 + (2 << 20)  # a base, its deltas up to twice as large, and one more


@pytest.mark.kafka
def test_lost_input_stops_the_partition_visibly_until_loss_is_accepted(
    case: CountingCase, tmp_path: Path
) -> None:
    bootstrap, source = case.bootstrap, case.source
    make_topics(bootstrap, source)
    for partition in range(PARTITIONS):
        send(bootstrap, source, [b"%d" % i for i in range(1, 11)], partition)
    with workers(case.command(), tmp_path) as group:
        first = group.start()
        eventually(lambda: case.visible() == 10, lambda: group.log()[-2000:])
        first.terminate()
        first.wait(60)
        send(bootstrap, source, [b"1"] * 15, 0)
        delete_before(bootstrap, source, 17)
        second = group.start()
        send(bootstrap, source, [b"11"], 1)
        eventually(lambda: len(read(bootstrap, f"{source}.out", 1)) == 11, lambda: group.log()[-2000:])
        eventually(
            lambda: group.metric("tidewatch_partition_stopped", partition="0") == 1,
            lambda: f"the loss is not seen: {group.log()[-2000:]}",
        )
        assert "up to 7 records are gone" in group.log()
        assert "--accept-loss" in group.log()
        assert len(read(bootstrap, f"{source}.out", 0)) == 10
        second.terminate()
        second.wait(60)
        group.start(COUNTING_ACCEPT_LOSS="1")
        eventually(lambda: len(read(bootstrap, f"{source}.out", 0)) == 18, lambda: group.log()[-2000:])
        assert group.metric("tidewatch_lost_records_total") == 7
        assert group.metric("tidewatch_partition_stopped", partition="0") == 0
    assert read(bootstrap, f"{source}.out", 0) == [
        *expected(10),
        *(b"%d %d" % (10 + i, 55 + i) for i in range(1, 9)),
    ]


@pytest.mark.chaos
def test_a_topic_made_anew_is_not_taken_for_the_old_one(case: CountingCase, tmp_path: Path) -> None:
    make_topics(case.bootstrap, case.source)
    for partition in range(PARTITIONS):
        send(case.bootstrap, case.source, [b"1", b"2", b"3"], partition)
    with workers(case.command(), tmp_path) as group:
        first = group.start()
        eventually(lambda: case.visible() == 3, lambda: group.log()[-2000:])
        first.terminate()
        first.wait(60)
        admin = AdminClient({"bootstrap.servers": case.bootstrap})
        names = [case.source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
        for future in admin.delete_topics(names).values():
            future.result(30)
        eventually(lambda: not set(names) & admin.list_topics(timeout=10).topics.keys(), "the topics stay")
        make_topics(case.bootstrap, case.source)
        send(case.bootstrap, case.source, [b"1"], 0)
        group.start()
        eventually(
            lambda: group.metric("tidewatch_partition_stopped", partition="0") == 1,
            lambda: f"the new topic is not noticed: {group.log()[-2000:]}",
        )
        assert "made anew" in group.log()
    assert read(case.bootstrap, f"{case.source}.out", 0) == []


@pytest.mark.kafka
def test_all_topics_of_an_app_move_together_on_two_workers(case: CountingCase, tmp_path: Path) -> None:
    """A partition number of both sources is on one worker and in one transaction, also after a kill between produce and commit."""
    other = CountingCase(case.bootstrap, f"{case.source}-b")
    command = [sys.executable, str(COUNTING), f"{case.source},{other.source}", case.bootstrap, "0.5"]
    with feeding(case) as feed, feeding(other) as feed_too, workers(command, tmp_path) as group:
        group.start()
        group.start()
        eventually(lambda: working_members(case.bootstrap, case.app) == 2, "two workers never shared")
        eventually(
            lambda: min(case.visible(), other.visible()) >= WARM,
            lambda: f"no results: {group.log(0)[-3000:]} {group.log(1)[-3000:]}",
        )
        group.arm("commit-produced:5")
        group.died(0, "commit-produced")
        group.start()
        eventually(lambda: working_members(case.bootstrap, case.app) == 2, "two workers never shared again")
        sent, sent_too = feed.stop(), feed_too.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-2000:]}")
        eventually(lambda: other.done(sent_too), lambda: f"results are missing: {group.log()[-2000:]}")
    case.check(sent)
    other.check(sent_too)
    for partition in range(PARTITIONS):
        records = progress_of(case.bootstrap, case.app, partition)
        assert {frozenset(p.positions) for p in records} == {frozenset({case.source, other.source})}
        numbers = [p.transaction for p in records]
        assert numbers == sorted(set(numbers))


@pytest.mark.chaos
def test_state_is_kept_in_memory_only_while_nobody_else_has_committed(
    case: CountingCase, tmp_path: Path
) -> None:
    """Partitions that come back unchanged go on with the owner id they had; those that moved got a new owner."""
    with feeding(case) as feed, workers(case.command(), tmp_path) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        before = owners(case)
        group.start()
        eventually(lambda: working_members(case.bootstrap, case.app) == 2, "two workers never shared")
        seen = case.visible()
        eventually(lambda: case.visible() > seen + WARM, lambda: f"nobody went on: {group.log()[-3000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
    case.check(sent)
    stayed = [old == new for old, new in zip(before, owners(case), strict=True)]
    assert any(stayed)
    assert not all(stayed)


def owners(case: CountingCase) -> list[str]:
    """Return who wrote the newest progress of each partition; a new base deletes older ones."""
    return [progress_of(case.bootstrap, case.app, partition)[-1].owner for partition in range(PARTITIONS)]
