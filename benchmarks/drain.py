"""One drain: start a system on a full topic, watch its results arrive, stop it, judge what came."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.asked import asked
from benchmarks.events import Workload
from benchmarks.oracle import Recount, judge
from benchmarks.processes import started, usage
from benchmarks.systems import Run, System
from producers.loader import load

Say = Callable[[str], None]
ENDINGS = ("", ".alert", ".late", ".dlq")


class DrainError(Exception):
    """A system did not finish; the message says how far it came and where its log is."""


@dataclass(frozen=True, slots=True)
class Drain:
    """What one drain took: seconds from start to the last result, processor seconds, peak memory, and what was wrong.

    ``checkpoint_bytes`` and ``longest_block`` (seconds, of the event loop) are known of systems that say so themselves.
    """

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    faults: list[str]
    checkpoint_bytes: float | None = None
    longest_block: float | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """A broker for measured runs, with the core on which the systems run and a place for logs."""

    bootstrap: str
    system_cores: list[int]
    directory: Path

    def fill(self, workload: Workload) -> str:
        """Make a topic of a workload's records, unless it is there, and return its name."""
        name = f"bench.{workload.events}.{workload.keys}.{workload.per_window}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        if name in admin.list_topics(timeout=30).topics:
            return name
        self.make_topics([name + ending for ending in ENDINGS], workload.partitions)
        # Not compressed, as stock Faust could not read it.
        load({"bootstrap.servers": self.bootstrap, "compression.type": "none"}, name, workload.records())
        return name

    def make_topics(self, names: list[str], partitions: int) -> None:
        """Create topics that keep all and take the broker's clock."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        wanted = [NewTopic(name, partitions, 1, config=config) for name in names]
        for future in admin.create_topics(wanted).values():
            future.result(60)

    def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """Return the end of each partition of a topic."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench-ends", "log_level": 2})
        try:
            looked = {
                p: consumer.get_watermark_offsets(TopicPartition(topic, p), 30) for p in range(partitions)
            }
            return {partition: found[1] for partition, found in looked.items()}
        finally:
            consumer.close()

    def drain(self, system: System, workload: Workload, recount: Recount, label: str, limit: float) -> Drain:
        """Let a system drain a workload's topic within ``limit`` seconds.

        Raises DrainError.
        """
        source = self.fill(workload)
        results = f"{source}.{label}"
        self.make_topics([results], workload.partitions)
        scratch = self.directory / label
        scratch.mkdir(parents=True)
        run = Run(self.bootstrap, source, results, workload.records_count, label, scratch)
        reader = Reader(self.bootstrap, results, workload.partitions)
        began = time.monotonic()
        try:
            with started(system.command(run), self.system_cores, scratch / "log") as process:
                ended = reader.until(len(recount), began + limit, process, scratch / "log")
                used = usage(process)
                said = asked(scratch / "log")
        finally:
            reader.close()
        verdict = judge(workload, recount, map(system.read, reader.values), sketch=system.sketch)
        return Drain(
            workload.events,
            ended - began,
            used.cpu_seconds,
            used.peak_mb,
            verdict.faults,
            None if said is None else said.checkpoint_bytes,
            None if said is None else said.longest_block,
        )


class Reader:
    """Collects committed results as they become visible."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.values: list[bytes] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-results",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])

    def until(self, count: int, deadline: float, process: psutil.Process, log: Path) -> float:
        """Return when as many results were there."""
        while len(self.values) < count:
            for message in self._consumer.consume(10_000, 0.02):
                error = message.error()
                if error is None:
                    self.values.append(message.value() or b"")
                elif not error.retriable():
                    raise KafkaException(error)
            if time.monotonic() > deadline or not process.is_running() or process.status() == "zombie":
                words = log.read_text(errors="replace")[-2_000:]
                raise DrainError(
                    f"{len(self.values)} of {count} results came; its log ({log}) ends:\n{words}"
                )
        return time.monotonic()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
