"""``tidewatch topics recut`` on Kafka: a topic of ranges takes over while producers send, and a recount finds every row once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
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
from tests.tidewatch.test_worker_end_to_end import encoded, worker
from tidewatch.recut import range_table

pytestmark = pytest.mark.slow

PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{out}", alerts="{out}.alert", idle_timeout_ms={idle}, {span}={cut},
)
"""
PARTITIONS, EVENTS, START = 4, 12_000, 1_750_000_000_000
CUT = START + 60_000


def rows() -> list[tuple[int, int, float]]:
    """(sensor, time, value) over two minutes, nearly in order; sensors with high numbers send most."""
    rng = np.random.default_rng(8)
    sensors = (400 * rng.power(4, EVENTS)).astype(int).tolist()
    times = (START + np.arange(EVENTS) * 10 - rng.integers(0, 1_500, EVENTS)).tolist()
    return list(zip(sensors, times, np.round(rng.normal(20, 5, EVENTS), 1).tolist(), strict=True))


def key(sensor: int) -> bytes:
    return b"s%03d" % sensor


def send(producer: EventProducer, some: list[tuple[int, int, float]]) -> None:
    for row in some:
        producer.send_bytes(key(row[0]), encoded(row).replace(b'"s%d"' % row[0], b'"%s"' % key(row[0])))
    producer.flush()


def tidewatch(bootstrap: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tidewatch", *arguments, "--json"]
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode in (0, 5), done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.kafka
def test_nothing_is_lost_or_doubled_over_the_cut(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    old, new, out = f"{topic_prefix}.v1", f"{topic_prefix}.v2", f"{topic_prefix}.out"
    names = [old, f"{old}.late", f"{old}.dlq", out, f"{out}.alert"]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result(30)
    everything, at = rows(), "2025-06-15T15:07:40"
    with EventProducer(kafka.connection, old) as producer:
        send(producer, everything[:7_000])
        arguments = ["topics", "recut", old, new, "--at", at, "--like", "iot.sensor.reading.v1"]
        first = tidewatch(kafka.bootstrap, *arguments)
        assert first["begins"] == CUT
        send(producer, everything[7_000:9_000])
    second = tidewatch(kafka.bootstrap, *arguments)
    assert second["bounds"] == first["bounds"]
    assert first["copied"] + second["copied"] == sum(time >= CUT for _, time, _ in everything[:9_000])
    assert tidewatch(kafka.bootstrap, *arguments)["copied"] == 0
    with EventProducer(kafka.connection, new) as producer:
        table = range_table(kafka.connection, new)
        assert table is not None
        producer.follow_ranges(table)
        send(producer, everything[9_000:])
    load = [log_range(kafka.connection, new, partition).high for partition in range(PARTITIONS)]
    assert max(load) / (sum(load) / PARTITIONS) < 1.25
    assert tidewatch(kafka.bootstrap, "topics", "balance", new)["imbalance"] < 1.25

    expected = Counter((key(sensor).decode(), time // 10_000) for sensor, time, _ in everything)
    reader = Reader(kafka.bootstrap, [out, f"{old}.late", f"{new}.late"], PARTITIONS)
    for name, source, span in (("old", old, "ends_ms"), ("new", new, "begins_ms")):
        (tmp_path / f"{name}.py").write_text(
            PIPELINE.format(source=source, out=out, idle=2_000, span=span, cut=CUT)
        )
    with (
        worker(f"{tmp_path / 'old.py'}:MINE", kafka.bootstrap, f"{topic_prefix}-1"),
        worker(f"{tmp_path / 'new.py'}:MINE", kafka.bootstrap, f"{topic_prefix}-2"),
    ):
        until(lambda: counted(reader, out).total() + late(reader, out) >= EVENTS, 240, "rows are missing")
    found = counted(reader, out)
    assert found.total() + late(reader, out) == EVENTS
    assert all(found[place] <= count for place, count in expected.items())
    assert found.keys() <= expected.keys()
    # A row is late only where a partition's own watermark had passed its window; none may be lost for another reason.
    assert late(reader, out) < 0.01 * EVENTS
    reader.close()


def counted(reader: Reader, out: str) -> Counter[tuple[str, int]]:
    """Return counts by sensor and window; a window that both pipelines published shows as doubled."""
    reader.read(0.5)
    found: Counter[tuple[str, int]] = Counter()
    for (topic, _), messages in reader.messages.items():
        for message in messages if topic == out else ():
            summary = msgspec.json.decode(message.value() or b"", type=WindowSummary)
            assert summary.revision == 0
            found[summary.labels["sensor_id"], summary.start // 10_000] += summary.count
    return found


def late(reader: Reader, out: str) -> int:
    return sum(len(messages) for (topic, _), messages in reader.messages.items() if topic != out)
