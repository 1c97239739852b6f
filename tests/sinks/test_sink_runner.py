"""The sink runner on a real broker: killed, refused or rebalanced, it loses nothing and doubles nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from schemas.canary import CanarySeen
from schemas.results import WindowSummary
from schemas.topics import CANARIES_SEEN, find_topic
from sinks.contract import Result, Sink
from sinks.decoding import decoders
from sinks.errors import BackPressureError, SinkError, TopicError
from sinks.metrics import SinkMetrics
from sinks.runner import SinkLimits, SinkRunner
from tests.conftest import Kafka
from tests.sinks.results import make_topic, publish, summary
from tests.sinks.sqlite_sink import SqliteSink, stored
from tests.streams.harness import until
from tidewatch.topics import create

COUNT = 1_000
EXPECTED = {r.id: msgspec.json.encode(r) for r in map(summary, range(COUNT))}


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> str:
    make_topic(kafka.connection, topic_prefix, 4)
    return topic_prefix


class Refusing(SqliteSink):
    """A target that is away for its first so many writes, after taking half of the batch."""

    def __init__(self, path: str, times: int, seconds: float = 0.05) -> None:
        super().__init__(path)
        self.times, self.seconds, self.asked = times, seconds, 0

    def write(self, batch: Sequence[Result]) -> int:
        self.asked += 1
        if self.asked <= self.times:
            self._upsert(batch[: len(batch) // 2])
            raise BackPressureError("the database is away", code="unavailable", retry_after=self.seconds)
        return super().write(batch)


@contextmanager
def running(
    kafka: Kafka, topic: str, sink: Sink, registry: CollectorRegistry | None = None
) -> Iterator[threading.Thread]:
    runner = SinkRunner(
        kafka.connection, topic, decoders([topic], WindowSummary), sink,
        SinkMetrics(registry or CollectorRegistry(), "sqlite"), limits=SinkLimits(100, 0.1),
    )  # fmt: skip
    stopping = Event()
    thread = threading.Thread(target=runner.run, args=(stopping,))
    thread.start()
    try:
        yield thread
    finally:
        stopping.set()
        thread.join(60)
        assert not thread.is_alive()


def committed(kafka: Kafka, topic: str) -> int:
    consumer = Consumer({**kafka.connection, "group.id": topic})
    places = consumer.committed([TopicPartition(topic, p) for p in range(4)], timeout=30)
    consumer.close()
    return sum(max(place.offset, 0) for place in places)


def has_all(path: str) -> Callable[[], bool]:
    return lambda: Path(path).exists() and len(stored(path)) >= COUNT


@pytest.mark.kafka
@pytest.mark.parametrize("point", ["before", "middle", "after"])
def test_a_kill_at_any_point_loses_and_doubles_nothing(
    kafka: Kafka, topic: str, tmp_path: Path, point: str
) -> None:
    publish(kafka.connection, topic, EXPECTED.values())
    path = str(tmp_path / "results.db")
    command = [sys.executable, "-m", "tests.sinks.sqlite_sink", kafka.bootstrap, topic, path, point]
    assert subprocess.run(command, timeout=120, check=False).returncode == -9
    assert 0 < len(stored(path)) < COUNT
    with running(kafka, topic, SqliteSink(path)):
        until(has_all(path), 120, "results are missing")
        until(lambda: committed(kafka, topic) == COUNT, 60, "offsets are not committed")
    assert stored(path) == EXPECTED


@pytest.mark.kafka
def test_back_pressure_offers_the_same_batch_again_and_reading_waits(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    publish(kafka.connection, topic, [*EXPECTED.values(), b"{", b"", b'{"id": 1}'])
    registry, path = CollectorRegistry(), str(tmp_path / "results.db")
    sink = Refusing(path, times=4)
    value = registry.get_sample_value
    with running(kafka, topic, sink, registry):
        until(lambda: value("tidewatch_sink_sent_total", {"sink": "sqlite"}) == COUNT, 120, "not all sent")
        until(lambda: committed(kafka, topic) == COUNT + 3, 60, "offsets are not committed")
    assert stored(path) == EXPECTED
    assert value("tidewatch_sink_received_total", {"sink": "sqlite"}) == COUNT + 3
    errors = {"sink": "sqlite", "stage": "write", "code": "unavailable"}
    assert value("tidewatch_sink_errors_total", errors) == 4
    for code in ("malformed", "empty", "wrong_type"):
        labels = {"sink": "sqlite", "stage": "decode", "code": code}
        assert value("tidewatch_sink_errors_total", labels) == 1
    assert value("tidewatch_sink_discarded_total", {"sink": "sqlite", "reason": "unreadable"}) == 3
    assert value("tidewatch_sink_waiting", {"sink": "sqlite"}) == 0


@pytest.mark.kafka
def test_a_member_that_joins_while_another_waits_changes_nothing(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    publish(kafka.connection, topic, EXPECTED.values())
    first, path = Refusing(str(tmp_path / "results.db"), times=30, seconds=0.2), str(tmp_path / "results.db")
    with running(kafka, topic, first):
        until(lambda: first.asked > 0, 60, "the first member took nothing")
        with running(kafka, topic, SqliteSink(path)):
            until(has_all(path), 120, "results are missing")
            until(lambda: committed(kafka, topic) == COUNT, 60, "offsets are not committed")
    assert stored(path) == EXPECTED


@pytest.mark.kafka
def test_aborted_results_are_never_written(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    producer = Producer({**kafka.connection, "transactional.id": topic})
    producer.init_transactions(30)
    for number, end in ((1, producer.abort_transaction), (0, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, msgspec.json.encode(summary(number)), partition=0)
        end(30)
    path = str(tmp_path / "results.db")
    with running(kafka, topic, SqliteSink(path)):
        until(lambda: Path(path).exists() and len(stored(path)) > 0, 60, "nothing was written")
    assert stored(path) == {summary(0).id: EXPECTED[summary(0).id]}


@pytest.mark.kafka
def test_a_sink_that_cannot_go_on_ends_the_runner_and_commits_nothing(kafka: Kafka, topic: str) -> None:
    class Broken(SqliteSink):
        def write(self, batch: Sequence[Result]) -> int:
            raise SinkError(f"the table has other columns than these {len(batch)} results")

    publish(kafka.connection, topic, EXPECTED.values())
    runner = SinkRunner(
        kafka.connection, topic, decoders([topic], WindowSummary), Broken(":memory:"),
        SinkMetrics(CollectorRegistry(), "sqlite"),
    )  # fmt: skip
    with pytest.raises(SinkError, match="other columns"):
        runner.run(Event())
    assert committed(kafka, topic) == 0


@pytest.mark.kafka
def test_a_missing_topic_is_told(kafka: Kafka, topic_prefix: str) -> None:
    runner = SinkRunner(
        kafka.connection, "g", decoders([topic_prefix], WindowSummary), SqliteSink(":memory:"),
        SinkMetrics(CollectorRegistry(), "sqlite"),
    )  # fmt: skip
    with pytest.raises(TopicError, match="topics create"):
        runner.run(Event())


@pytest.mark.kafka
def test_a_canary_tells_how_old_what_it_came_with_was(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    create(AdminClient(kafka.connection), [find_topic(CANARIES_SEEN)])
    registry, path = CollectorRegistry(), str(tmp_path / "results.db")
    publish(kafka.connection, CANARIES_SEEN, [msgspec.json.encode(CanarySeen(topic, 2, 1_000)), b"none"])
    publish(kafka.connection, topic, EXPECTED.values())
    labels = {"app": topic, "partition": "2", "stage": "sqlite"}
    value = registry.get_sample_value
    with running(kafka, topic, SqliteSink(path), registry):
        until(has_all(path), 120, "results are missing")
        until(
            lambda: value("tidewatch_canary_sent_timestamp_seconds", labels) == 1.0,
            60,
            "the canary is not shown",
        )
    assert (value("tidewatch_canary_age_seconds", labels) or 0) > 1e6
    assert value("tidewatch_sink_received_total", {"sink": "sqlite"}) == COUNT
