"""Pipelines for fault tests: what to send, what runs, and what must come out, byte for byte."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from confluent_kafka import Message

from schemas.columns import RawBatch
from schemas.deadletters import CODE, header
from schemas.results import WindowSummary
from streams.checkpoint import Restored
from streams.runner import StageRunner
from streams.stages import stage_of
from streams.task import Output
from tests.streams.harness import PARTITIONS, Event, Feed, Reader, make_topics
from tidewatch.declarations import find_pipeline

COUNTING = Path(__file__).with_name("counting.py")


class Case(Protocol):
    """One pipeline on its own topics."""

    bootstrap: str
    source: str
    app: str

    def command(self) -> list[str]:
        """Return what starts a worker."""

    def event(self, number: int) -> Event:
        """Return the event to send as the ``number``-th."""

    def visible(self) -> int:
        """Return how many results can be read in the partition that has the fewest."""

    def done(self, sent: int) -> bool:
        """Say whether as many results can be read as the events sent must give."""

    def check(self, sent: int) -> None:
        """Compare every partition of every output with an undisturbed run."""


@dataclass
class CountingCase:
    """Every output shows how many records came before it."""

    bootstrap: str
    source: str
    state_interval: float = 0.5
    app: str = ""

    def __post_init__(self) -> None:
        self.app = self.source
        self.outputs = Outputs(self.bootstrap, self.source)

    def command(self) -> list[str]:
        return [sys.executable, str(COUNTING), self.source, self.bootstrap, str(self.state_interval)]

    def event(self, number: int) -> Event:
        return Event(number % PARTITIONS, b"%d" % (number // PARTITIONS + 1))

    def visible(self) -> int:
        return self.outputs.visible()

    def done(self, sent: int) -> bool:
        return self.visible() >= sent // PARTITIONS

    def check(self, sent: int) -> None:
        for (_, partition), messages in self.outputs.all_of("out").items():
            assert [m.value() for m in messages] == expected(sent // PARTITIONS), partition


SUFFIXES = {"result": "out", "alert": "alert", "late": "late", "dead": "dlq"}


class Outputs:
    """What readers see of a case's outputs so far."""

    def __init__(self, bootstrap: str, source: str) -> None:
        self._bootstrap, self._source = bootstrap, source
        self._reader: Reader | None = None

    def visible(self) -> int:
        """Return how many results can be read in the partition that has the fewest."""
        return min(self.counts("result"))

    def counts(self, kind: str) -> list[int]:
        """Return how many records of a kind can be read, by partition."""
        if self._reader is None:
            self._reader = Reader(
                self._bootstrap, [f"{self._source}.{suffix}" for suffix in SUFFIXES.values()]
            )
        self._reader.read()
        topic = f"{self._source}.{SUFFIXES[kind]}"
        return [len(self._reader.messages[topic, p]) for p in range(PARTITIONS)]

    def all_of(self, *suffixes: str) -> dict[tuple[str, int], list[Message]]:
        """Read topics anew, from their beginning to their end."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        reader = Reader(self._bootstrap, [f"{self._source}.{suffix}" for suffix in suffixes])
        reader.read_all()
        reader.close()
        return reader.messages


def expected(count: int) -> list[bytes]:
    """Return what one partition's outputs of the counting task must be for records 1 to ``count``."""
    return [b"%d %d" % (i, i * (i + 1) // 2) for i in range(1, count + 1)]


DECLARATION = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.threshold import Threshold

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(1_000), results="{source}.out", alerts="{source}.alert", idle_timeout_ms=None,
    rules=(Threshold(name="hot", above=90.0, clear=60.0),),
)
"""
START = 1_750_000_000_000
STEP_MS = 20
LOWEST, HIGHEST = -100.0, 100.0


@dataclass
class WindowCase:
    """The real command with windows, sketches, a rule, late events and values that no sensor can have."""

    bootstrap: str
    source: str
    folder: Path
    app: str = "app"
    state_interval: float = 0.5
    _source: dict[tuple[str, int], list[Message]] = field(default_factory=dict)
    _memory: dict[int, dict[str, list[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.file = self.folder / "mine.py"
        self.file.write_text(DECLARATION.format(source=self.source))
        self.app = f"{self.app}-{self.source}"
        self.outputs = Outputs(self.bootstrap, self.source)

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "tidewatch", "worker", f"{self.file}:MINE", "--app-id", self.app,
            "--session-timeout", "4", "--state-interval", str(self.state_interval),
        ]  # fmt: skip

    def event(self, number: int) -> Event:
        rng = np.random.default_rng(number)
        partition, step = number % PARTITIONS, number // PARTITIONS
        moment = START + step * STEP_MS - (int(rng.integers(0, 6_000)) if rng.random() < 0.02 else 0)
        sensor = f"s{partition}-{int(rng.integers(0, 5))}"
        reading = {
            "sensor_id": sensor, "site": "x", "quantity": "temperature", "unit": "degC",
            "value": round(float(rng.normal(50, 20)), 2), "time": moment,
        }  # fmt: skip
        return Event(partition, json.dumps(reading).encode(), sensor.encode())

    def visible(self) -> int:
        return self.outputs.visible()

    def done(self, sent: int) -> bool:
        return all(
            found >= len(self._undisturbed(p, sent)[kind])
            for kind in SUFFIXES
            for p, found in enumerate(self.outputs.counts(kind))
        )

    def check(self, sent: int) -> None:
        found = self.outputs.all_of(*SUFFIXES.values())
        for partition in range(PARTITIONS):
            undisturbed = self._undisturbed(partition, sent)
            for kind, suffix in SUFFIXES.items():
                messages = found[f"{self.source}.{suffix}", partition]
                assert [_bytes_of(m) for m in messages] == undisturbed[kind], (partition, kind)
            self._recount(partition, [value for _, value, _ in undisturbed["result"]])
        assert all(any(found[f"{self.source}.{s}", p] for p in range(PARTITIONS)) for s in SUFFIXES.values())

    def _undisturbed(self, partition: int, sent: int) -> dict[str, list[Any]]:
        """Run the same task over all that the partition holds, once, in this process."""
        if partition not in self._memory:
            records = self._sent(partition)
            assert len(records) == sent // PARTITIONS
            stage = stage_of(find_pipeline(f"{self.file}:MINE"))
            runner = StageRunner.restored(stage, partition, Restored(), 0)
            outputs: dict[str, list[Any]] = defaultdict(list)
            output: Output
            for output in runner.take(raw_batch(self.source, partition, records)):
                outputs[output.kind].append((output.key, output.value, list(output.headers)))
            self._memory[partition] = outputs
        return self._memory[partition]

    def _sent(self, partition: int) -> list[Message]:
        if not self._source:
            reader = Reader(self.bootstrap, [self.source])
            reader.read_all()
            reader.close()
            self._source = reader.messages
        return self._source[self.source, partition]

    def _recount(self, partition: int, results: list[bytes]) -> None:
        """Compare with numpy over the events themselves."""
        windows: dict[str, list[float]] = defaultdict(list)
        watermark = -1
        for message in self._sent(partition):
            reading = json.loads(message.value() or b"")
            start = reading["time"] - reading["time"] % 1_000
            if not LOWEST <= reading["value"] <= HIGHEST:
                continue
            if start + 1_000 > watermark:
                windows[f"mine|{reading['sensor_id']}/temperature|{start}|{start + 1_000}|0"].append(
                    reading["value"]
                )
            watermark = max(watermark, reading["time"] - 2_000)
        closed = {name: values for name, values in windows.items() if int(name.split("|")[3]) <= watermark}
        summaries = [msgspec.json.decode(value, type=WindowSummary) for value in results]
        assert sorted(summary.id for summary in summaries) == sorted(closed)
        for summary in summaries:
            values = np.array(closed[summary.id])
            assert (summary.count, summary.min, summary.max) == (len(values), values.min(), values.max())
            np.testing.assert_allclose(
                [summary.sum, summary.mean, summary.variance],
                [values.sum(), values.mean(), values.var()],
                rtol=1e-9,
                atol=1e-9,
            )


def raw_batch(topic: str, partition: int, records: list[Message]) -> RawBatch:
    """Return records as the fetcher would, in one batch."""
    offsets = np.array([int(m.offset() or 0) for m in records], np.int64)
    times = np.array([m.timestamp()[1] for m in records], np.int64)
    return RawBatch(
        topic, partition, 0, int(offsets[-1]) + 1, offsets, times, [m.key() for m in records], [m.value() for m in records]
    )  # fmt: skip


def _bytes_of(message: Message) -> tuple[bytes | None, bytes | None, list[Any]]:
    return message.key(), message.value(), list(message.headers() or [])


def codes(messages: list[Message]) -> list[str]:
    """Return the error codes of dead letters."""
    return [header(message.headers(), CODE) or "" for message in messages]


@contextmanager
def feeding(case: Case, rate: float = 800.0) -> Iterator[Feed]:
    """Make the case's topics and send its events until the end of the block at the latest."""
    make_topics(case.bootstrap, case.source)
    feed = Feed(case.bootstrap, case.source, case.event, rate)
    feed.start()
    try:
        yield feed
    finally:
        feed.stop()


def environment(case: Case) -> dict[str, str]:
    """Return what a case's workers find in their environment."""
    return {"TIDEWATCH_BOOTSTRAP": case.bootstrap}
