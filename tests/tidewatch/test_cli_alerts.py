"""``tidewatch alerts`` on a real Kafka: what is shown is what is on the topic."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from tests.conftest import Kafka
from tests.sinks.results import alert, make_topic, publish
from tidewatch.cli import alerts as verbs
from tidewatch.exits import Exit


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    make_topic(kafka.connection, topic_prefix, 3)
    return topic_prefix


def run(*arguments: str) -> Result:
    import typer

    app = typer.Typer()
    verbs.register(app)
    return CliRunner().invoke(app, ["alerts", *arguments])


@pytest.mark.kafka
def test_following_from_the_earliest_shows_what_the_filters_let_through(kafka: Kafka, topic: str) -> None:
    publish(kafka.connection, topic, [alert(n) for n in range(30)] + [b"no alert"])
    shown = run(
        "follow", "--topic", topic, "--from", "earliest", "--severity", "critical", "--limit", "10", "--json"
    )
    assert shown.exit_code == Exit.OK, shown.output
    assert sorted(json.loads(line)["offset"] for line in shown.stdout.splitlines()) == list(range(2, 30, 3))
    human = run("follow", "--topic", topic, "--from", "earliest", "--group", "s4/*", "--limit", "1")
    assert (
        human.stdout == "2025-06-15T15:06:40Z OPEN   warning  hot  s4/temperature  s4 is [hot]: 41.5 degC\n"
    )


@pytest.mark.kafka
def test_a_listing_has_the_open_ones_gravest_first(kafka: Kafka, topic: str) -> None:
    publish(kafka.connection, topic, [alert(n, r) for r in (0, 1) for n in range(9) if r == 0 or n < 3])
    publish(kafka.connection, topic, [b"no alert"])
    listed = run("list", "--topic", topic, "--json")
    assert listed.exit_code == Exit.OK, listed.output
    groups = [each["group"].partition("/")[0] for each in json.loads(listed.stdout)["alerts"]]
    assert groups == ["s5", "s8", "s4", "s7", "s3", "s6"]
    assert "is no alert (malformed)" in listed.stderr
    assert len(json.loads(run("list", "--topic", topic, "--all", "--json").stdout)["alerts"]) == 9
    table = run("list", "--topic", topic, "--severity", "critical")
    assert "s5 is [hot]" in table.stdout
    assert "s4" not in table.stdout
    assert "\x1b" not in table.stdout


@pytest.mark.kafka
def test_following_new_alerts_ends_well_at_ctrl_c_and_at_a_closed_pipe(kafka: Kafka, topic: str) -> None:
    command = [sys.executable, "-m", "tidewatch", "alerts", "follow", "--topic", topic, "--json"]
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"following" in process.stderr.readline()
        publish(kafka.connection, topic, [alert(0)])
        assert json.loads(process.stdout.readline())["group"] == "s0/temperature"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == Exit.OK
    command += ["--from", "earliest"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        publish(kafka.connection, topic, [alert(1)])
        assert process.wait(60) == Exit.OK
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.kafka
def test_a_missing_topic_is_told_with_the_remedy(topic: str) -> None:
    result = run("follow", "--topic", f"{topic}-none")
    assert result.exit_code == Exit.FAILED
    assert "topics create" in result.output
