"""A join of two topics by real workers on a real broker, one of them killed on the way, against a join by brute force."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from schemas.joins import Joined
from tests.streams.harness import read, until
from tests.tidewatch.test_worker_end_to_end import encoded, worker

pytestmark = pytest.mark.slow

JOIN = """
from schemas.event_types import SENSOR_READING
from streams.joins import Input, Join

MINE = Join(
    name="pairs", on="sensor_id", shuffled="{prefix}.shuffled", results="{prefix}.joined", within_ms={within}, idle_timeout_ms=None,
    left=Input(source="{prefix}.left", event=SENSOR_READING, fields=("value",)),
    right=Input(source="{prefix}.right", event=SENSOR_READING, fields=("value", "site")),
)
"""
START, EVENTS, SENSORS, PARTITIONS = 1_750_000_000_000, 4_000, 12, 2
Reading = tuple[int, int, float]


def readings(seed: int) -> list[Reading]:
    """(sensor, time, value) within the out-of-orderness, and at last one of every sensor far ahead."""
    rng = np.random.default_rng(seed)
    moment = START + np.arange(EVENTS) * 50 + rng.integers(0, 1_500, EVENTS)
    value = np.round(rng.normal(20, 5, EVENTS), 2)
    rows = list(zip(rng.integers(0, SENSORS, EVENTS).tolist(), moment.tolist(), value.tolist(), strict=True))
    return rows + [(sensor, START + EVENTS * 50 + 60_000, 0.0) for sensor in range(SENSORS)]


def brute_force(
    left: list[Reading], right: list[Reading], within: int | None
) -> list[tuple[int, float, float | None]]:
    found: list[tuple[int, float, float | None]] = []
    for sensor in range(SENSORS):
        ours = [(t, v) for s, t, v in left[:EVENTS] if s == sensor]
        theirs = [(t, i, v) for i, (s, t, v) in enumerate(right[:EVENTS]) if s == sensor]
        for moment, value in ours:
            if within is None:
                before = [(t, i, v) for t, i, v in theirs if t < moment]
                found.append((moment, value, max(before)[2] if before else None))
            else:
                found += [(moment, value, v) for t, _, v in theirs if abs(t - moment) <= within]
    return sorted(found, key=repr)


def results(bootstrap: str, topic: str) -> list[Joined]:
    values = [value for partition in range(PARTITIONS) for value in read(bootstrap, topic, partition)]
    return [msgspec.json.decode(value, type=Joined) for value in values]


@pytest.mark.kafka
@pytest.mark.parametrize(("within", "failpoint"), [(800, "commit-produced:6"), (None, "state-done:3")])
def test_a_join_finds_every_pair_once_though_a_worker_is_killed(
    kafka, topic_prefix: str, tmp_path: Path, within: int | None, failpoint: str
) -> None:
    names = [
        f"{topic_prefix}.{name}" for name in ("left", "right", "left.dlq", "right.dlq", "shuffled", "joined")
    ]
    names += [f"{topic_prefix}.shuffled.late", f"{topic_prefix}.shuffled.dlq"]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result(30)
    file = tmp_path / "mine.py"
    file.write_text(JOIN.format(prefix=topic_prefix, within=within))
    left, right = readings(1), readings(2)
    expected = brute_force(left, right, within)
    sides = {"left": left, "right": right}

    def send(first: int, last: int) -> None:
        for name, rows in sides.items():
            load(
                kafka.connection,
                f"{topic_prefix}.{name}",
                [(b"s%d" % r[0], encoded(r)) for r in rows[first:last]],
            )

    def complete() -> bool:
        return sum(
            pair.left_time < START + EVENTS * 50 + 10_000 for pair in results(kafka.bootstrap, names[5])
        ) >= len(expected)

    send(0, EVENTS // 2)
    with worker(f"{file}:MINE", kafka.bootstrap, topic_prefix, failpoint) as killed:
        for first in range(EVENTS // 2, EVENTS, 250):
            send(first, first + 250)
            time.sleep(0.3)
        until(lambda: killed.poll() is not None, 90, "the worker reached no failpoint")
    send(EVENTS, EVENTS + SENSORS)
    with worker(f"{file}:MINE", kafka.bootstrap, topic_prefix):
        until(complete, 90, "pairs are missing")
    pairs = [
        pair for pair in results(kafka.bootstrap, names[5]) if pair.left_time < START + EVENTS * 50 + 10_000
    ]
    assert len({pair.id for pair in pairs}) == len(pairs)
    found = [(p.left_time, p.left["value"], None if p.right is None else p.right["value"]) for p in pairs]
    assert sorted(found, key=repr) == expected
