"""``tidewatch backfill`` on Dask: the bytes that a real worker wrote to Kafka, from the topic and from its archive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tidewatch
from producers.loader import load
from tests.streams.harness import Reader, until
from tests.tidewatch.backfill.test_history_files import PIPELINE, archived, readings, value
from tests.tidewatch.test_rollup_end_to_end import PARTITIONS, prepared
from tests.tidewatch.test_worker_end_to_end import worker
from tidewatch.backfill.planning import Plan
from tidewatch.backfill.record_files import records_of
from tidewatch.backfill.run import Outcome, cluster, run
from tidewatch.backfill.sources import archive_sources
from tidewatch.declarations import Declared

pytestmark = pytest.mark.slow

_TOPICS = ["windows", "alerts", "readings.late", "readings.dlq", "totals"]
ON_KAFKA = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling
from streams.rules.threshold import Threshold

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{source}.out", alerts="{source}.alert", partials="{source}.partial",
    totals="{source}.total", idle_timeout_ms={idle}, rollups=(RollUp(by=("site", "quantity")), RollUp()),
    rules=(Threshold(name="hot", above=55.0, clear=40.0),),
)
"""
Written = dict[tuple[str, int], list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]]


def on_kafka(reader: Reader) -> Written:
    """Key, value and headers of what has been read, by topic and partition."""
    return {
        place: [(m.key(), m.value(), tuple(m.headers() or ())) for m in messages]
        for place, messages in reader.messages.items()
        if messages
    }


def in_files(output: Path, topics: list[str]) -> Written:
    found: Written = {}
    for topic in topics:
        for partition in range(PARTITIONS):
            files = sorted((output / topic / str(partition)).glob("*.parquet"))
            rows = [
                (r.key, r.value, r.headers) for file in files for _, r in records_of(file, topic, partition)
            ]
            if rows:
                found[topic, partition] = rows
    return found


def backfill(bootstrap: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tidewatch", "backfill", *arguments, "--json"]
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.kafka
@pytest.mark.parametrize("idle", [None, 2_000])
def test_history_has_the_bytes_that_a_worker_wrote(
    kafka: Any, topic_prefix: str, tmp_path: Path, idle: int | None
) -> None:
    """With an idle timeout the last windows are closed by the clock, and the app's checkpoints tell where."""
    source = f"{topic_prefix}.in"
    declaration = prepared(kafka, source, tmp_path, idle)
    (tmp_path / "mine.py").write_text(ON_KAFKA.format(source=source, idle=idle))
    records = [(row[0].encode(), value(row)) for row in readings()]
    records[100:100] = [(b"s1", b"no json"), (b"s2", b"")]
    load(kafka.connection, source, records)
    # A roll-up that idleness closes depends on whose clock was first, so only the partitions' own outputs are compared then.
    outputs = [
        source + suffix for suffix in (".out", ".alert", ".late", ".dlq", *([] if idle else [".total"]))
    ]
    facts = backfill(kafka.bootstrap, declaration, "--output", str(tmp_path / "before"))
    assert facts["records"] == len(records)
    before = in_files(tmp_path / "before", outputs)
    assert {topic for topic, _ in before} == set(outputs)
    reader = Reader(kafka.bootstrap, outputs)
    with worker(declaration, kafka.bootstrap, topic_prefix):
        until(lambda: far_enough(reader, before, idle), 180, "results are missing")
    reader.read_all()
    written = on_kafka(reader)
    assert (written == before) is (idle is None)

    archive = [sys.executable, "-m", "tidewatch", "sink", "parquet", source, "--directory", str(tmp_path / "archive"),
               "--like", "iot.sensor.reading.v1", "--once", "--records", "100"]  # fmt: skip
    subprocess.run(
        archive, env=os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}, check=True, timeout=120
    )
    backfill(
        kafka.bootstrap, declaration, "--output", str(tmp_path / "after"), "--app-id", topic_prefix,
        "--archive", str(tmp_path / "archive"), "--publish",
    )  # fmt: skip
    assert in_files(tmp_path / "after", outputs) == written

    # Published again, every result is there twice under its id, and a reader that goes by ids has it once.
    results = sum(len(rows) for (topic, _), rows in written.items() if topic.endswith(".out"))
    until(lambda: len_of(reader, ".out") >= 2 * results, 60, "nothing was published")
    again = {place: rows for place, rows in on_kafka(reader).items() if place[0].endswith(".out")}
    reader.close()
    assert again == {place: rows * 2 for place, rows in written.items() if place[0].endswith(".out")}
    frame = tidewatch.read(tmp_path / "after" / f"{source}.out", like="iot.sensor.window.v1")
    assert len(frame) == results
    letters = tidewatch.read(tmp_path / "after" / f"{source}.dlq", like="iot.sensor.reading.v1.dlq")
    assert sorted(letters["code"]) == ["empty", "malformed"]


def len_of(reader: Reader, suffix: str) -> int:
    reader.read(0.5)
    return sum(len(messages) for (topic, _), messages in reader.messages.items() if topic.endswith(suffix))


def far_enough(reader: Reader, before: Written, idle: int | None) -> bool:
    """Say whether a worker has published all that history holds and, where it closes windows when idle, the last ones."""
    reader.read(0.5)
    written = on_kafka(reader)
    whole = all(len(written.get(place, [])) >= len(rows) for place, rows in before.items())
    if idle is None:
        return whole
    windows = [
        row[1] or b"" for (topic, _), rows in written.items() if topic.endswith(".out") for row in rows
    ]
    start = readings()[-1][1] // 10_000 * 10_000
    sensors = {sensor for sensor, time, _ in readings() if time >= start}
    closed = sum(b"|%d|%d|0" % (start, start + 10_000) in window for window in windows)
    return whole and closed == len(sensors)


def archived_pipeline(folder: Path) -> str:
    """Write a pipeline and an archive of its source, and return what declares it."""
    (folder / "mine.py").write_text(PIPELINE)
    archived(folder / "archive", readings())
    return f"{folder / 'mine.py'}:MINE"


def test_the_task_of_a_worker_that_is_killed_is_done_by_another(tmp_path: Path) -> None:
    """One of two workers is stopped, so that it must be at its task when it is killed; nobody races it."""
    declaration = archived_pipeline(tmp_path)
    declared, sources = Declared.of(declaration), archive_sources(tmp_path / "archive", "readings")
    with cluster(None, 2) as client:
        run(Plan(declared, {"readings": sources}, tmp_path / "quiet"), client, lambda *_: None)
        victim = min(client.run(os.getpid).values())
        os.kill(victim, signal.SIGSTOP)
        killing = threading.Timer(5, os.kill, (victim, signal.SIGKILL))
        killing.start()
        plan = Plan(declared, {"readings": sources}, tmp_path / "killed")
        outcome = run(plan, client, lambda *_: None, speculative=False)
        killing.join()
    assert outcome.raced == 0
    assert in_files(tmp_path / "killed", _TOPICS) == in_files(tmp_path / "quiet", _TOPICS)


def test_a_worker_slowed_to_a_crawl_is_overtaken_by_a_duplicate(tmp_path: Path) -> None:
    """Of two workers one is stopped as soon as it has begun; the other does its own task, and then its task too."""
    declaration = archived_pipeline(tmp_path)
    declared, sources = Declared.of(declaration), archive_sources(tmp_path / "archive", "readings")
    plan = Plan(declared, {"readings": sources}, tmp_path / "quiet")
    with cluster(None, 2) as client:
        run(plan, client, lambda *_: None, speculative=False)
        undisturbed = in_files(tmp_path / "quiet", _TOPICS)
        victim = min(client.run(os.getpid).values())
        os.kill(victim, signal.SIGSTOP)
        stopped = threading.Timer(120, os.kill, (victim, signal.SIGCONT))  # whatever happens, the test ends
        stopped.start()
        try:
            plan = Plan(declared, {"readings": sources}, tmp_path / "raced")
            began = time.monotonic()
            outcome: Outcome = run(plan, client, lambda *_: None, patience=1.0)
            took = time.monotonic() - began
        finally:
            stopped.cancel()
            os.kill(victim, signal.SIGCONT)
    assert outcome.raced >= 1
    assert outcome.won >= 1
    assert took < 120, "the stopped worker was waited for"
    assert in_files(tmp_path / "raced", _TOPICS) == undisturbed
    assert not (tmp_path / "raced" / ".work").exists()


def test_a_cluster_elsewhere_makes_the_same_bytes(tmp_path: Path) -> None:
    """A scheduler and a worker in processes of their own, as on other machines, named to the verb by their address."""
    declaration = archived_pipeline(tmp_path)
    declared, sources = Declared.of(declaration), archive_sources(tmp_path / "archive", "readings")
    with cluster(None, 2) as client:
        run(Plan(declared, {"readings": sources}, tmp_path / "here"), client, lambda *_: None)
    address = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address)],
        [*dask, "worker", "--scheduler-file", str(address), "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard",
         "--local-directory", str(tmp_path)],
    ]  # fmt: skip
    processes = []
    try:
        for command in commands:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            processes.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
            until(address.exists, 60, "the scheduler does not begin")
        place = json.loads(address.read_text())["address"]
        arguments = [
            "--archive",
            str(tmp_path / "archive"),
            "--output",
            str(tmp_path / "there"),
            "--scheduler",
            place,
        ]
        facts = backfill("127.0.0.1:1", declaration, *arguments)  # no Kafka is needed
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(60)
    assert facts["records"] == len(readings())
    assert in_files(tmp_path / "there", _TOPICS) == in_files(tmp_path / "here", _TOPICS)
