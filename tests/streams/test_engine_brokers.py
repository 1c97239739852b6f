"""One of three brokers dies and comes back, alone or together with a worker: no result changes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.consumer import BatchConsumer
from streams.intake import Failure, Records
from streams.transactions import Record, TransactionalWriter
from tests.streams.cases import Case, CountingCase, WindowCase, environment, feeding
from tests.streams.harness import backlog, eventually, read, workers
from tests.streams.test_engine_kills import WARM
from tidewatch.broker import start_brokers
from tidewatch.broker.cluster import LocalKafka

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalKafka]:
    with start_brokers(3) as three:
        yield three


def case_on(cluster: LocalKafka, kind: str, folder: Path) -> Case:
    name = f"broker-{uuid.uuid4().hex[:8]}"
    if kind == "windows":
        return WindowCase(cluster.bootstrap, name, folder)
    return CountingCase(cluster.bootstrap, name)


@pytest.mark.parametrize(("kind", "victim"), [("counting", 0), ("windows", 1), ("counting", 2)])
def test_a_broker_dies_and_returns(cluster: LocalKafka, tmp_path: Path, kind: str, victim: int) -> None:
    case = case_on(cluster, kind, tmp_path)
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        cluster.kill(victim)
        seen = case.visible()
        eventually(
            lambda: case.visible() > seen + WARM, lambda: f"two brokers do not go on: {group.log()[-3000:]}"
        )
        cluster.restart(victim)
        seen = case.visible()
        eventually(lambda: case.visible() > seen + WARM, lambda: f"three do not go on: {group.log()[-3000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


@pytest.mark.parametrize("kind", ["counting", "windows"])
def test_a_worker_and_a_broker_die_at_once(cluster: LocalKafka, tmp_path: Path, kind: str) -> None:
    case = case_on(cluster, kind, tmp_path)
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        worker = group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        worker.kill()
        cluster.kill(1)
        assert worker.wait(30) == -9
        time.sleep(0.5)
        assert backlog(case.bootstrap, case.app, case.source) > 0
        group.start()
        seen = case.visible()
        eventually(lambda: case.visible() > seen, lambda: f"nobody went on: {group.log()[-3000:]}")
        cluster.restart(1)
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


def test_a_transaction_that_must_be_aborted_is_sent_again_and_seen_once(
    cluster: LocalKafka, caplog: pytest.LogCaptureFixture
) -> None:
    """A partition's only replica is away for longer than a message may wait, while the coordinator goes on without it."""
    name = f"resent-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(dict(cluster.connection))
    TransactionalWriter(cluster.connection, name, 15.0, 0).open()  # makes the coordinator's topic
    coordinator = coordinator_of(admin, name)
    victim, node = next((i, n) for i, n in enumerate(cluster.nodes) if n.number != coordinator)
    admin.create_topics([NewTopic(name, 1, replica_assignment=[[node.number]])])[name].result(30)
    # Longer than the cluster takes to find that a broker is gone: only then does the coordinator take the partition in.
    writer = TransactionalWriter({**cluster.connection, "message.timeout.ms": 25_000}, name, 60.0, 0)
    writer.open()
    writer.write([Record(name, 0, None, b"1")])
    eventually(lambda: read(cluster.bootstrap, name, 0) == [b"1"], lambda: "the first is not visible")
    cluster.kill(victim)
    writing = threading.Thread(
        target=writer.write, args=([Record(name, 0, None, b"2"), Record(name, 0, None, b"3")],)
    )
    writing.start()
    eventually(lambda: "aborted, sending again" in caplog.text, lambda: "the transaction was not aborted")
    cluster.restart(victim)
    writing.join(60)
    writer.write([Record(name, 0, None, b"4")])
    assert read(cluster.bootstrap, name, 0) == [b"1", b"2", b"3", b"4"]


def coordinator_of(admin: AdminClient, transactional_id: str) -> int:
    """Return the broker that leads the id's partition of the coordinator's topic, found as Kafka does it by Java's hash."""
    state = admin.list_topics("__transaction_state", timeout=30).topics["__transaction_state"]
    hashed = 0
    for character in transactional_id:
        hashed = (31 * hashed + ord(character)) & 0x7FFFFFFF  # the low 31 bits are all that is looked at
    return int(state.partitions[hashed % len(state.partitions)].leader)


def test_a_log_that_was_cut_back_behind_its_reader_is_said(cluster: LocalKafka) -> None:
    """An unclean election: the follower that leads has fewer records than were read."""
    topic = f"cut-{uuid.uuid4().hex[:8]}"
    admin = AdminClient(cluster.connection)
    wanted = NewTopic(
        topic,
        1,
        replica_assignment=[[1, 2]],
        config={"unclean.leader.election.enable": "true", "min.insync.replicas": "1"},
    )
    admin.create_topics([wanted])[topic].result(30)
    reader = BatchConsumer(cluster.connection)
    reader.assign((topic, 0), 0)
    read: list[int] = []
    failures: list[Failure] = []

    def reached(offset: int) -> bool:
        for arrival in reader.consume(1_000, 0.1):
            if isinstance(arrival, Records):
                read.extend(arrival.offsets.tolist())
            elif isinstance(arrival, Failure):
                failures.append(arrival)
        return len(read) >= offset

    def send(count: int) -> None:
        producer = Producer({**cluster.connection, "acks": 1})
        for _ in range(count):
            producer.produce(topic, b"v", partition=0)
        assert producer.flush(30) == 0

    try:
        send(10)
        eventually(lambda: reached(10), "the first records do not come")
        cluster.kill(1)  # the follower
        send(5)
        eventually(lambda: reached(15), "what the leader alone has does not come")
        cluster.kill(0)
        cluster.nodes[1].start(cluster.group)  # which leads now, without what it has missed
        eventually(lambda: reached(15) and bool(failures), "nobody says that records are gone")
    finally:
        cluster.restart(0)
        reader.close()
    assert failures[0].cut_at == 10
    assert "cut back to offset 10" in failures[0].text
    assert read == list(range(15))
