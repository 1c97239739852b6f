"""A real worker process with a real pipeline on a real broker, against a plain recount, killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from schemas.results import WindowSummary
from tests.streams.harness import read, until
from tidewatch.declarations import DeclarationError, find_pipeline

PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.threshold import Threshold

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{source}.out", alerts="{source}.alert", idle_timeout_ms=None,
    rules=(Threshold(name="hot", above=99.0, clear=90.0),),
)
"""
START = 1_750_000_000_000
EVENTS, SENSORS = 20_000, 7


def events() -> list[tuple[int, int, float]]:
    """(sensor, time, value), in order of time but for some that come up to 20 s late."""
    rng = np.random.default_rng(3)
    moment = (
        START
        + np.arange(EVENTS) * 10
        - np.where(rng.random(EVENTS) < 0.01, rng.integers(0, 20_000, EVENTS), 0)
    )
    value = np.round(rng.normal(50, 20, EVENTS), 2)
    return list(zip(rng.integers(0, SENSORS, EVENTS).tolist(), moment.tolist(), value.tolist(), strict=True))


def encoded(event: tuple[int, int, float]) -> bytes:
    sensor, moment, value = event
    reading = {
        "sensor_id": f"s{sensor}",
        "site": "x",
        "quantity": "temperature",
        "unit": "degC",
        "value": value,
        "time": moment,
    }
    return json.dumps(reading).encode()


def recount() -> tuple[dict[str, list[tuple[int, float]]], int]:
    """(time, value) by result id, in order of arrival, and the number of late rows, row by row."""
    windows: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    watermark, late = -1, 0
    for sensor, moment, value in events():
        end = moment - moment % 10_000 + 10_000
        if not -100 <= value <= 100:
            continue
        if end <= watermark:
            late += 1
        else:
            windows[sensor, end].append((moment, value))
        watermark = max(watermark, moment - 2_000)
    closed = {key: values for key, values in windows.items() if key[1] <= watermark}
    return {f"mine|s{s}/temperature|{e - 10_000}|{e}|0": values for (s, e), values in closed.items()}, late


@contextmanager
def worker(
    declaration: str, bootstrap: str, app: str, failpoint: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tidewatch", "worker", declaration, "--app-id", app, "--session-timeout", "6",
               "--state-interval", "0.5"]  # fmt: skip
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap, "TIDEWATCH_FAILPOINT": failpoint}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _await_next_commit(worker: subprocess.Popen[bytes], bootstrap: str, checkpoint: str) -> None:
    """Wait until the worker has committed once more, or is dead."""

    def commits() -> int:
        topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=30).topics
        return len(read(bootstrap, checkpoint, 0)) if checkpoint in topics else 0

    before = commits()
    until(lambda: worker.poll() is not None or commits() > before, 60, "the worker commits nothing")


@pytest.mark.kafka
@pytest.mark.parametrize("failpoint", ["", "commit-produced:3", "state-done:2"])
def test_a_pipeline_from_a_file_agrees_with_a_recount(
    kafka, topic_prefix: str, tmp_path: Path, failpoint: str
) -> None:
    source = f"{topic_prefix}.in"
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(30)
    file = tmp_path / "mine.py"
    file.write_text(PIPELINE.format(source=source))
    half = [(b"s%d" % event[0], encoded(event)) for event in events()]
    expected, late = recount()
    load(kafka.connection, source, half[: EVENTS // 2])
    if failpoint:
        with worker(f"{file}:MINE", kafka.bootstrap, topic_prefix, failpoint) as killed:
            for first in range(EVENTS // 2, EVENTS, 1_000):
                load(kafka.connection, source, half[first : first + 1_000])
                _await_next_commit(killed, kafka.bootstrap, f"tw.{topic_prefix}.checkpoint")
            until(lambda: killed.poll() is not None, 60, "the worker reached no failpoint")
    else:
        load(kafka.connection, source, half[EVENTS // 2 :])
    with worker(f"{file}:MINE", kafka.bootstrap, topic_prefix):
        until(
            lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) >= len(expected), 60, "results are missing"
        )
    results = [
        msgspec.json.decode(value, type=WindowSummary) for value in read(kafka.bootstrap, f"{source}.out", 0)
    ]
    assert sorted(result.id for result in results) == sorted(expected)
    for result in results:
        rows = expected[result.id]
        values = np.array([value for _, value in rows])
        in_time = sorted(rows, key=lambda row: row[0])
        assert (result.count, result.min, result.max) == (len(values), values.min(), values.max())
        assert (result.first, result.last) == (in_time[0][1], in_time[-1][1])
        np.testing.assert_allclose([result.mean, result.variance], [values.mean(), values.var()], rtol=1e-9)
    assert len(read(kafka.bootstrap, f"{source}.late", 0)) == late > 0
    bad = sum(not -100 <= value <= 100 for _, _, value in events())
    assert len(read(kafka.bootstrap, f"{source}.dlq", 0)) == bad > 0
    states = [json.loads(value)["state"] for value in read(kafka.bootstrap, f"{source}.alert", 0)]
    assert "open" in states
    assert "close" in states


def test_an_unknown_pipeline_is_told_what_there_is() -> None:
    with pytest.raises(DeclarationError, match=r"air-quality.*FILE.py:VARIABLE"):
        find_pipeline("air")
    with pytest.raises(DeclarationError, match="has no Pipeline named NONE"):
        find_pipeline("streams.pipelines.air_quality:NONE")
