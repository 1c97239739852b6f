"""Back-pressure in bytes: a full partition leaves the fetch set, the others go on, whatever room the full ones hold."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streams.config import EngineConfig
from streams.fetcher import Delivery, Fetcher
from tests.streams.harness import eventually, send

pytestmark = pytest.mark.kafka

RECORDS, SIZE = 400, 1_000
PARTITION_BYTES, WORKER_BYTES = 50_000, 120_000


class Sink:
    """Takes deliveries; finishes at once those of partitions that are not stuck."""

    def __init__(self, config: EngineConfig, stuck: set[int]) -> None:
        self.stuck = stuck
        self.received: dict[int, int] = defaultdict(int)
        self.held: list[Delivery] = []
        self.buffered = 0
        self.lock = threading.Lock()
        self.errors: list[BaseException] = []
        self.fetcher = Fetcher(config, self.deliver, self.tell, self.errors.append)

    def tell(self, size: int) -> None:
        self.buffered = size

    def deliver(self, delivery: Delivery) -> None:
        with self.lock:
            self.received[delivery.batch.partition] += len(delivery.batch)
            if delivery.batch.partition in self.stuck:
                self.held.append(delivery)
            else:
                self.fetcher.done(delivery)

    def let_go(self) -> None:
        with self.lock:
            self.stuck = set()
            for delivery in self.held:
                self.fetcher.done(delivery)


@pytest.fixture
def topic(kafka: Any, topic_prefix: str) -> str:
    name = f"{topic_prefix}.in"
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(name, 4, 1)])[name].result(30)
    for partition in range(4):
        send(kafka.bootstrap, name, [b"x" * SIZE] * RECORDS, partition)
    return name


@pytest.fixture
def config(kafka: Any) -> EngineConfig:
    return EngineConfig(
        "app", kafka.connection, partition_buffer_bytes=PARTITION_BYTES, worker_buffer_bytes=WORKER_BYTES,
        fetch_records=10,
    )  # fmt: skip


def running(sink: Sink, topic: str) -> Iterator[None]:
    sink.fetcher.start()
    for partition in range(4):
        sink.fetcher.add((topic, partition), 0)
    yield
    sink.fetcher.stop()
    assert sink.errors == []


@pytest.mark.parametrize("stuck", [{2}, {0, 1, 2}])
def test_full_partitions_wait_and_the_others_go_on(config: EngineConfig, topic: str, stuck: set[int]) -> None:
    sink = Sink(config, stuck)
    run = running(sink, topic)
    next(run)
    free = set(range(4)) - stuck
    eventually(lambda: all(sink.received[p] == RECORDS for p in free), "the free ones do not go on")
    room = PARTITION_BYTES // SIZE
    assert all(0 < sink.received[p] <= room + 2 * config.fetch_records for p in stuck)
    assert sink.buffered <= WORKER_BYTES + 4 * config.fetch_records * (SIZE + 100)
    sink.let_go()
    eventually(lambda: all(sink.received[p] == RECORDS for p in range(4)), "the full ones do not go on")
    eventually(lambda: sink.buffered == 0, "bytes are never given back")
    next(run, None)


def test_a_position_that_the_log_does_not_have_is_reported(config: EngineConfig, topic: str) -> None:
    sink = Sink(config, {0})
    sink.fetcher.start()
    sink.fetcher.add((topic, 0), 10 * RECORDS)
    eventually(lambda: any(delivery.error for delivery in sink.held), "nothing is said")
    sink.fetcher.stop()
