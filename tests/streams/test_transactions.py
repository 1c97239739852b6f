"""The transactional writer on a real broker: all or nothing, fenced, refused, and never waiting for ever."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streams.errors import FencedError, OutputRefusedError, StoppingError
from streams.transactions import Record, TransactionalWriter
from tests.streams.harness import read

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka: Any, topic_prefix: str) -> str:
    name = f"{topic_prefix}.out"
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    return name


def opened(kafka: Any, name: str) -> TransactionalWriter:
    writer = TransactionalWriter(kafka.connection, name, 15.0, 0)
    writer.open()
    return writer


def test_a_later_owner_fences_the_earlier_one(kafka: Any, topic: str) -> None:
    first = opened(kafka, topic)
    first.write([Record(topic, 0, None, b"1")])
    second = opened(kafka, topic)
    with pytest.raises(FencedError):
        first.write([Record(topic, 0, None, b"zombie")])
    second.write([Record(topic, 0, None, b"2")])
    assert read(kafka.bootstrap, topic, 0) == [b"1", b"2"]


def test_a_record_that_the_broker_never_takes_is_refused_and_nothing_of_its_transaction_seen(
    kafka: Any, topic: str
) -> None:
    writer = opened(kafka, topic)
    incompressible = np.random.default_rng(1).bytes(2_000_000)
    with pytest.raises(OutputRefusedError, match=r"max\.message\.bytes") as refusal:
        writer.write([Record(topic, 0, None, b"1"), Record(topic, 0, None, incompressible)])
    assert refusal.value.too_large
    writer.write([Record(topic, 0, None, b"2")])
    assert read(kafka.bootstrap, topic, 0) == [b"2"]


def test_a_topic_that_does_not_exist_is_refused(kafka: Any, topic: str) -> None:
    writer = opened(kafka, topic)
    with pytest.raises(OutputRefusedError, match="check that the output topics exist"):
        writer.write([Record(f"{topic}.none", 0, None, b"1")])
    writer.write([Record(topic, 0, None, b"2")])
    assert read(kafka.bootstrap, topic, 0) == [b"2"]


def test_waiting_for_a_cluster_ends_when_told_to() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        writer = TransactionalWriter({"bootstrap.servers": address}, "x", 15.0, 0, lambda: False)
        with pytest.raises(StoppingError):
            writer.open()
