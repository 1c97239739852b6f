"""A canary goes in at a topic and comes out with a commit; outputs, positions and state are as without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from schemas.canary import CanarySeen
from schemas.columns import RawBatch
from schemas.topics import CANARIES, CANARIES_SEEN, checkpoint_spec, find_topic
from streams.canary import CanaryCarrier
from streams.config import EngineConfig
from streams.errors import OutputRefusedError
from streams.fetcher import Delivery, Fetcher
from streams.metrics import Metrics
from streams.preflight import canary_partitions
from streams.transactions import Record
from streams.unit import Unit
from tests.conftest import Kafka
from tests.streams.counting import stage
from tests.streams.harness import PARTITIONS, eventually, make_topics, progress_of, read, send
from tests.streams.test_unit import unit
from tidewatch.monitor.canary import FORGOTTEN_AFTER, CanaryBook, CanaryRunner
from tidewatch.topics import create

AGE, SENT = "tidewatch_canary_age_seconds", "tidewatch_canary_sent_timestamp_seconds"


def batch(*values: bytes) -> RawBatch:
    none = np.arange(len(values))
    return RawBatch(CANARIES, 3, -1, len(values), none, none, [None] * len(values), list(values))


def shown(registry: CollectorRegistry, name: str, app: str, stage: str, partition: str = "3") -> float | None:
    return registry.get_sample_value(name, {"app": app, "partition": partition, "stage": stage})


def test_the_newest_of_a_batch_is_published_once_and_its_age_is_shown() -> None:
    registry, now = CollectorRegistry(), [100.0]
    carrier = CanaryCarrier("app", 3, Metrics(registry), lambda: now[0])
    assert (carrier.waiting, carrier.records()) == (False, [])
    carrier.take(batch(b'{"sent":98000}', b'{"sent":99000}', b"no canary"))
    assert shown(registry, AGE, "app", "processed") == 1.0
    (record,) = carrier.records()
    assert (record.topic, record.partition) == (CANARIES_SEEN, 3)
    assert msgspec.json.decode(record.value or b"", type=CanarySeen) == CanarySeen("app", 3, 99_000)
    now[0] = 100.5
    carrier.committed()
    assert shown(registry, AGE, "app", "committed") == 1.5
    assert shown(registry, SENT, "app", "committed") == 99.0
    assert (carrier.waiting, carrier.records()) == (False, [])


def test_the_series_go_with_the_partition() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.canary("app", 3, "processed", 1.0, 2.0)
    metrics.owned([2])
    assert shown(registry, AGE, "app", "processed") is None


def test_where_the_topic_takes_no_canary_the_commit_goes_through_without() -> None:
    class Refusing:
        written: list[Record]

        def write(self, records: list[Record], *_: object) -> None:
            if any(record.topic == CANARIES_SEEN for record in records):
                raise OutputRefusedError("not allowed")
            self.written = records

    mine, writer = unit(), Refusing()
    mine._writer = writer  # type: ignore[assignment]
    mine._canary.take(batch(b'{"sent":1}'))
    mine._commit(with_state=False)
    assert [record.topic for record in writer.written] == ["tw.app.checkpoint"]
    mine._canary.take(batch(b'{"sent":2}'))
    assert not mine._canary.waiting


def test_a_book_keeps_the_newest_and_forgets_who_is_gone() -> None:
    registry = CollectorRegistry()
    book = CanaryBook(registry)
    book.saw("app", 3, "published", 10.0, 11.0)
    book.saw("app", 3, "published", 5.0, 12.0)
    book.show(12.0)
    assert (shown(registry, AGE, "app", "published"), shown(registry, SENT, "app", "published")) == (
        1.0,
        10.0,
    )
    book.show(10.0 + FORGOTTEN_AFTER)
    assert shown(registry, AGE, "app", "published") is None


@contextmanager
def working(config: EngineConfig, source: str, registry: CollectorRegistry) -> Iterator[Unit]:
    def deliver(delivery: Delivery) -> None:
        mine.submit(delivery)

    fetcher = Fetcher(config, deliver, lambda _: None, lambda _: None)
    errors: list[BaseException | None] = []
    stages = [stage(source)]
    mine = Unit(
        1, PARTITIONS, stages, config, fetcher, Metrics(registry), lambda _, error: errors.append(error)
    )
    fetcher.start()
    mine.start()
    try:
        yield mine
    finally:
        mine.stop(30)
        mine.join(60)
        fetcher.stop()
    assert errors == [None]


@pytest.mark.kafka
def test_canaries_go_through_a_partition_beside_its_records(kafka: Kafka, topic_prefix: str) -> None:
    admin = AdminClient(kafka.connection)
    assert canary_partitions(admin) in {0, PARTITIONS}
    create(
        admin, [find_topic(CANARIES), find_topic(CANARIES_SEEN), checkpoint_spec(topic_prefix, PARTITIONS)]
    )
    make_topics(kafka.bootstrap, topic_prefix)
    assert canary_partitions(admin) == PARTITIONS
    config = EngineConfig(topic_prefix, kafka.connection, canary_partitions=PARTITIONS)
    registry, far = CollectorRegistry(), CollectorRegistry()
    book, said = CanaryBook(far), list[str]()
    runner = CanaryRunner(kafka.connection, book, 0.3, said.append)
    began = time.time()
    with working(config, topic_prefix, registry):
        runner.start()
        first = eventually_shown(far, topic_prefix)
        send(kafka.bootstrap, topic_prefix, [b"1", b"2"], 1)
        eventually(lambda: len(read(kafka.bootstrap, f"{topic_prefix}.out", 1)) == 2, "no outputs")
        eventually(
            lambda: (shown(far, SENT, topic_prefix, "published", "1") or 0) > first, "no more canaries"
        )
    runner.stop()
    assert first >= began - 1
    for name in ("processed", "committed"):
        age = shown(registry, AGE, topic_prefix, name, "1")
        assert age is not None
        assert 0 <= age < 60
    assert (shown(far, AGE, "", "acknowledged", "1") or 0) >= 0
    assert said == []
    assert {
        topic for progress in progress_of(kafka.bootstrap, topic_prefix, 1) for topic in progress.positions
    } == {topic_prefix}


def eventually_shown(registry: CollectorRegistry, app: str) -> float:
    eventually(lambda: shown(registry, SENT, app, "published", "1") is not None, "no canary comes out")
    return shown(registry, SENT, app, "published", "1") or 0.0
