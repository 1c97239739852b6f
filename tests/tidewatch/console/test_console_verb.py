"""``tidewatch console`` beside a worker on a real Kafka: it finds the worker, its position and its watermark."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from producers.loader import load
from tests.conftest import Kafka
from tests.streams.harness import PARTITIONS, make_topics, until

PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    results="{source}.out", alerts="{source}.alert",
)
"""
START = 1_750_000_000_000
EVENTS = 2_000


def records() -> list[tuple[bytes, bytes]]:
    return [
        (
            b"s%d" % (i % 12),
            b'{"sensor_id":"s%d","site":"north","quantity":"pm25","unit":"ug/m3","value":%d,"time":%d}'
            % (i % 12, i % 40, START + i * 50),
        )
        for i in range(EVENTS)
    ]


@contextmanager
def tidewatch(kafka: Kafka, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
    command = [sys.executable, "-m", "tidewatch", *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


def asked(address: str, path: str) -> dict[str, list[dict[str, object]]]:
    with urlopen(Request(address + path, headers={"Accept": "application/json"}), timeout=60) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


@pytest.mark.kafka
def test_it_shows_a_worker_that_listed_itself(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> None:
    source, targets, file = f"{topic_prefix}.in", tmp_path / "workers.json", tmp_path / "mine.py"
    make_topics(kafka.bootstrap, source)
    file.write_text(PIPELINE.format(source=source))
    load(kafka.connection, source, records())
    name = f"{file}:MINE"
    with tidewatch(
        kafka, "console", name, "--app-id", topic_prefix, "--targets", str(targets), "--port", "0"
    ) as shown:
        assert shown.stderr is not None
        address = next(m.group(1) for line in shown.stderr if (m := re.search(r"console at (\S+);", line)))
        until(
            lambda: sum(row["end"] for row in asked(address, "partitions")["partitions"]) == EVENTS,
            120,
            "no ends",
        )
        check = {each["name"]: each["state"] for each in asked(address, "check")["check"]}
        assert (check["Kafka answers"], check["workers answer"]) == ("ok", "warning")
        worker = ["worker", name, "--app-id", topic_prefix, "--targets", str(targets)]
        with tidewatch(kafka, *worker):
            until(lambda: done(asked(address, "partitions")["partitions"]), 180, "the worker is not shown")
            until(
                lambda: bool(asked(address, "distributions")["distributions"]), 60, "no distribution is shown"
            )
        (picture,) = asked(address, "distributions")["distributions"]
        assert (picture["pipeline"], picture["quantity"], picture["unit"]) == ("mine", "pm25", "ug/m3")
        shown.send_signal(signal.SIGTERM)
        assert shown.wait(60) == 0


def done(rows: list[dict[str, object]]) -> bool:
    """Whether all partitions are processed, owned, and those with events have a watermark."""
    return len(rows) == PARTITIONS and all(
        row["lag"] == 0 and row["owner"] and (row["watermark"] is not None or row["end"] == 0) for row in rows
    )
