"""The gateway on a real Kafka: what it takes is on the topic, on the partition of its key, recognisable if sent twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from prometheus_client import CollectorRegistry

from producers.errors import BackPressureError, MappingError, ProducerFailedError
from producers.gateway import Gateway, GatewayLimits
from producers.gateway_metrics import GatewayCollector
from producers.spool import SpoolLimits
from producers.spool_entries import Entry, scan
from schemas.codec import Decoder
from schemas.columns import Columns, RawBatch
from schemas.event_types import SENSOR_READING
from schemas.events import SensorReading
from tests.conftest import Kafka
from tests.schemas.batches import T0, reading
from tests.streams.harness import read_messages
from tidewatch.topics import wait_until_known

NOWHERE = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}
PARTITIONS = 3
PATIENCE = 60.0


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> Iterator[str]:
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(topic_prefix, PARTITIONS, 1)])[topic_prefix].result(30)
    wait_until_known(admin, [topic_prefix])
    yield topic_prefix
    admin.delete_topics([topic_prefix])[topic_prefix].result(30)


def line(i: int, **changes: Any) -> bytes:
    return json.dumps(reading(sensor_id=f"s-{i % 7}", value=float(i % 50), time=T0 + i) | changes).encode()


def entries_of(path: Path) -> list[Entry]:
    with path.open("rb") as file:
        return list(scan(file))


def on_topic(kafka: Kafka, topic: str) -> list[Columns]:
    """Everything on the topic as the processors read it, one batch a partition."""
    decode, found = Decoder(SENSOR_READING, partitions=PARTITIONS), []
    for partition in range(PARTITIONS):
        messages = read_messages(kafka.bootstrap, topic, partition)
        types = [dict(message.headers() or [])["content-type"].decode() for message in messages]
        times = np.array([message.timestamp()[1] for message in messages], np.int64)
        offsets = np.array([message.offset() for message in messages], np.int64)
        keys, values = [m.key() for m in messages], [m.value() for m in messages]
        found.append(
            decode(RawBatch(topic, partition, 0, len(messages), offsets, times, keys, values, types))
        )
    return found


def times_of(found: list[Columns]) -> list[int]:
    return sorted(t for columns in found for t in columns.event_time.tolist())


def test_everything_taken_is_on_the_partition_of_its_key(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    with Gateway(kafka.connection, topic, "g", tmp_path, limits=GatewayLimits(batch_rows=100)) as gateway:
        gateway.send_lines([line(i) for i in range(250)])
        gateway.send(
            SensorReading(
                sensor_id="s-1", site="kew", quantity="temperature", unit="degF", value=50.0, time=T0 + 250
            )
        )
        table = pa.table({name: [value] for name, value in reading(time=T0 + 251).items()})
        gateway.send_table(table)
        counts = gateway.close(PATIENCE)
        assert gateway.empty
    assert (counts.accepted, counts.delivered, counts.passed_on, counts.pending) == (252, 252, 0, 0)
    found = on_topic(kafka, topic)
    assert all(columns.rejected == () for columns in found)
    assert times_of(found) == list(range(T0, T0 + 252))
    for columns in found:
        numbers = [sent.number for sent in columns.sent]
        assert numbers == sorted(set(numbers))
        # Rows of a record that are not rejected are on their partition; those of a sensor are in order.
        sensor = columns.labels["sensor_id"]
        for code in set(sensor.codes.tolist()):
            times = columns.event_time[sensor.codes == code]
            assert (np.diff(times[times < T0 + 250]) > 0).all()
    assert {sent.stream for columns in found for sent in columns.sent} == {
        json.loads((tmp_path / "spool.json").read_bytes())["stream"]
    }


def test_what_is_no_reading_is_passed_on_as_it_came(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    bad = [b"not json", line(1, unit="furlong"), line(2, value="warm")]
    with Gateway(kafka.connection, topic, "g", tmp_path) as gateway:
        gateway.send_lines([line(0), *bad, line(3)])
        counts = gateway.close(PATIENCE)
    assert (counts.accepted, counts.passed_on, counts.delivered) == (2, 3, 5)
    found = on_topic(kafka, topic)
    assert times_of(found) == [T0, T0 + 3]
    rejected = [each for columns in found for each in columns.rejected]
    assert sorted(each.value or b"" for each in rejected) == sorted(bad)
    assert sorted(each.code for each in rejected) == ["malformed", "unknown_unit", "wrong_type"]
    # They are numbered too, so that a letter is not written twice.
    assert sum(len(columns.sent) for columns in found) > len(rejected)


def test_a_batch_that_is_not_full_goes_after_its_linger(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    with Gateway(kafka.connection, topic, "g", tmp_path, limits=GatewayLimits(linger=0.1)) as gateway:
        gateway.send_lines([line(0)])
        deadline = time.monotonic() + PATIENCE
        while not gateway.empty and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gateway.counts.delivered == 1


def test_what_an_earlier_life_left_on_disk_is_delivered_by_the_next(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    with Gateway(NOWHERE, topic, "g", tmp_path, partitions=PARTITIONS, connect_timeout=0.1) as away:
        away.send_lines([line(i) for i in range(10)])
        counts = away.close(0.0)
        assert not away.empty
    assert (counts.accepted, counts.delivered, counts.pending) == (10, 0, 10)
    with Gateway(kafka.connection, topic, "g", tmp_path) as gateway:
        gateway.send_lines([line(10)])
        assert gateway.wait_until_delivered(PATIENCE)
    assert times_of(on_topic(kafka, topic)) == list(range(T0, T0 + 11))


def test_a_gateway_that_forgot_what_had_arrived_sends_it_again_under_the_same_numbers(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    with Gateway(kafka.connection, topic, "g", tmp_path) as gateway:
        gateway.send_lines([line(i) for i in range(5)])
        assert gateway.wait_until_delivered(PATIENCE)
        (tmp_path / "acked").rename(tmp_path / "lost")
    first = on_topic(kafka, topic)
    with Gateway(kafka.connection, topic, "g", tmp_path) as gateway:
        assert gateway.wait_until_delivered(PATIENCE)
    again = on_topic(kafka, topic)
    for before, after in zip(first, again, strict=True):
        names = [(sent.stream, sent.number) for sent in before.sent]
        assert [(sent.stream, sent.number) for sent in after.sent] == names * 2


def test_what_the_broker_refuses_is_sent_once_it_takes_it_and_nothing_overtakes_it(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    set_largest(kafka, topic, 1_000)
    with Gateway(kafka.connection, topic, "g", tmp_path, limits=GatewayLimits(batch_rows=3_000)) as gateway:
        gateway.send_lines([line(i) for i in range(3_000)])
        deadline = time.monotonic() + PATIENCE
        while gateway.problem is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gateway.problem
        gateway.send_lines([line(i) for i in range(3_000, 3_010)])
        gateway.flush()
        set_largest(kafka, topic, 1_000_000)
        assert gateway.wait_until_delivered(PATIENCE)
    found = on_topic(kafka, topic)
    assert sorted(set(times_of(found))) == list(range(T0, T0 + 3_010))
    for columns in found:
        first: dict[int, int] = {}
        for sent in columns.sent:
            first.setdefault(sent.number, sent.offset)
        assert sorted(first.values()) == [first[number] for number in sorted(first)]


def set_largest(kafka: Kafka, topic: str, size: int) -> None:
    change = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    admin = AdminClient(kafka.connection)  # held until it is done
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def test_a_full_spool_makes_the_sender_wait_and_loses_nothing(tmp_path: Path) -> None:
    limits = GatewayLimits(batch_rows=200, linger=60.0, max_block=0.2)
    spool = SpoolLimits(max_bytes=20_000, segment_bytes=10_000)
    gateway = Gateway(
        NOWHERE, "t", "g", tmp_path, partitions=1, limits=limits, spool_limits=spool, connect_timeout=0.1
    )

    def fill() -> None:
        for first in range(0, 10_000, 200):
            gateway.send_lines([line(first + i) for i in range(200)])

    with pytest.raises(BackPressureError, match="no room came"):
        fill()
    counts = gateway.counts
    assert 0 < counts.accepted < 10_000
    assert counts.pending == counts.accepted + 200
    with pytest.raises(BackPressureError):
        gateway.close(0.0)


def test_a_topic_that_is_not_there_and_names_that_cannot_be(kafka: Kafka, tmp_path: Path) -> None:
    with pytest.raises(ProducerFailedError, match="no-such"):
        Gateway(kafka.connection, "no-such-topic", "g", tmp_path)
    with pytest.raises(ProducerFailedError, match="no name"):
        Gateway(kafka.connection, "t", "a b", tmp_path)


def test_what_it_counts_can_be_scraped(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with Gateway(NOWHERE, "t", "g", tmp_path, partitions=1, connect_timeout=0.1) as gateway:
        registry.register(GatewayCollector(gateway))
        gateway.send_lines([line(0), b"not json"])
        gateway.flush()
        found = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    size = found.pop("tidewatch_gateway_spool_bytes")
    assert size == sum(path.stat().st_size for path in tmp_path.glob("*.seg"))
    assert found == {
        "tidewatch_producer_received_total": 2, "tidewatch_producer_sent_total": 0,
        "tidewatch_producer_discarded_total": 0, "tidewatch_gateway_restarts_total": 0, "tidewatch_gateway_pending": 2,
    }  # fmt: skip


def test_a_table_of_any_size_becomes_batches(tmp_path: Path) -> None:
    n = 120_000
    columns = {name: pa.array([value] * n) for name, value in reading().items()}
    columns |= {"sensor_id": pa.array([f"s-{i}" for i in range(n)]), "time": pa.array(np.arange(T0, T0 + n))}
    chunks = [pa.table(columns).slice(first, 50_000) for first in range(0, n, 50_000)]
    table = pa.concat_tables(
        [chunk.set_column(1, "site", chunk["site"].dictionary_encode()) for chunk in chunks]
    )
    limits = GatewayLimits(batch_rows=50_000)
    with Gateway(NOWHERE, "t", "g", tmp_path, partitions=2, limits=limits, connect_timeout=0.1) as gateway:
        gateway.send_table(table)
        assert gateway.counts.accepted == n
        entries = [entry for path in tmp_path.glob("*.seg") for entry in entries_of(path)]
    assert sum(entry.rows for entry in entries) == n
    assert all(len(entry.value) <= limits.max_record_bytes for entry in entries)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    with Gateway(NOWHERE, "t", "g", tmp_path, partitions=1, connect_timeout=0.1) as gateway:
        with pytest.raises(MappingError, match="sensor_id"):
            gateway.send_table(pa.table({"a": [1]}))
        assert gateway.empty
