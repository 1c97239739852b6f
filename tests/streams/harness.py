"""What fault tests share: topics, a paced feed, worker processes, and results read back as a reader would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 4
COUNTING = Path(__file__).with_name("counting.py")


def make_topics(bootstrap: str, source: str, replication: int = 1) -> None:
    """Create a source and its four output topics."""
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, replication) for name in names]).values():
        future.result(30)


def feed(bootstrap: str, source: str, count: int, rate: float, first: int = 0) -> None:
    """Send ``count`` numbered records round robin, evenly paced."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 3})
    started = time.monotonic()
    for i in range(first, first + count):
        producer.produce(source, b"%d" % (i // PARTITIONS + 1), partition=i % PARTITIONS)
        if i % 100 == 0:
            producer.poll(0)
            time.sleep(max(0.0, started + (i - first) / rate - time.monotonic()))
    assert producer.flush(60) == 0


def read(bootstrap: str, topic: str, partition: int, wait: float = 10.0) -> list[bytes]:
    """Read a partition's committed values to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True, "log_level": 3,
            "isolation.level": "read_committed", "auto.offset.reset": "earliest",
        }
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, partition, 0)])
    values: list[bytes] = []
    deadline = time.monotonic() + wait
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.5):
                if message.error() is not None:
                    return values
                values.append(message.value() or b"")
    finally:
        consumer.close()
    raise TimeoutError(f"{topic}[{partition}] has no end after {wait} s")


def expected(count: int) -> list[bytes]:
    """Return what one partition's outputs must be, byte for byte, for records 1 to ``count``."""
    return [b"%d %d" % (i, i * (i + 1) // 2) for i in range(1, count + 1)]


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.25)


def complete(bootstrap: str, source: str, count: int, partitions: tuple[int, ...] = (0, 1, 2, 3)) -> bool:
    """Say whether as many results as expected are visible in each of the partitions."""
    return all(len(read(bootstrap, f"{source}.out", p)) >= count for p in partitions)


class Workers:
    """Worker processes of one test, all ended when it ends."""

    def __init__(self, bootstrap: str, source: str, logs: Path) -> None:
        self.bootstrap, self.source, self.logs = bootstrap, source, logs
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, failpoint: str | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        if failpoint:
            environment["TIDEWATCH_FAILPOINT"] = failpoint
        root = str(COUNTING.parents[2])
        with (self.logs / f"worker-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(COUNTING), self.source, self.bootstrap],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": root, **environment},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, number: int) -> str:
        """Return what a worker has said."""
        return (self.logs / f"worker-{number}.log").read_text(errors="replace")


@contextmanager
def workers(bootstrap: str, source: str, logs: Path) -> Iterator[Workers]:
    """Give worker processes and end them all."""
    group = Workers(bootstrap, source, logs)
    try:
        yield group
    finally:
        for process in group.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in group.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
