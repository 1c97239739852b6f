"""The producer against librdkafka's own mock cluster: no broker needed, every path reachable."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from confluent_kafka import KafkaException

from producers.cloudevents import CloudEvents, event_id
from producers.errors import BackPressureError, EventRejectedError, ProducerFailedError, UndeliveredError
from producers.loader import load
from producers.producer import EventProducer, Failure, ProducerLimits, librdkafka_settings
from schemas.events import HospitalEvent, SensorReading

MOCK: dict[str, str | int] = {"test.mock.num.brokers": 1, "log_level": 3}
NOWHERE: dict[str, str | int] = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}


def reading(i: int = 0) -> SensorReading:
    return SensorReading(
        sensor_id=f"s{i}", site="a", quantity="pm25", unit="ug/m3", value=1.5, time=1_000 + i
    )


def test_everything_accepted_is_delivered() -> None:
    with EventProducer(MOCK, "t") as producer:
        for i in range(3_000):
            producer.send(reading(i))
        counts = producer.flush()
    assert (counts.accepted, counts.delivered, counts.failed, counts.pending) == (3_000, 3_000, 0, 0)


def test_a_full_buffer_makes_the_sender_wait_and_drops_nothing() -> None:
    limits = ProducerLimits(buffer_kbytes=2, buffer_events=10, linger=0.0)
    with EventProducer(MOCK, "t", limits=limits) as producer:
        for i in range(500):
            producer.send_bytes(b"k", b"%d" % i)
        assert producer.flush().delivered == 500


def test_a_full_buffer_is_refused_after_the_patience_given() -> None:
    ticks = iter(range(100))
    limits = ProducerLimits(buffer_events=5, max_block=2.0, delivery_timeout=30.0)
    producer = EventProducer(NOWHERE, "t", limits=limits, monotonic=lambda: float(next(ticks)))
    for _ in range(5):
        producer.send(reading())
    with pytest.raises(BackPressureError, match="2"):
        producer.send(reading())
    assert producer.counts.accepted == 5
    with pytest.raises(UndeliveredError):
        producer.close(0.0)


def test_a_broker_away_is_reported_event_by_event() -> None:
    failures: list[Failure] = []
    producer = EventProducer(
        NOWHERE, "t", limits=ProducerLimits(delivery_timeout=0.2), on_failure=failures.append
    )
    for i in range(3):
        producer.send(reading(i))
    with pytest.raises(UndeliveredError) as caught:
        producer.flush(5.0)
    assert (caught.value.pending, caught.value.failed, caught.value.topic) == (0, 3, "t")
    assert caught.value.reason
    assert [failure.key for failure in failures] == [b"s0", b"s1", b"s2"]
    assert {failure.code for failure in failures} == {"_MSG_TIMED_OUT"}


def test_a_flush_too_short_tells_what_is_pending() -> None:
    producer = EventProducer(NOWHERE, "t", limits=ProducerLimits(delivery_timeout=60.0))
    producer.send(reading())
    with pytest.raises(UndeliveredError) as caught:
        producer.flush(0.0)
    assert (caught.value.pending, caught.value.failed) == (1, 0)
    with pytest.raises(UndeliveredError):
        producer.close(0.0)
    assert (producer.counts.pending, producer.counts.failed) == (0, 1)


def test_leaving_with_an_exception_keeps_that_exception() -> None:
    failures: list[Failure] = []
    limits = ProducerLimits(delivery_timeout=60.0)
    producer = EventProducer(NOWHERE, "t", limits=limits, on_failure=failures.append)
    producer.send(reading())
    with pytest.raises(KeyError), producer:
        raise KeyError
    assert len(failures) == 1


def test_an_oversized_event_is_refused_and_others_go_on() -> None:
    with EventProducer(MOCK, "t", limits=ProducerLimits(max_event_bytes=2_000)) as producer:
        with pytest.raises(EventRejectedError):
            producer.send_bytes(b"k", b"x" * 10_000)
        producer.send_bytes(b"k", b"x")
        assert producer.flush().accepted == 1


def test_a_closed_producer_accepts_nothing() -> None:
    producer = EventProducer(MOCK, "t")
    producer.close()
    with pytest.raises(ProducerFailedError, match="closed"):
        producer.send(reading())


def test_an_unknown_event_type_has_no_key() -> None:
    producer = EventProducer(MOCK, "t")
    with pytest.raises(TypeError, match="send_bytes"):
        producer.send("text")  # type: ignore[arg-type]


def test_check_says_that_no_broker_answers() -> None:
    producer = EventProducer(NOWHERE, "t")
    with pytest.raises(ProducerFailedError, match="no broker"):
        producer.check(0.2)


def test_the_guarantees_cannot_be_switched_off_by_the_connection() -> None:
    settings = librdkafka_settings(
        {"acks": 0, "partitioner": "random", "compression.type": "zstd"}, ProducerLimits()
    )
    assert (settings["acks"], settings["partitioner"], settings["enable.idempotence"]) == (
        "all",
        "murmur2_random",
        True,
    )
    assert settings["compression.type"] == "zstd"


def test_an_unknown_setting_is_refused_at_once() -> None:
    with pytest.raises(KafkaException):
        EventProducer({"no.such.setting": 1}, "t")


def test_cloud_event_headers_of_a_reading() -> None:
    headers = dict(CloudEvents("/city").headers(reading(7)))
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": "s7/pm25/1007",
        "ce_source": "/city",
        "ce_type": "tidewatch.SensorReading.v1",
        "ce_time": "1970-01-01T00:00:01.007Z",
        "content-type": "application/json",
    }


def test_the_id_is_the_same_for_both_forms_of_a_time() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, 7_000, tzinfo=UTC)
    text = SensorReading(sensor_id="s7", site="a", quantity="pm25", unit="ug/m3", value=1.5, time=moment)
    assert event_id(text) == event_id(reading(7))


def test_the_id_of_a_hospital_event_is_its_own() -> None:
    event = HospitalEvent(
        id="9", source="ward", kind="condition", patient="p", code="R50", system="icd-10", time=1
    )
    assert event_id(event) == "ward/9"


def test_the_loader_waits_for_room_and_counts() -> None:
    limits = ProducerLimits(buffer_events=50, linger=0.0)
    records = [(b"k%d" % i, b"v") for i in range(1_000)]
    assert load(MOCK, "t", records, limits=limits).delivered == 1_000


def test_the_loader_tells_what_did_not_arrive() -> None:
    with pytest.raises(UndeliveredError) as caught:
        load(NOWHERE, "t", [(b"k", b"v")] * 4, limits=ProducerLimits(delivery_timeout=0.2))
    assert (caught.value.pending, caught.value.failed) == (0, 4)
