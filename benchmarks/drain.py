"""One drain: start a system on a full topic, watch its results arrive, stop it, judge what came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.asked import asked
from benchmarks.processes import moved, started, usage
from benchmarks.scenario import Answer, Record, Scenario
from benchmarks.sender import Sender
from benchmarks.system import Run, System

Say = Callable[[str], None]
ENDINGS = ("", ".alert", ".late", ".dlq")
_AT_ONCE = 50_000
_LOADING: dict[str, str | int] = {
    "linger.ms": 20,
    "log_level": 5,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "compression.type": "none",
}
LAST_WORDS = 2.0
"""Seconds in which the last results of a process that has ended may come."""


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
    """A broker for measured runs, with the core on which the systems run, that of the broker, and a place for logs."""

    bootstrap: str
    system_cores: list[int]
    broker_cores: list[int]
    directory: Path

    def fill(self, scenario: Scenario) -> str:
        """Make the topics of a scenario's records, unless they are there, and return what their names begin with."""
        name = scenario.name
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        topics = scenario.topics()
        if any(name + ending in admin.list_topics(timeout=30).topics for ending in topics):
            return name
        self.make_topics([name + part + ending for part in topics for ending in ENDINGS], scenario.partitions)
        with moved(self._all_cores()):
            for ending, records in topics.items():
                self._load(name + ending, scenario.partitions, iter(records))
        return name

    def _all_cores(self) -> list[int]:
        return sorted({*self.system_cores, *self.broker_cores})

    def _load(self, topic: str, partitions: int, records: Iterator[Record]) -> None:
        """Write records and see that all are there."""
        # Not compressed, as stock Faust could not read it.
        settings: dict[str, str | int] = {
            "bootstrap.servers": self.bootstrap,
            "enable.idempotence": "true",
            **_LOADING,
        }
        sent = 0
        with closing(Sender(settings, topic)) as sender:
            while some := list(islice(records, _AT_ONCE)):
                sender.send_records([key for key, _ in some], [value for _, value in some], partitions)
                sent += len(some)
            sender.flush(120)
        with closing(Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench-fill"})) as consumer:
            places = [TopicPartition(topic, partition) for partition in range(partitions)]
            there = sum(consumer.get_watermark_offsets(place, timeout=30)[1] for place in places)
        if there != sent:
            raise DrainError(f"{there} of {sent} records are on {topic}")

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

    def drain(self, system: System, scenario: Scenario, answer: Answer, label: str, limit: float) -> Drain:
        """Let a system drain a scenario's topics within ``limit`` seconds.

        Raises DrainError.
        """
        source = self.fill(scenario)
        results = f"{source}.{label}"
        self.make_topics([results + ending for ending in ("", *system.more)], scenario.partitions)
        scratch = self.directory / label
        scratch.mkdir(parents=True)
        run = Run(self.bootstrap, source, results, scenario.records_count, label, scratch)
        reader = Reader(self.bootstrap, results, scenario.partitions)
        cores = self._all_cores() if system.both else self.system_cores
        began = time.monotonic()
        try:
            with started(system.command(run), cores, scratch / "log") as process:
                ended = reader.until(answer, began + limit, process, scratch / "log")
                used = usage(process)
                said = asked(scratch / "log")
        finally:
            reader.close()
        faults = answer.judge(system.read, reader.values, sketch=system.sketch)
        return Drain(
            scenario.events,
            ended - began,
            used.cpu_seconds,
            used.peak_mb,
            faults,
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

    def until(self, answer: Answer, deadline: float, process: psutil.Process, log: Path) -> float:
        """Return when as many results were there as the answer has."""
        while len(self.values) < len(answer):
            for message in self._consumer.consume(10_000, 0.02):
                error = message.error()
                if error is None:
                    value = message.value() or b""
                    if answer.wanted(value):
                        self.values.append(value)
                elif not error.retriable():
                    raise KafkaException(error)
            if not process.is_running() or process.status() == "zombie":
                deadline = min(deadline, time.monotonic() + LAST_WORDS)
            if time.monotonic() > deadline:
                words = log.read_text(errors="replace")[-2_000:]
                raise DrainError(
                    f"{len(self.values)} of {len(answer)} results came; its log ({log}) ends:\n{words}"
                )
        return time.monotonic()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
