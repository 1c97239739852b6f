"""The monitor on a real broker: what it shows is what is there, and it outlives a Kafka that goes away."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from schemas.results import Alert
from schemas.topics import result_topics
from tests.tidewatch.monitor.test_site_values import summary
from tidewatch.monitor.run import run_monitor


class Shown:
    """The series of a running monitor."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, name: str, **labels: str) -> float | None:
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        for family in families:
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def until(self, condition: Callable[[float], bool], name: str, **labels: str) -> float:
        deadline = time.monotonic() + 60
        while True:
            value = self.value(name, **labels)
            if value is not None and condition(value):
                return value
            assert time.monotonic() < deadline, f"{name}{labels} stays {value}"
            time.sleep(0.2)


@contextmanager
def monitor(connection: dict[str, str]) -> Iterator[Shown]:
    said: list[str] = []
    stopping = threading.Event()
    options = {"host": "127.0.0.1", "port": 0, "interval": 0.3, "window": 3.0, "budget": 50, "canary": 0.0}
    thread = threading.Thread(
        target=run_monitor, args=(connection,), kwargs={**options, "stopping": stopping, "say": said.append}
    )
    thread.start()
    try:
        while not said:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Shown(re.search(r"http://\S+", said[0]).group())  # type: ignore[union-attr]
    finally:
        stopping.set()
        thread.join(30)
        assert not thread.is_alive()


def create(kafka: Any, *topics: str) -> None:
    admin = AdminClient(kafka.connection)
    missing = [topic for topic in topics if topic not in admin.list_topics(timeout=30).topics]
    if missing:
        for future in admin.create_topics([NewTopic(topic, 4, 1) for topic in missing]).values():
            future.result(30)


@pytest.mark.kafka
def test_lag_replicas_and_verdicts_are_those_of_the_cluster(kafka: Any, topic_prefix: str) -> None:
    create(kafka, topic_prefix)
    producer = Producer(kafka.connection)
    for _ in range(10):
        producer.produce(topic_prefix, b"x", partition=1)
    producer.flush()
    consumer = Consumer({**kafka.connection, "group.id": topic_prefix})
    consumer.commit(offsets=[TopicPartition(topic_prefix, 1, 4)], asynchronous=False)
    place = {"topic": topic_prefix, "partition": "1"}
    mine = {"consumergroup": topic_prefix, **place}
    with monitor(kafka.connection) as shown:
        assert shown.until(lambda v: v == 6, "kafka_consumergroup_lag", **mine) == 6
        assert shown.value("kafka_topic_partition_current_offset", **place) == 10
        assert shown.value("kafka_topic_partition_oldest_offset", **place) == 0
        assert shown.value("kafka_topic_partition_in_sync_replica", **place) == 1
        assert shown.value("kafka_topic_partition_leaderless", **place) == 0
        assert shown.value("kafka_brokers") == 1
        shown.until(lambda v: v == 1, "tidewatch_consumergroup_verdict", **mine, verdict="stop")
        shown.until(lambda v: v > 0.5, "tidewatch_consumergroup_lag_seconds", **mine)
        consumer.commit(offsets=[TopicPartition(topic_prefix, 1, 10)], asynchronous=False)
        shown.until(lambda v: v == 0, "kafka_consumergroup_lag", **mine)
        shown.until(lambda v: v == 1, "tidewatch_consumergroup_verdict", **mine, verdict="ok")
        admin = AdminClient(kafka.connection)
        admin.delete_topics([topic_prefix])[topic_prefix].result(30)
        deadline = time.monotonic() + 60
        while shown.value("kafka_topic_partition_current_offset", **place) is not None:
            assert time.monotonic() < deadline, "series of a deleted topic stay"
            time.sleep(0.2)
    consumer.close()


@pytest.mark.kafka
def test_values_by_site_and_open_alerts_follow_the_result_topics(kafka: Any, topic_prefix: str) -> None:
    create(kafka, *(topic.name for topic in result_topics()))
    site = {"site": topic_prefix, "quantity": "temperature"}
    alert = Alert(
        id="a|0", alert_id=topic_prefix, pipeline="p", rule=topic_prefix, kind="threshold", group="a", labels={},
        state="open", severity="critical", revision=0, opened_at=0, time=0, partition=0, offset=0, value=1.0,
        threshold=0.5, message="m",
    )  # fmt: skip
    with monitor(kafka.connection) as shown:
        shown.until(lambda v: v >= 1, "tidewatch_monitor_looks_total", outcome="answered")
        producer = Producer(kafka.connection)
        deadline = time.monotonic() + 60
        while shown.value("tidewatch_site_mean", **site) != 2.0:
            # Sent again and again: the monitor reads windows from the moment on at which it began to follow.
            for group, value in (("a", 1.0), ("b", 3.0)):
                encoded = msgspec.json.encode(summary(group, 0, [value], site=topic_prefix))
                producer.produce("iot.sensor.window.v1", encoded, partition=0)
            producer.flush()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert shown.value("tidewatch_site_readings", **site) == 2
        assert shown.value("tidewatch_site_quantile", **site, quantile="0.95") == pytest.approx(3.0, rel=0.02)
        producer.produce("iot.sensor.alert.v1", msgspec.json.encode(alert), partition=0)
        producer.flush()
        shown.until(lambda v: v == 1, "tidewatch_alerts_open", rule=topic_prefix, severity="critical")
        closed = msgspec.structs.replace(alert, id="a|1", state="close", revision=1)
        producer.produce("iot.sensor.alert.v1", msgspec.json.encode(closed), partition=0)
        producer.flush()
        deadline = time.monotonic() + 60
        while shown.value("tidewatch_alerts_open", rule=topic_prefix) is not None:
            assert time.monotonic() < deadline, "a closed alert stays open"
            time.sleep(0.2)


def test_a_kafka_that_does_not_answer_is_counted_and_asked_again() -> None:
    with monitor({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": "300"}) as shown:
        assert shown.value("kafka_brokers") == 0
        shown.until(lambda v: v >= 1, "tidewatch_monitor_looks_total", outcome="failed")
