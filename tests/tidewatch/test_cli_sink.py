"""``tidewatch sink`` as people start it: what it writes, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import tidewatch
from tests.conftest import Kafka
from tests.sinks.results import make_topic, publish, summary
from tests.streams.harness import until
from tidewatch.exits import Exit

LIKE = "iot.sensor.window.v1"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tidewatch", "sink", *arguments]


def environment(kafka: Kafka | None = None, **more: str) -> dict[str, str]:
    return os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap if kafka else "127.0.0.1:1"} | more


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> str:
    make_topic(kafka.connection, topic_prefix, 2)
    publish(kafka.connection, topic_prefix, [summary(n) for n in range(100)])
    return topic_prefix


@pytest.mark.kafka
def test_an_archive_made_once_holds_the_topic_and_the_next_run_adds_what_is_new(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    once = command("parquet", topic, "--like", LIKE, "--directory", str(tmp_path / "a"), "--once")
    for more in (0, 50):
        publish(kafka.connection, topic, [summary(100 + n) for n in range(more)])
        done = subprocess.run(once, env=environment(kafka), capture_output=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (Exit.OK, b"")
        assert len(tidewatch.read(tmp_path / "a" / topic)) == 100 + more


@pytest.mark.kafka
def test_a_running_archive_serves_metrics_and_writes_what_is_left_when_it_is_stopped(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    arguments = command("parquet", topic, "--like", LIKE, "--directory", str(tmp_path), "--metrics-port", "0")
    with subprocess.Popen(arguments, env=environment(kafka), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = re.search(r"http://\S+", process.stderr.readline())
        assert url is not None

        def received() -> bool:
            with urllib.request.urlopen(url.group(), timeout=10) as answer:
                return 'tidewatch_sink_received_total{sink="parquet"} 100.0' in answer.read().decode()

        until(received, 60, "the records were not taken")
        assert not list(tmp_path.rglob("*.parquet"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == Exit.OK
    assert len(tidewatch.read(tmp_path / topic)) == 100


@pytest.mark.kafka
def test_what_an_archive_cannot_do_is_told_with_the_remedy(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    unknown = command("parquet", topic, "--directory", str(tmp_path))
    done = subprocess.run(
        unknown, env=environment(kafka), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "--like" in done.stderr) == (Exit.FAILED, True)
    (tmp_path / "file").write_text("")
    blocked = command("parquet", topic, "--like", LIKE, "--directory", str(tmp_path / "file"))
    done = subprocess.run(
        blocked, env=environment(kafka), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, "cannot be used" in done.stderr) == (Exit.REFUSED, True)


@pytest.mark.parametrize(
    ("verb", "told"), [("postgres", "TIDEWATCH_POSTGRES_DSN"), ("webhook", "TIDEWATCH_WEBHOOK_URL")]
)
def test_a_target_that_is_not_named_is_told(verb: str, told: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command(verb),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, told in done.stderr) == (Exit.FAILED, True)


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    heavy = {"pandas", "pyarrow", "faust", "psycopg", "numpy", "rich.table"}
    code = (
        f"import sys, tidewatch, tidewatch.cli as c; c.commands(); print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
