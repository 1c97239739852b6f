"""Roll-ups over four partitions by real workers on a real broker, against a recount, a worker killed on the way."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from schemas.partitioning import partition_of
from schemas.results import WindowSummary
from tests.streams.harness import read, until, working_members
from tests.tidewatch.test_worker_end_to_end import encoded, worker

pytestmark = pytest.mark.slow

PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{source}.out", alerts="{source}.alert", partials="{source}.partial",
    totals="{source}.total", idle_timeout_ms={idle}, rollups=(RollUp(by=("site", "quantity")), RollUp()),
)
"""
START = 1_750_000_000_000
EVENTS, SENSORS, PARTITIONS = 20_000, 32, 4
Reading = tuple[int, int, float]


def readings(sensors: int = SENSORS) -> list[Reading]:
    """(sensor, time, value), in order of time but for some that come up to 20 s late; integers add up exactly."""
    rng = np.random.default_rng(4)
    late = np.where(rng.random(EVENTS) < 0.01, rng.integers(0, 20_000, EVENTS), 0)
    moment = START + np.arange(EVENTS) * 10 - late
    value = rng.integers(-40, 60, EVENTS).astype(float)
    return list(zip(rng.integers(0, sensors, EVENTS).tolist(), moment.tolist(), value.tolist(), strict=True))


def record(reading: Reading) -> tuple[bytes, bytes]:
    sensor = reading[0]
    return b"s%d" % sensor, encoded(reading).replace(b'"site": "x"', b'"site": "site-%d"' % (sensor % 3))


def recount(rows: list[Reading]) -> dict[str, list[float]]:
    """Values by result id; a row counts if its own partition's watermark has not passed its window."""
    members: dict[str, list[float]] = defaultdict(list)
    number = dict(enumerate(partition_of([b"s%d" % s for s in range(SENSORS)], PARTITIONS).tolist()))
    watermark = [-1] * PARTITIONS
    for sensor, moment, value in rows:
        start, p = moment - moment % 10_000, number[sensor]
        if start + 10_000 > watermark[p]:
            for name in (f"by-site-quantity|site-{sensor % 3}/temperature", "all|all"):
                members[f"mine:{name}|{start}|{start + 10_000}|0"].append(value)
        watermark[p] = max(watermark[p], moment - 2_000)
    assert set(number.values()) == set(range(PARTITIONS)), "a partition without sensors would be waited for"
    closed = min(watermark)
    return {key: values for key, values in members.items() if int(key.split("|")[3]) <= closed}


def totals(bootstrap: str, source: str) -> dict[str, WindowSummary]:
    found: dict[str, WindowSummary] = {}
    for partition in range(PARTITIONS):
        for value in read(bootstrap, f"{source}.total", partition):
            summary = msgspec.json.decode(value, type=WindowSummary)
            assert summary.id not in found, "a result was published twice"
            found[summary.id] = summary
    return found


def check(found: dict[str, WindowSummary], expected: dict[str, list[float]]) -> None:
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        summary = found[key]
        assert (summary.count, summary.sum) == (len(values), sum(values))
        assert (summary.min, summary.max) == (min(values), max(values))
        assert summary.variance == pytest.approx(np.var(values), rel=1e-9)


def prepared(kafka: Any, source: str, tmp_path: Path, idle: int | None) -> str:
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq", ".total", ".partial")]
    names += [f"{source}.partial.late", f"{source}.partial.dlq"]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result(30)
    file = tmp_path / "mine.py"
    file.write_text(PIPELINE.format(source=source, idle=idle))
    return f"{file}:MINE"


@pytest.mark.kafka
@pytest.mark.parametrize("failpoint", ["commit-produced:4", "state-done:3"])
def test_roll_ups_of_four_partitions_agree_with_a_recount_though_a_worker_is_killed(
    kafka, topic_prefix: str, tmp_path: Path, failpoint: str
) -> None:
    source, rows = f"{topic_prefix}.in", readings()
    declaration = prepared(kafka, source, tmp_path, None)
    expected, records = recount(rows), [record(row) for row in rows]
    assert len(expected) > 70
    load(kafka.connection, source, records[: EVENTS // 2])
    with worker(declaration, kafka.bootstrap, topic_prefix) as _:
        with worker(declaration, kafka.bootstrap, topic_prefix, failpoint) as killed:
            until(
                lambda: killed.poll() is not None or working_members(kafka.bootstrap, topic_prefix) == 2,
                90,
                "the two never shared",
            )
            for first in range(EVENTS // 2, EVENTS, 1_000):
                load(kafka.connection, source, records[first : first + 1_000])
                time.sleep(0.3)
            until(lambda: killed.poll() is not None, 90, "the worker reached no failpoint")
        until(lambda: len(totals(kafka.bootstrap, source)) >= len(expected), 90, "results are missing")
    check(totals(kafka.bootstrap, source), expected)


@pytest.mark.kafka
def test_roll_ups_do_not_wait_for_partitions_that_never_had_an_event(
    kafka, topic_prefix: str, tmp_path: Path
) -> None:
    source = f"{topic_prefix}.in"
    declaration = prepared(kafka, source, tmp_path, 500)
    rows = [(0, START + i * 1_000, float(i)) for i in range(60)]
    load(kafka.connection, source, [record(row) for row in rows])
    with worker(declaration, kafka.bootstrap, topic_prefix):
        until(lambda: len(totals(kafka.bootstrap, source)) >= 10, 60, "nobody closes the windows")
    found = totals(kafka.bootstrap, source)
    assert found[f"mine:all|all|{START}|{START + 10_000}|0"].sum == sum(range(10))
