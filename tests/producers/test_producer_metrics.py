"""A producer's counts as metrics: what was accepted, delivered, given up and left out, each from 0 on."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from producers.errors import UndeliveredError
from producers.metrics import register
from producers.producer import EventProducer, ProducerLimits
from producers.rejects import RejectReason, Rejects
from tests.conftest import Kafka
from tests.streams.harness import make_topics


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"tidewatch_producer_{name}_total", {"producer": "p", **labels})


def test_what_no_broker_took_is_an_error_by_its_code_and_rows_left_out_are_told() -> None:
    registry, rejects = CollectorRegistry(), Rejects()
    limits = ProducerLimits(delivery_timeout=0.2)
    producer = EventProducer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "t", limits=limits)
    register("p", producer, registry, rejects)
    assert value(registry, "errors", stage="deliver", code="timed_out") == 0
    assert value(registry, "discarded", reason="bad_time") == 0
    producer.send_bytes(b"k", b"v")
    rejects.add(RejectReason.BAD_TIME, "x", 3)
    with pytest.raises(UndeliveredError):
        producer.close(30)
    assert (value(registry, "received"), value(registry, "sent")) == (1, 0)
    assert value(registry, "errors", stage="deliver", code="timed_out") == 1
    assert value(registry, "discarded", reason="bad_time") == 3


@pytest.mark.kafka
def test_what_was_delivered_is_counted(kafka: Kafka, topic_prefix: str) -> None:
    make_topics(kafka.bootstrap, topic_prefix)
    registry = CollectorRegistry()
    with EventProducer(kafka.connection, topic_prefix) as producer:
        register("p", producer, registry)
        for number in range(10):
            producer.send_bytes(b"%d" % number, b"v")
    assert (value(registry, "received"), value(registry, "sent")) == (10, 10)
