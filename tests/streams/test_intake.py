"""Both intakes read the same from a real broker: records in order, with events at their place, committed ones only."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.codec import ARROW, JSON
from streams.intake import ClientIntake, Event, Intake, Records, Source, open_intake
from streams.librdkafka import ConsumerError, NativeIntake, library_path

pytestmark = pytest.mark.kafka
INTAKES = pytest.mark.parametrize("intake", [ClientIntake, NativeIntake])
Make = Callable[[dict[str, str | int | bool]], Intake]


def _settings(bootstrap: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "intake-test",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "log_level": 3,
    }


def _topic(kafka, name: str) -> str:
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


def _drain(intake: Intake, sources: list[Source]) -> tuple[dict[Source, list[Records]], dict[Source, int]]:
    """Consume until every source has said that it is at its end, and return records and the ends."""
    records: dict[Source, list[Records]] = defaultdict(list)
    ends: dict[Source, int] = {}
    deadline = time.monotonic() + 60
    while len(ends) < len(sources) and time.monotonic() < deadline:
        for arrival in intake.consume(1_000, 0.1):
            if isinstance(arrival, Event):
                assert arrival.code == KafkaError._PARTITION_EOF
                ends[arrival.source] = arrival.offset
            else:
                assert arrival.source not in ends
                records[arrival.source].append(arrival)
    return records, ends


@INTAKES
def test_records_come_whole_and_in_order_up_to_the_end(kafka, topic_prefix: str, intake: Make) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "enable.idempotence": True})
    sent: dict[int, list[tuple[bytes | None, bytes | None]]] = {0: [], 1: []}
    for i in range(2_500):
        key = None if i % 7 == 0 else b"k%d" % i
        value = None if i % 11 == 0 else b"" if i % 13 == 0 else b"v" * (i % 50)
        sent[i % 2].append((key, value))
        producer.produce(topic, value, key, i % 2)
    producer.flush(30)
    reader = intake(_settings(kafka.bootstrap))
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


@INTAKES
def test_content_types_are_read(kafka, topic_prefix: str, intake: Make) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer(kafka.connection)
    headers: list[list[tuple[str, bytes | None]]] = [
        [("x", b"1"), ("content-type", ARROW.encode())], [], [("content-type", JSON.encode())],
        [("content-type", b"text/a"), ("content-type", b"text/b")], [("content-type", b"")], [("Content-Type", b"x")],
    ]  # fmt: skip
    for each in headers:
        producer.produce(topic, b"v", partition=0, headers=each)
    producer.flush(30)
    reader = intake(_settings(kafka.bootstrap))
    reader.assign((topic, 0), 0)
    records, _ = _drain(reader, [(topic, 0)])
    reader.close()
    types = [
        kind for part in records[topic, 0] for kind in (part.content_types or [None] * len(part.offsets))
    ]
    assert types == [ARROW, None, JSON, "text/b", "", None]


@INTAKES
def test_aborted_records_are_not_seen_and_leave_a_gap(kafka, topic_prefix: str, intake: Make) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    producer = Producer({**kafka.connection, "transactional.id": topic_prefix})
    producer.init_transactions(30)
    for value, finish in ((b"a", producer.abort_transaction), (b"b", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(30)
        finish(30)
    reader = intake(_settings(kafka.bootstrap))
    reader.assign((topic, 0), 0)
    records, ends = _drain(reader, [(topic, 0)])
    reader.close()
    (part,) = records[topic, 0]
    assert list(part.values) == [b"b"]
    assert part.offsets.tolist() == [2]
    assert ends == {(topic, 0): 4}


@INTAKES
def test_a_position_outside_the_log_is_an_event(kafka, topic_prefix: str, intake: Make) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    reader = intake(_settings(kafka.bootstrap))
    reader.assign((topic, 0), 99)
    deadline = time.monotonic() + 60
    events: list[Event] = []
    while not events and time.monotonic() < deadline:
        events = [arrival for arrival in reader.consume(10, 0.1) if isinstance(arrival, Event)]
    reader.close()
    assert events[0].source == (topic, 0)
    assert events[0].code in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
    assert events[0].text


@INTAKES
def test_a_paused_partition_holds_still_until_it_is_resumed(kafka, topic_prefix: str, intake: Make) -> None:
    topic = _topic(kafka, f"{topic_prefix}.in")
    reader = intake(_settings(kafka.bootstrap))
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


def test_the_fastest_intake_there_is_gets_chosen(kafka) -> None:
    assert library_path() is not None
    intake = open_intake(_settings(kafka.bootstrap))
    intake.close()
    assert isinstance(intake, NativeIntake)


def test_a_wrong_setting_is_refused_by_name() -> None:
    with pytest.raises(ConsumerError, match=r"no\.such\.setting"):
        NativeIntake({"no.such.setting": 1})
