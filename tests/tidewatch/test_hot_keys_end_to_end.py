"""Hot keys on Kafka: spread by the producer and added up by a roll-up, the results are those of keys that stay together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.producer import EventProducer
from schemas.results import WindowSummary
from streams.positions import log_range
from tests.streams.harness import Reader, until
from tests.tidewatch.test_worker_end_to_end import worker

pytestmark = pytest.mark.slow

PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{source}.out", alerts="{source}.alert", partials="{source}.partial",
    totals="{source}.total", idle_timeout_ms=None, out_of_orderness_ms=2_000, resolution=0.01,
    rollups=(RollUp(by=("sensor_id", "quantity"), name="whole"),),
)
"""
PARTITIONS, EVENTS, START = 4, 20_000, 1_750_000_000_000
ENDINGS = ("", ".out", ".alert", ".late", ".dlq", ".total", ".partial", ".partial.late", ".partial.dlq")


def events() -> list[tuple[bytes, bytes]]:
    """Readings of Zipf's law with exponent 1.5, in order of time; the last ones of many sensors close every window."""
    rng = np.random.default_rng(11)
    weights = np.arange(1, 2_001) ** -1.5
    sensors = rng.choice(2_000, EVENTS, p=weights / weights.sum()).tolist()
    values = rng.normal(20, 8, EVENTS).tolist()
    rows = [
        (sensor, START + i * 3, value) for i, (sensor, value) in enumerate(zip(sensors, values, strict=True))
    ]
    rows += [(sensor, START + 10**6, 0.0) for sensor in range(3_000, 3_040)]
    return [(b"s%d" % sensor, reading(*row)) for sensor, *row in ((s, s, t, v) for s, t, v in rows)]


def reading(sensor: int, time: int, value: float) -> bytes:
    fields = {
        "sensor_id": f"s{sensor}",
        "site": "x",
        "quantity": "temperature",
        "unit": "degC",
        "value": value,
    }
    return json.dumps(fields | {"time": time}).encode()


def sent(kafka: Any, source: str, *, spread: bool) -> float:
    """Send everything, and return the largest load of a partition over the mean."""
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(source + e, PARTITIONS, 1) for e in ENDINGS]).values():
        future.result(30)
    with EventProducer(kafka.connection, source) as producer:
        if spread:
            producer.spread_hot_keys()
        for key, value in events():
            producer.send_bytes(key, value)
    load = [log_range(kafka.connection, source, partition).high for partition in range(PARTITIONS)]
    return max(load) / (sum(load) / PARTITIONS)


def totals(kafka: Any, source: str, app: str, file: Path) -> dict[int, list[bytes]]:
    """Run a worker until the roll-up has every reading, and return what it published, by partition and in order."""
    file.write_text(PIPELINE.format(source=source))
    reader = Reader(kafka.bootstrap, [f"{source}.total"], PARTITIONS)

    def counted() -> int:
        reader.read(0.5)
        values = [message.value() or b"" for messages in reader.messages.values() for message in messages]
        return sum(msgspec.json.decode(value, type=WindowSummary).count for value in values)

    with worker(f"{file}:MINE", kafka.bootstrap, app):
        until(lambda: counted() >= EVENTS, 180, "results are missing")
    found = {
        partition: [m.value() or b"" for m in messages]
        for (_, partition), messages in reader.messages.items()
    }
    reader.close()
    return found


@pytest.mark.kafka
def test_spread_keys_give_the_results_of_keys_that_stay_together(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    together, apart = f"{topic_prefix}.together", f"{topic_prefix}.apart"
    assert sent(kafka, together, spread=False) > 1.6
    assert sent(kafka, apart, spread=True) <= 1.15
    expected = totals(kafka, together, f"{topic_prefix}-a", tmp_path / "one.py")
    assert sum(len(values) for values in expected.values()) > 1_000
    assert totals(kafka, apart, f"{topic_prefix}-b", tmp_path / "two.py") == expected
