"""``tidewatch sink postgres`` and ``webhook`` as people start them, with real targets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sinks.signing import is_authentic
from tests.conftest import Kafka
from tests.sinks.conftest import Postgres
from tests.sinks.results import alert, make_topic, publish, summary
from tests.sinks.test_webhook import Receiver, begins_at, receiver
from tests.streams.harness import until
from tidewatch.exits import Exit

__all__ = ["receiver"]


@contextmanager
def running(kafka: Kafka, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tidewatch", "sink", *arguments]
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap} | settings
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Ctrl-C ends" in process.stderr.readline()
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == Exit.OK, process.stderr.read()


@pytest.mark.kafka
def test_results_are_kept_in_the_database_of_the_setting(
    kafka: Kafka, topic_prefix: str, postgres: Postgres
) -> None:
    make_topic(kafka.connection, topic_prefix)
    publish(kafka.connection, topic_prefix, [summary(n) for n in range(20)])
    dsn = postgres.new_database()
    options = ("--like", "iot.sensor.window.v1", "--group", topic_prefix)
    with running(kafka, "postgres", topic_prefix, *options, TIDEWATCH_POSTGRES_DSN=dsn):
        until(
            lambda: bool(postgres.execute("SELECT to_regclass('tidewatch.refused')", dsn)[0][0]),
            60,
            "no schema",
        )
        query = "SELECT count(*), count(DISTINCT id) FROM tidewatch.window_summary"
        until(lambda: postgres.execute(query, dsn) == [(20, 20)], 60, "results are missing")


@pytest.mark.kafka
def test_alerts_are_posted_to_the_receiver_of_the_setting(
    kafka: Kafka, topic_prefix: str, receiver: Receiver
) -> None:
    make_topic(kafka.connection, topic_prefix)
    publish(kafka.connection, topic_prefix, [alert(2)])
    settings = {"TIDEWATCH_WEBHOOK_URL": receiver.url, "TIDEWATCH_WEBHOOK_SECRET": "s"}
    options = ("--topic", topic_prefix, "--consumer-group", topic_prefix, "--severity", "critical")
    with running(kafka, "webhook", *options, **settings):
        until(lambda: begins_at(kafka, topic_prefix) == 1, 60, "the start was not settled")
        publish(kafka.connection, topic_prefix, [alert(3), alert(5), alert(8, muted_by="night")])
        until(lambda: len(receiver.taken) > 0, 60, "nothing was posted")
        until(lambda: begins_at(kafka, topic_prefix) == 4, 60, "the others were not passed over")
    assert receiver.taken == [alert(5)]
    ((headers, body, _),) = receiver.requests
    assert is_authentic(b"s", headers, body, float(headers["Tidewatch-Timestamp"]))
