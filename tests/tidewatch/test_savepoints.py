"""Reset and savepoints on a real broker: recompute from a position, start side by side from a named state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streams.config import EngineConfig
from streams.reset import reset_app
from tests.streams.cases import CountingCase, WindowCase, environment, expected, feeding
from tests.streams.counting import stage
from tests.streams.harness import (
    PARTITIONS,
    Workers,
    eventually,
    make_topics,
    progress_of,
    read,
    read_messages,
    send,
    workers,
)
from tests.streams.test_engine_kills import WARM

pytestmark = pytest.mark.slow


def tidewatch(bootstrap: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "tidewatch", *arguments],
        env=os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def stop(group: Workers) -> None:
    """End the newest worker in order."""
    group.processes[-1].terminate()
    assert group.processes[-1].wait(60) == 0


@pytest.mark.kafka
def test_reset_recomputes_from_the_earliest_record_or_from_a_time(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    case = CountingCase(kafka.bootstrap, f"{topic_prefix}.in")
    config = EngineConfig(case.app, {"bootstrap.servers": case.bootstrap})
    make_topics(case.bootstrap, case.source)
    send(case.bootstrap, case.source, [b"1", b"2", b"3"], 0)
    time.sleep(0.05)
    send(case.bootstrap, case.source, [b"4", b"5"], 0)
    logged = [m.timestamp()[1] for m in read_messages(case.bootstrap, case.source, 0)]
    assert logged[2] < logged[3]
    output = f"{case.source}.out"
    with workers(case.command(), tmp_path) as group:
        group.start()
        eventually(lambda: len(read(case.bootstrap, output, 0)) == 5, lambda: group.log()[-2000:])
        stop(group)
        positions = reset_app(config, [stage(case.source)], None)
        assert positions == {(case.source, p): 0 for p in range(PARTITIONS)}
        group.start()
        eventually(lambda: len(read(case.bootstrap, output, 0)) == 10, lambda: group.log()[-2000:])
        stop(group)
        positions = reset_app(config, [stage(case.source)], logged[3])
        assert positions[case.source, 0] == 3
        group.start()
        eventually(lambda: len(read(case.bootstrap, output, 0)) == 12, lambda: group.log()[-2000:])
    assert read(case.bootstrap, output, 0) == [*expected(5), *expected(5), b"1 4", b"2 9"]


@pytest.mark.kafka
def test_reset_lets_another_definition_start(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    case = WindowCase(kafka.bootstrap, f"{topic_prefix}.in", tmp_path)
    verb = ("reset", f"{case.file}:MINE", "--app-id", case.app, "--yes")
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: group.log()[-2000:])
        stop(group)
        case.file.write_text(case.file.read_text().replace("above=90.0", "above=80.0"))
        assert group.start().wait(120) == 3
        assert f"tidewatch reset --app-id {case.app} --to earliest" in group.log()
        feed.stop()
        wrong = tidewatch(case.bootstrap, *verb, "--to", "2026-01-31T06:00:00")
        assert wrong.returncode != 0
        assert "has no zone" in wrong.stderr
        done = tidewatch(case.bootstrap, *verb, "--to", "earliest")
        assert done.returncode == 0, done.stderr
        assert f"{case.source}[3] goes on at 0" in done.stdout
        before = case.visible()
        group.start()
        eventually(lambda: case.visible() >= 2 * before, lambda: group.log()[-2000:])
    for partition in range(PARTITIONS):  # windows do not depend on the rule, so they come out the same again
        results = read(case.bootstrap, f"{case.source}.out", partition)
        first = results.index(results[0], 1)
        assert results[first:][:first] == results[:first]


@pytest.mark.kafka
def test_another_app_starts_side_by_side_from_a_savepoint(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    """The copy goes on where the savepoint stands, and computes from there what the original does, byte for byte."""
    case = WindowCase(kafka.bootstrap, f"{topic_prefix}.in", tmp_path)
    copy = f"{case.app}-copy"
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: group.log()[-2000:])
        saved = tidewatch(case.bootstrap, "savepoint", "save", "before-change", "--app-id", case.app)
        assert saved.returncode == 0, saved.stderr
        again = tidewatch(case.bootstrap, "savepoint", "save", "before-change", "--app-id", case.app)
        assert again.returncode == 1
        assert "choose another name, or drop it" in again.stderr
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: group.log()[-2000:])
        case.check(sent)
        stop(group)
        one_run = [read(case.bootstrap, f"{case.source}.out", p) for p in range(PARTITIONS)]
        listing = tidewatch(case.bootstrap, "savepoint", "list", "--json").stdout.splitlines()
        (mine,) = [entry for entry in map(json.loads, listing) if entry["app_id"] == case.app]
        assert mine["name"] == "before-change"
        start = ("savepoint", "start", "before-change", "--app-id", case.app, "--as", copy)
        started = tidewatch(case.bootstrap, *start)
        assert started.returncode == 0, started.stderr
        refused = tidewatch(case.bootstrap, *start)
        assert refused.returncode == 1
        assert "has checkpoints already" in refused.stderr
        with workers([*case.command(), "--app-id", copy], tmp_path, environment(case)) as side:
            side.start()
            ends = [len(read_messages(case.bootstrap, case.source, p)) for p in range(PARTITIONS)]
            eventually(
                lambda: all(
                    progress_of(case.bootstrap, copy, p)[-1].positions[case.source] == ends[p]
                    for p in range(PARTITIONS)
                ),
                lambda: side.log()[-2000:],
            )
    for partition, original in enumerate(one_run):
        added = read(case.bootstrap, f"{case.source}.out", partition)[len(original) :]
        assert 0 < len(added) < len(original)
        assert added == original[-len(added) :]
        assert mine["positions"][f"{case.source}[{partition}]"] > 0
    assert (
        tidewatch(
            case.bootstrap, "savepoint", "drop", "before-change", "--yes", "--app-id", case.app
        ).returncode
        == 0
    )
