"""Results and alerts for tests, and topics to put them on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.results import Alert, WindowSummary
from tidewatch.topics import wait_until_known

T0 = 1_750_000_000_000


def summary(number: int, revision: int = 0, **changes: object) -> WindowSummary:
    group, start = f"s{number % 50}/temperature", T0 + number // 50 * 10_000
    fields: dict[str, object] = {
        "id": f"p|{group}|{start}|{start + 10_000}|{revision}",
        "pipeline": "p",
        "group": group,
        "labels": {"sensor_id": f"s{number % 50}", "quantity": "temperature", "site": "north"},
        "start": start,
        "end": start + 10_000,
        "revision": revision,
        "count": number + 1,
        "sum": 2.0 * number,
        "mean": 20.0 + revision,
        "variance": 1.5,
        "min": -1.0,
        "max": 40.0,
        "first": 20.0,
        "last": 21.0,
        "quantiles": {"0.5": 20.0, "0.99": 39.5},
        "alpha": 0.01,
        "sketch": b"\x01\x02\xff",
    }
    return msgspec.convert(fields | changes, WindowSummary)


def alert(number: int, revision: int = 0, **changes: object) -> Alert:
    alert_id = f"p|hot|s{number}/temperature|{T0 + number}"
    fields: dict[str, object] = {
        "id": f"{alert_id}|{revision}",
        "alert_id": alert_id,
        "pipeline": "p",
        "rule": "hot",
        "kind": "threshold",
        "group": f"s{number}/temperature",
        "labels": {"sensor_id": f"s{number}", "site": "north"},
        "state": ("open", "close")[revision % 2],
        "severity": ("info", "warning", "critical")[number % 3],
        "revision": revision,
        "opened_at": T0 + number,
        "time": T0 + number + revision * 1_000,
        "partition": 0,
        "offset": number,
        "value": 41.5,
        "threshold": 40.0,
        "message": f"s{number} is [hot]: 41.5 degC",
        "evidence": {"above": 40.0, "samples": 3, "unit": "degC", "before": None},
    }
    return msgspec.convert(fields | changes, Alert)


def make_topic(connection: dict[str, str], name: str, partitions: int = 1) -> None:
    admin = AdminClient(connection)
    new = NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin.create_topics([new])[name].result(30)
    wait_until_known(admin, [name])


def publish(connection: dict[str, str], topic: str, results: Iterable[msgspec.Struct | bytes]) -> None:
    """Write results, spread evenly over the partitions by their number in the sequence."""
    producer = Producer({**connection, "enable.idempotence": True, "linger.ms": 5})
    partitions = len(producer.list_topics(topic, 30).topics[topic].partitions)
    for number, result in enumerate(results):
        value = result if isinstance(result, bytes) else msgspec.json.encode(result)
        producer.produce(topic, value, partition=number % partitions)
        producer.poll(0)
    assert producer.flush(60) == 0
