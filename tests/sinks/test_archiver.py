"""The Parquet archive on a real broker: killed at any step or out of room, it holds each record exactly once."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import msgspec
import pandas as pd
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

import tidewatch
from producers.loader import load
from schemas.partitioning import partition_of
from sinks.archive_files import PartitionFiles, extent_of, read_files
from sinks.archiver import ArchiveLimits, Archiver
from sinks.errors import SinkError, TopicError
from sinks.makers import maker
from sinks.metrics import SinkMetrics
from sinks.tables import raw_batch_of
from tests.conftest import Kafka
from tests.schemas.batches import T0
from tests.sinks.archive_process import LIKE, STEPS
from tests.sinks.results import alert, make_topic, publish, summary
from tests.streams.harness import until

pytestmark = pytest.mark.slow

COUNT = 1_000


def event(number: int) -> tuple[bytes, bytes]:
    key = b"s%d" % (number % 7)
    reading = {"sensor_id": key.decode(), "site": "x", "quantity": "temperature", "unit": "degC", "value": number % 40,
               "time": T0 + number}  # fmt: skip
    return key, b"{" if number % 97 == 0 else json.dumps(reading).encode()


EVENTS = [event(n) for n in range(COUNT)]


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str) -> str:
    make_topic(kafka.connection, topic_prefix, 2)
    return topic_prefix


def archiver(kafka: Kafka, topic: str, root: Path, *, accept_loss: bool = False) -> Archiver:
    return Archiver(
        kafka.connection, {topic: maker(topic, like=LIKE, partitions=2)}, root,
        SinkMetrics(CollectorRegistry(), "parquet"), limits=ArchiveLimits(records=100), accept_loss=accept_loss,
    )  # fmt: skip


def process(kafka: Kafka, topic: str, root: Path, step: str, nth: int) -> list[str]:
    module = "tests.sinks.archive_process"
    return [sys.executable, "-m", module, kafka.bootstrap, topic, str(root), step, str(nth)]


def check(root: Path, topic: str, events: list[tuple[bytes, bytes]]) -> None:
    """Compare the archive with what was sent, record by record, and its files with one another."""
    partitions = partition_of([key for key, _ in events], 2).tolist()
    for partition in (0, 1):
        files = PartitionFiles(root, topic, partition)
        assert not list(files.directory.glob(".*.tmp"))
        extents = [extent_of(file) for file in files.files()]
        assert all(a.next == b.first for a, b in itertools.pairwise(extents))
        batch = raw_batch_of(read_files(files.files()), 0)
        expected = [each for each, p in zip(events, partitions, strict=True) if p == partition]
        assert list(zip(batch.keys, batch.values, strict=True)) == expected
        assert len(set(batch.offsets.tolist())) == len(batch)


@pytest.mark.kafka
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_exactly_one_copy(
    kafka: Kafka, topic: str, tmp_path: Path, step: str
) -> None:
    load(kafka.connection, topic, EVENTS[:600])
    for nth in (2, 3):
        killed = subprocess.run(process(kafka, topic, tmp_path, step, nth), timeout=120, check=False)
        assert killed.returncode == -signal.SIGKILL
    load(kafka.connection, topic, EVENTS[600:])
    archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    check(tmp_path, topic, EVENTS)
    archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    check(tmp_path, topic, EVENTS)


@pytest.mark.kafka
def test_out_of_room_is_told_and_goes_on_by_itself_when_there_is_some(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    load(kafka.connection, topic, EVENTS)
    command = process(kafka, topic, tmp_path, "small-files", 2_000)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as full:
        assert full.stderr is not None
        told = full.stderr.readline()
        assert "no room for the archive" in told
        assert "make space there" in told
        assert not list(tmp_path.rglob("*.parquet"))
        assert not list(tmp_path.rglob("*.tmp"))
        full.send_signal(signal.SIGUSR1)
        full.stderr.read()
        assert full.wait(120) == 0
    check(tmp_path, topic, EVENTS)


@pytest.mark.kafka
def test_the_archive_reads_as_the_topic_does(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    load(kafka.connection, topic, EVENTS)
    archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    archived = tidewatch.read(tmp_path / topic)
    live = tidewatch.read(topic, like=LIKE, connection=kafka.connection)
    pd.testing.assert_frame_equal(archived, live, check_categorical=False)
    assert len(live) == COUNT
    assert (live["error"] == "malformed").sum() == 11
    assert live["value"].sum() == sum(n % 40 for n in range(COUNT) if n % 97)
    with pytest.raises(TopicError, match=topic):
        tidewatch.read(tmp_path)
    with pytest.raises(TopicError, match="--like"):
        tidewatch.read(topic, connection=kafka.connection)


@pytest.mark.kafka
def test_results_are_read_once_by_id_and_newest_where_asked(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    first = [summary(n) for n in range(60)]
    publish(kafka.connection, topic, [*first, *first[:10], *(summary(n, 1) for n in range(4)), b"no result"])
    make = {topic: maker(topic, like="iot.sensor.window.v1")}
    archive = Archiver(kafka.connection, make, tmp_path, SinkMetrics(CollectorRegistry(), "parquet"))
    archive.run(Event(), until_end=True)
    for source, options in (
        (topic, {"like": "iot.sensor.window.v1", "connection": kafka.connection}),
        (tmp_path / topic, {}),
    ):
        every = tidewatch.read(source, **options)  # type: ignore[arg-type]
        assert (len(every), every["id"].nunique(), every["record_error"].notna().sum()) == (65, 64, 1)
        newest = tidewatch.read(source, newest=True, **options)  # type: ignore[arg-type]
        assert len(newest) == 60
        assert sorted(newest.loc[newest["revision"] == 1, "count"]) == [1, 2, 3, 4]
        assert newest["labels"][0]["site"] == "north"


@pytest.mark.kafka
def test_alerts_are_read_with_their_last_transition(kafka: Kafka, topic: str) -> None:
    publish(kafka.connection, topic, [alert(n, r) for r in (0, 1) for n in range(4) if r == 0 or n < 2])
    frame = tidewatch.read(topic, like="iot.sensor.alert.v1", newest=True, connection=kafka.connection)
    assert sorted(zip(frame["group"], frame["state"], strict=True)) == [
        ("s0/temperature", "close"), ("s1/temperature", "close"), ("s2/temperature", "open"), ("s3/temperature", "open"),
    ]  # fmt: skip
    assert msgspec.json.decode(frame["evidence"][0]) == alert(0).evidence


@pytest.mark.kafka
def test_two_processes_cannot_archive_a_topic_to_the_same_place(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    load(kafka.connection, topic, EVENTS)
    command = process(kafka, topic, tmp_path, "small-files", 2_000)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as other:
        assert other.stderr is not None
        other.stderr.readline()
        with pytest.raises(SinkError, match="another process archives"):
            archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
        other.kill()


@pytest.mark.kafka
def test_records_deleted_before_they_were_archived_are_told_and_counted(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    load(kafka.connection, topic, EVENTS[:100], partition=0)
    archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    load(kafka.connection, topic, EVENTS[100:300], partition=0)
    admin = AdminClient(kafka.connection)
    for future in admin.delete_records([TopicPartition(topic, 0, 150)]).values():
        future.result(60)
    with pytest.raises(SinkError, match=r"50 records of .* were deleted .*--accept-loss"):
        archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    archiver(kafka, topic, tmp_path, accept_loss=True).run(Event(), until_end=True)
    frame = tidewatch.read(tmp_path / topic)
    assert frame["offset"].tolist() == [*range(100), *range(150, 300)]


@pytest.mark.kafka
def test_a_topic_made_anew_is_not_mixed_with_the_old_one(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    load(kafka.connection, topic, EVENTS)
    archiver(kafka, topic, tmp_path).run(Event(), until_end=True)
    admin = AdminClient(kafka.connection)
    admin.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in admin.list_topics(timeout=30).topics, 60, "the topic is still there")
    make_topic(kafka.connection, topic, 2)
    load(kafka.connection, topic, EVENTS)
    load(kafka.connection, topic, EVENTS)
    with pytest.raises(SinkError, match="earlier topic"):
        archiver(kafka, topic, tmp_path).run(Event(), until_end=True)


def test_a_damaged_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / f"{0:020d}.parquet"
    file.write_bytes(b"PAR1 no parquet")
    with pytest.raises(SinkError, match="remove it, and it is fetched again"):
        extent_of(file)
