"""``tidewatch demo`` as a newcomer runs it: right results, a wrong one noticed, nothing left running."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest
from confluent_kafka import Consumer, Producer

from schemas.results import WindowSummary
from tests.streams.harness import until
from tidewatch.exits import Exit

pytestmark = pytest.mark.slow

SECONDS = 240


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tidewatch", "demo", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """Read progress lines up to the first that matches, and return its group."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(f"the demo never said {pattern}")


@pytest.mark.kafka
def test_a_short_demo_with_a_killed_worker_agrees_with_its_recount() -> None:
    with demo("--seconds", "6") as process:
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == Exit.OK, err
    report = json.loads(out)
    assert report["ok"] is True
    assert report["differences"] == []
    assert report["produced"].keys() == {"iot.sensor.reading.v1", "iot.weather.reading.v1"}
    assert sum(report["produced"].values()) > 50_000
    assert report["windows_compared"] == sum(report["windows"].values()) > 5_000
    assert report["late"] > 50
    # The real weather's one impossible wind comes in mid-February, after this excerpt.
    assert report["dead"].keys() == {"malformed", "missing_field", "unknown_unit", "wrong_type"}
    alerts = report["alerts"]
    assert alerts["incidents"] >= 3
    assert (alerts["precision"], alerts["recall"]) == (1.0, 1.0)
    assert report["killed"]["events_before"] > 0
    assert report["killed"]["partitions"] > 0
    assert "killed (-9)" in err


def double_a_result(bootstrap: str) -> str:
    """Publish a window once more with another mean, as a broken worker might; return its id."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "vandal", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["iot.sensor.window.v1"])
    deadline = time.monotonic() + SECONDS
    message = None
    while message is None or message.error() is not None:
        assert time.monotonic() < deadline
        message = consumer.poll(1.0)
    consumer.close()
    summary = msgspec.json.decode(message.value() or b"", type=WindowSummary)
    wrong = msgspec.structs.replace(summary, mean=summary.mean + 1e-6)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(
        message.topic() or "", msgspec.json.encode(wrong), message.key(), partition=message.partition() or 0
    )
    assert producer.flush(30) == 0
    return summary.id


@pytest.mark.kafka
def test_a_wrong_result_is_noticed_and_told() -> None:
    with demo("--seconds", "4", "--no-kill") as process:
        wronged = double_a_result(said(process, r"Kafka is at (\S+);"))
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == Exit.DIFFERS, err
    report = json.loads(out)
    assert report["ok"] is False
    assert report["killed"] is None
    assert f"window published more than once: {wronged}" in report["differences"]
    assert any(text.startswith(f"number differs: {wronged} mean") for text in report["differences"])


@pytest.mark.kafka
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_demo(sign: signal.Signals) -> None:
    with demo("--seconds", "60") as process:
        said(process, r"(playing)")
        started = psutil.Process(process.pid).children(recursive=True)
        commands = [" ".join(child.cmdline()) for child in started]
        assert sum("worker" in command for command in commands) == 2
        assert sum("kafka.Kafka" in command for command in commands) == 1
        process.send_signal(sign)
        _, err = process.communicate(timeout=SECONDS)
        if sign == signal.SIGINT:
            assert process.returncode == Exit.INTERRUPTED, err
        until(lambda: not any(alive(child) for child in started), SECONDS, f"left running: {started}")


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
