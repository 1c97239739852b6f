"""The consumer against a real broker: records in order, with ends at their place, committed ones only, of every compression."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import Future

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.codec import ARROW, JSON
from streams.consumer import BatchConsumer
from streams.intake import NEWEST, End, Failure, Records, Source
from streams.wire import Layout
from tests.streams.harness import eventually

pytestmark = pytest.mark.kafka


def _topic(kafka, name: str) -> str:
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


def _drain(
    reader: BatchConsumer, sources: list[Source], limit: int = 1_000
) -> tuple[dict[Source, list[Records]], dict[Source, int]]:
    """Consume until every source has said that it is at its end, and return records and the ends."""
    records: dict[Source, list[Records]] = defaultdict(list)
    ends: dict[Source, int] = {}
    deadline = time.monotonic() + 60
    while len(ends) < len(sources) and time.monotonic() < deadline:
        for arrival in reader.consume(limit, 0.1):
            assert not isinstance(arrival, Failure)
            if isinstance(arrival, End):
                ends[arrival.source] = arrival.offset
            else:
                assert arrival.source not in ends
                assert len(arrival) <= limit
                records[arrival.source].append(arrival)
    return records, ends


def test_records_come_whole_and_in_order_up_to_the_end(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "enable.idempotence": True})
    sent: dict[int, list[tuple[bytes | None, bytes | None]]] = {0: [], 1: []}
    for i in range(2_500):
        key = None if i % 7 == 0 else b"k%d" % i
        value = None if i % 11 == 0 else b"" if i % 13 == 0 else b"v" * (i % 50)
        sent[i % 2].append((key, value))
        producer.produce(topic, value, key, i % 2)
    producer.flush(30)
    reader = BatchConsumer(kafka.connection)
    for partition in (0, 1):
        reader.assign((topic, partition), 0)
    records, ends = _drain(reader, [(topic, 0), (topic, 1)])
    reader.close()
    assert ends == {(topic, 0): 1_250, (topic, 1): 1_250}
    for partition, expected in sent.items():
        parts = records[topic, partition]
        assert [offset for part in parts for offset in part.offsets.tolist()] == list(range(1_250))
        assert [pair for part in parts for pair in zip(part.keys, part.values, strict=True)] == expected
        assert all(part.content_types is None for part in parts)
        assert all(abs(part.log_times / 1000 - time.time()).max() < 3_600 for part in parts)


def test_content_types_are_read(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer(kafka.connection)
    headers: list[list[tuple[str, bytes | None]]] = [
        [("x", b"1"), ("content-type", ARROW.encode())], [], [("content-type", JSON.encode())],
        [("content-type", b"text/a"), ("content-type", b"text/b")], [("content-type", b"")], [("Content-Type", b"x")],
    ]  # fmt: skip
    for each in headers:
        producer.produce(topic, b"v", partition=0, headers=each)
    producer.flush(30)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 0)
    records, _ = _drain(reader, [(topic, 0)])
    reader.close()
    types = [
        kind for part in records[topic, 0] for kind in (part.content_types or [None] * len(part.offsets))
    ]
    assert types == [ARROW, None, JSON, "text/b", "", None]


def test_aborted_records_are_not_seen_and_leave_a_gap(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "transactional.id": topic_prefix})
    producer.init_transactions(30)
    for value, finish in ((b"a", producer.abort_transaction), (b"b", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(30)
        finish(30)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 0)
    records, ends = _drain(reader, [(topic, 0)])
    reader.close()
    (part,) = records[topic, 0]
    assert list(part.values) == [b"b"]
    assert part.offsets.tolist() == [2]
    assert ends == {(topic, 0): 4}


def test_a_position_outside_the_log_is_an_event(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 99)
    deadline = time.monotonic() + 60
    failures: list[Failure] = []
    while not failures and time.monotonic() < deadline:
        failures = [arrival for arrival in reader.consume(10, 0.1) if isinstance(arrival, Failure)]
    reader.close()
    assert failures == [Failure((topic, 0), "offset 99 is outside the log")]


def test_a_paused_partition_holds_still_until_it_is_resumed(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    reader = BatchConsumer(kafka.connection)
    for partition in (0, 1):
        reader.assign((topic, partition), 0)
    _drain(reader, [(topic, 0), (topic, 1)])
    reader.pause((topic, 0))
    producer = Producer(kafka.connection)
    for partition in (0, 1):
        producer.produce(topic, b"v", partition=partition)
    producer.flush(30)
    seen: list[int] = []

    def until(partition: int) -> None:
        deadline = time.monotonic() + 60
        while partition not in seen and time.monotonic() < deadline:
            arrivals = list(reader.consume(10, 0.1))
            seen.extend(a.source[1] for a in arrivals if isinstance(a, Records))

    until(1)
    assert seen == [1]
    reader.resume((topic, 0))
    until(0)
    reader.unassign((topic, 1))
    reader.close()
    assert seen == [1, 0]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_opened(kafka, topic_prefix: str, codec: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    packing = Producer({**kafka.connection, "compression.type": codec, "linger.ms": 100})
    plain = Producer(kafka.connection)
    values = [b"%d " % i * 20 for i in range(3_000)]
    for producer, part in (
        (packing, values[:1_000]),
        (plain, values[1_000:2_000]),
        (packing, values[2_000:]),
    ):
        for value in part:
            producer.produce(topic, value, b"k", 0, headers=[("content-type", ARROW)])
        producer.flush(30)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 0)
    records, _ = _drain(reader, [(topic, 0)])
    reader.close()
    assert [value for part in records[topic, 0] for value in part.values] == values
    assert {key for part in records[topic, 0] for key in part.keys} == {b"k"}
    assert {kind for part in records[topic, 0] for kind in part.content_types or [None]} == {ARROW}


def test_reading_begins_within_a_batch_and_comes_in_parts(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "linger.ms": 100})
    for i in range(1_000):
        producer.produce(topic, b"%d" % i, partition=0)
    producer.flush(30)
    reader = BatchConsumer(kafka.connection, most_each=2_000)  # less than the batches have
    reader.assign((topic, 0), 345)
    records, ends = _drain(reader, [(topic, 0)], limit=7)
    reader.close()
    assert [value for part in records[topic, 0] for value in part.values] == [
        b"%d" % i for i in range(345, 1_000)
    ]
    assert ends == {(topic, 0): 1_000}


def test_every_end_that_is_reached_is_told_once(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer(kafka.connection)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 0)
    ends: list[int] = []
    for i in range(3):
        producer.produce(topic, b"v", partition=0)
        producer.flush(30)
        deadline = time.monotonic() + 60
        while (not ends or ends[-1] <= i) and time.monotonic() < deadline:
            ends += [each.offset for each in reader.consume(10, 0.1) if isinstance(each, End)]
    for _ in range(5):
        ends += [each.offset for each in reader.consume(10, 0.1) if isinstance(each, End)]
    reader.close()
    assert ends[-3:] == [1, 2, 3]
    assert ends[:-3] in ([], [0])


def test_from_the_newest_on_earlier_records_are_not_seen(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer(kafka.connection)
    producer.produce(topic, b"old", partition=0)
    producer.flush(30)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), NEWEST)
    _, ends = _drain(reader, [(topic, 0)])
    assert ends == {(topic, 0): 1}
    producer.produce(topic, b"new", partition=0)
    producer.flush(30)
    records, _ = _drain(reader, [(topic, 0)])
    reader.close()
    assert [value for part in records[topic, 0] for value in part.values] == [b"new"]


def test_records_of_an_open_transaction_wait_for_it(kafka, topic_prefix: str) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "transactional.id": topic_prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"v", partition=0)
    producer.flush(30)
    reader = BatchConsumer(kafka.connection)
    reader.assign((topic, 0), 0)
    records, ends = _drain(reader, [(topic, 0)])
    assert (dict(records), ends) == ({}, {(topic, 0): 0})
    producer.commit_transaction(30)
    seen: list[bytes | None] = []

    def committed() -> bool:
        for arrival in reader.consume(10, 0.1):
            seen.extend(arrival.values if isinstance(arrival, Records) else [])
        return bool(seen)

    eventually(committed, "the committed record does not come")
    reader.close()
    assert seen == [b"v"]


def test_a_topic_that_does_not_exist_is_said_in_the_end(kafka, topic_prefix: str) -> None:
    clock = iter(range(0, 10_000, 5))
    reader = BatchConsumer(kafka.connection, clock=lambda: float(next(clock)))
    reader.assign((f"{topic_prefix}.none", 0), 0)
    failures: list[Failure] = []
    while not failures:
        failures = [each for each in reader.consume(10, 0.1) if isinstance(each, Failure)]
    reader.close()
    assert failures == [Failure((f"{topic_prefix}.none", 0), "there is no such topic or partition")]


def test_the_leader_that_has_left_the_cluster_is_looked_for_anew() -> None:
    """Its partition was placed before it left, and nobody could connect to it; another's question tells that it is gone."""
    now = 100.0
    reader = BatchConsumer({"bootstrap.servers": "127.0.0.1:1"}, clock=lambda: now)
    reader.assign(("t", 0), 0)
    place = reader._places["t", 0]
    place.node, reader._brokers, reader._shut = 7, {7: ("127.0.0.1", 1)}, {7: (1, 100.5)}
    reader._looking = Future()
    reader._looking.set_result(Layout({8: ("127.0.0.1", 1)}, {}, {}))
    list(reader.consume(10, 0.0))
    now = 101.0
    list(reader.consume(10, 0.0))
    assert place.node is None
    assert not place.failed
    reader.close()
