"""What fault tests share: topics, an unending feed, worker processes, and results read back as a reader would."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from streams.checkpoint import PROGRESS, Progress, Restored, decode_progress
from streams.positions import log_range

PARTITIONS = 4
ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # seconds: a deadline that only a broken engine misses, however busy the machine


def make_topics(
    bootstrap: str, source: str, partitions: int = PARTITIONS, settings: dict[str, str] | None = None
) -> None:
    """Create a source and its four output topics with the broker's replication."""
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(name, partitions, config=settings or {}) for name in names]
    for future in admin.create_topics(topics).values():
        future.result(60)


def until(condition: Callable[[], bool], seconds: float, what: str | Callable[[], str]) -> None:
    """Wait for a condition, as long as a busy machine may need: ``seconds``, and ``PATIENCE`` where that is longer."""
    deadline = time.monotonic() + max(seconds, PATIENCE)
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what if isinstance(what, str) else what())
        time.sleep(0.25)


def eventually(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Wait for a condition that only a broken engine misses."""
    until(condition, PATIENCE, what)


def read_messages(bootstrap: str, topic: str, partition: int) -> list[Message]:
    """Read a partition's committed records to its present end, from the first that it holds."""
    connection = {"bootstrap.servers": bootstrap}
    consumer = Consumer(
        {
            **connection, "group.id": "check", "enable.partition.eof": True, "log_level": 2,
            "isolation.level": "read_committed", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20,
        }
    )  # fmt: skip
    messages: list[Message] = []
    deadline = time.monotonic() + PATIENCE
    end = log_range(connection, topic, partition, PATIENCE, isolation="read_committed").high
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        while time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is None and message.offset() < end:
                    messages.append(message)
                elif error is None or error.code() == KafkaError._PARTITION_EOF:
                    return messages
    finally:
        consumer.close()
    raise TimeoutError(f"{topic}[{partition}] has no end after {PATIENCE} s")


def read(bootstrap: str, topic: str, partition: int) -> list[bytes]:
    """Read a partition's committed values."""
    return [message.value() or b"" for message in read_messages(bootstrap, topic, partition)]


class Reader:
    """Follows the committed records of some topics with one consumer; ``messages`` holds them by topic and partition."""

    def __init__(self, bootstrap: str, topics: Sequence[str], partitions: int = PARTITIONS) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True, "log_level": 2,
                "isolation.level": "read_committed", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50,
            }
        )  # fmt: skip
        places = [(topic, partition) for topic in topics for partition in range(partitions)]
        self.messages: dict[tuple[str, int], list[Message]] = {place: [] for place in places}
        self._ended: set[tuple[str, int]] = set()
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])

    def read(self, seconds: float = 0.2) -> None:
        """Take what comes within so many seconds."""
        for message in self._consumer.consume(100_000, seconds):
            error, place = message.error(), (message.topic(), message.partition())
            if error is None:
                self.messages[place].append(message)
                self._ended.discard(place)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(place)

    def read_all(self) -> None:
        """Read every partition, to which nobody writes any more, to its end."""
        eventually(lambda: self.read(0.2) or self._ended == self.messages.keys(), "the topics have no end")  # type: ignore[func-returns-value]

    def close(self) -> None:
        """Let go of the cluster."""
        self._consumer.close()


def send(bootstrap: str, source: str, values: Sequence[bytes], partition: int) -> None:
    """Send values to a partition, at once."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2})
    for value in values:
        producer.produce(source, value, partition=partition)
    assert producer.flush(PATIENCE) == 0


def writers(bootstrap: str, topic: str, partition: int) -> list[tuple[int, int]]:
    """Return id and epoch of the producer of every batch in a partition's log, in order; aborted ones too, markers not."""
    return asyncio.run(_writers(bootstrap, topic, partition))


async def _writers(bootstrap: str, topic: str, partition: int) -> list[tuple[int, int]]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    await client.set_topics([topic])
    leader = client.cluster.leader_for_partition(AioPartition(topic, partition))
    end = log_range({"bootstrap.servers": bootstrap}, topic, partition, PATIENCE)
    found, offset = [], end.low
    try:
        while offset < end.high:
            asked = FetchRequest(500, 1, 1 << 24, 0, [(topic, [(partition, offset, 1 << 24)])])
            response = await client.send(leader, asked)
            batches = MemoryRecords(response.topics[0][1][0][-1])
            before = offset
            while batches.has_next():
                batch = batches.next_batch()
                if batch.base_offset >= offset and not batch.is_control_batch:
                    found.append((batch.producer_id, batch.producer_epoch))
                offset = max(offset, batch.next_offset)
            assert offset > before, f"{topic}[{partition}] cannot be read at {before}"
    finally:
        await client.close()
    return found


def progress_of(bootstrap: str, app: str, partition: int) -> list[Progress]:
    """Return the committed progress records of a checkpoint partition, in order."""
    messages = read_messages(bootstrap, f"tw.{app}.checkpoint", partition)
    return [decode_progress(m.value() or b"") for m in messages if (m.key() or b"")[:1] == PROGRESS]


def committed_position(bootstrap: str, app: str, source: str, partition: int) -> int:
    """Return where an app stands on a partition; a new base deletes the progress before it, which its manifest then says."""
    restored = Restored()
    for message in read_messages(bootstrap, f"tw.{app}.checkpoint", partition):
        restored.take(message.key() or b"", message.value() or b"")
    newest = restored.progress or restored.manifest
    return 0 if newest is None else newest.positions[source]


def backlog(bootstrap: str, app: str, source: str) -> int:
    """Return how far the committed positions of an app are behind the ends of its source, over all partitions."""
    ends = [log_range({"bootstrap.servers": bootstrap}, source, p, PATIENCE).high for p in range(PARTITIONS)]
    return sum(ends) - sum(committed_position(bootstrap, app, source, p) for p in range(PARTITIONS))


def working_members(bootstrap: str, group: str) -> int:
    """Return how many members of a group own partitions; none while its coordinator does not answer.

    Asked by aiokafka: librdkafka's admin client may abort the process where the coordinator dies (see ``streams.offsets``).
    """
    return asyncio.run(_working_members(bootstrap, group))


async def _working_members(bootstrap: str, group: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        (response,) = await admin.describe_consumer_groups([group])
    except AioKafkaError:
        return 0
    finally:
        await admin.close()
    ((_, _, _, _, _, members, *_),) = response.groups
    shares = [ConsumerProtocol.ASSIGNMENT.decode(member[4]) for member in members if member[4]]
    return sum(bool(share.partitions()) for share in shares)


@dataclass(frozen=True, slots=True)
class Event:
    """A record to send."""

    partition: int
    value: bytes
    key: bytes | None = None


class Feed(threading.Thread):
    """Send the events of a case, evenly paced, until it is told to stop; ``sent`` counts them."""

    def __init__(self, bootstrap: str, source: str, event: Callable[[int], Event], rate: float) -> None:
        super().__init__(daemon=True)
        self._servers, self._source, self._event, self._rate = bootstrap, source, event, rate
        self._stop_now = threading.Event()
        self.sent = 0
        self.failed = 0

    def run(self) -> None:
        """Send."""
        producer = Producer(
            {
                "bootstrap.servers": self._servers, "enable.idempotence": True, "log_level": 2,
                "delivery.timeout.ms": 120_000,
            }
        )  # fmt: skip
        started = time.monotonic()
        while self.sent % 100 or not self._stop_now.is_set():
            event = self._event(self.sent)
            producer.produce(
                self._source, event.value, event.key, event.partition, on_delivery=self._delivered
            )
            self.sent += 1
            if self.sent % 100 == 0:
                producer.poll(0)
                time.sleep(max(0.0, started + self.sent / self._rate - time.monotonic()))
        self.failed += producer.flush(PATIENCE)

    def stop(self) -> int:
        """Send the last ones, and return how many were sent; a multiple of 100, hence of the partitions."""
        self._stop_now.set()
        self.join(PATIENCE)
        assert not self.is_alive()
        assert self.failed == 0
        return self.sent

    def _delivered(self, error: object, _: Message) -> None:
        self.failed += error is not None


class Workers:
    """Worker processes of one test, all ended when it ends."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], logs: Path) -> None:
        self._command, self._environment, self._logs = command, environment, logs
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, failpoint: str | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker; without a failpoint of its own it can be ``arm``ed later."""
        number = len(self.processes)
        environment["TIDEWATCH_FAILPOINT"] = failpoint or f"@{self._trigger(number)}"
        everything = {**os.environ, "PYTHONPATH": str(ROOT), **self._environment, **environment}
        with (self._logs / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, env=everything)
        self.processes.append(process)
        return process

    def arm(self, failpoint: str, number: int = 0) -> None:
        """Let a worker meet its fate at the failpoint from now on."""
        draft = self._trigger(number).with_suffix(".draft")
        draft.write_text(failpoint)
        draft.rename(self._trigger(number))

    def log(self, number: int = -1) -> str:
        """Return what a worker has said."""
        number = number % len(self.processes)
        return (self._logs / f"worker-{number}.log").read_text(errors="replace")

    def metric(self, name: str, number: int = -1, **labels: str) -> float | None:
        """Return what a worker's metrics page says of a series; ``None`` while there is none."""
        found = re.search(r"metrics on (http://\S+)", self.log(number))
        if found is None:
            return None
        with urlopen(found[1], timeout=10) as page:
            text = page.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def died(self, number: int, reason: str) -> None:
        """Wait until a worker has been killed at its failpoint."""
        process = self.processes[number]
        eventually(
            lambda: process.poll() is not None,
            lambda: f"{reason} was never reached: {self.log(number)[-2000:]}",
        )
        assert process.returncode == -signal.SIGKILL, self.log(number)[-2000:]

    def _trigger(self, number: int) -> Path:
        return self._logs / f"failpoint-{number}"


class Throttle(threading.Thread):
    """Lets a process run for only 50 ms of every second, as on a machine that is far too busy, until it is told to stop."""

    def __init__(self, process: subprocess.Popen[bytes], share: float = 0.05) -> None:
        super().__init__(daemon=True)
        self._process, self._share = process, share
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Stop and continue the process by turns."""
        while not self._stop_now.is_set():
            self._process.send_signal(signal.SIGSTOP)
            self._stop_now.wait(1.0 - self._share)
            self._process.send_signal(signal.SIGCONT)
            self._stop_now.wait(self._share)

    def stop(self) -> None:
        """Let the process run freely."""
        self._stop_now.set()
        self.join(PATIENCE)
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def throttled(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Throttle a process within the block."""
    throttle = Throttle(process)
    throttle.start()
    try:
        yield
    finally:
        throttle.stop()


@contextmanager
def workers(
    command: Sequence[str], logs: Path, environment: dict[str, str] | None = None
) -> Iterator[Workers]:
    """Give worker processes and end them all."""
    group = Workers(command, environment or {}, logs)
    try:
        yield group
    finally:
        for process in group.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in group.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
