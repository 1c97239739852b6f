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
from tests.streams.harness import Reader, eventually, until, workers
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
        producer.send_bytes(key(row[0]), value(row))
    producer.flush()


def value(row: tuple[int, int, float]) -> bytes:
    return encoded(row).replace(b'"s%d"' % row[0], b'"%s"' % key(row[0]))


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


@pytest.mark.kafka
def test_copiers_that_are_killed_or_fenced_copy_each_row_once(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    """The first is killed between produce and commit, the second fenced by the third, which is told to stop in the end."""
    old, new = f"{topic_prefix}.v1", f"{topic_prefix}.v2"
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(old, PARTITIONS, 1)])[old].result(30)
    everything = rows()
    command = [
        sys.executable, "-m", "tidewatch", "topics", "recut", old, new, "--follow",
        "--at", "2025-06-15T15:07:40", "--like", "iot.sensor.reading.v1",
    ]  # fmt: skip
    pieces = (everything[at : at + 10] for at in range(8_000, EVENTS, 10))
    environment = {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
    with EventProducer(kafka.connection, old) as producer, workers(command, tmp_path, environment) as copiers:

        def fenced(number: int) -> bool:
            send(producer, next(pieces, []))
            return copiers.processes[number].poll() is not None

        send(producer, everything[:7_000])
        copiers.start()
        eventually(lambda: range_table(kafka.connection, new) is not None, copiers.log)
        reader = Reader(kafka.bootstrap, [new], PARTITIONS)
        eventually(lambda: taken(reader) == to_copy(everything[:7_000]), copiers.log)
        copiers.arm("commit-produced")
        send(producer, everything[7_000:8_000])
        copiers.died(0, "commit-produced")
        copiers.start()
        eventually(lambda: taken(reader) == to_copy(everything[:8_000]), copiers.log)
        third = copiers.start()
        eventually(lambda: fenced(1), "the second is not fenced")
        assert copiers.processes[1].returncode == 1
        send(producer, [row for piece in pieces for row in piece])
        eventually(lambda: taken(reader) == to_copy(everything), copiers.log)
        third.terminate()
        assert third.wait(60) == 0
    reader.close()
    found = Counter(message.value() for messages in reader.messages.values() for message in messages)
    assert found == Counter(value(row) for row in everything if row[1] >= CUT)


def to_copy(some: list[tuple[int, int, float]]) -> int:
    return sum(time >= CUT for _, time, _ in some)


def taken(reader: Reader) -> int:
    """Return how many committed rows the new topic has."""
    reader.read(0.5)
    return sum(map(len, reader.messages.values()))
