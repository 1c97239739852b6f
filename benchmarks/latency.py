"""``tidewatch bench latency``: a paced run, each event stamped with the time at which it was meant to be sent.

So an event that waits because the sender or Kafka is behind counts as late, not as sent later (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil
from confluent_kafka import Consumer, Message, TopicPartition
from numpy.typing import NDArray

from benchmarks.asked import Said, asked
from benchmarks.drain import ENDINGS, Bench, Say
from benchmarks.peers import latency_worker
from benchmarks.place import bench, machine
from benchmarks.processes import started, usage
from benchmarks.readings import MOST, NAME_SIZE, Line, Readings, SendError, line, record_batches
from schemas.partitioning import partition_of

PARTITIONS = 4
HOT = 0
SENSORS = 250  # on each partition
STARTED = 20.0
"""Seconds, about, until broker and worker are there and have gone again."""
TICK = 0.01
"""Seconds between requests, as of a producer that lingers: a broker's work is by the request more than by the event."""
BUILT = 2e-6  # seconds, more than enough for most machines, to prepare an event
Probes = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Pace:
    """``rate`` events a second for ``seconds``, ``hot`` of them on one partition; ``probes`` a second that raise an alert each."""

    rate: int = 50_000
    seconds: float = 30.0
    hot: float = 0.7
    probes: int = 40
    warm_up: float = 15.0


class Found(msgspec.Struct):
    """What is read of an alert or a result."""

    labels: dict[str, str]
    end: int = 0
    state: str = ""


@dataclass
class Seen:
    """When records became visible, in milliseconds since the epoch, by what they are about."""

    alerts: dict[str, float] = field(default_factory=dict)
    windows: dict[tuple[int, int], float] = field(default_factory=dict)


def measure(pace: Pace, say: Say) -> dict[str, Any]:
    """Run and return one object: percentiles of alerts and window results, by hot and quiet partitions."""
    with bench() as place:
        source = "bench.latency"
        place.make_topics([source + ending for ending in (*ENDINGS, ".out")], PARTITIONS)
        worker = [*latency_worker.COMMAND, place.bootstrap, source, f"{source}.out", "latency"]
        with started(worker, place.system_cores, place.directory / "log") as process:
            seen, stop = Seen(), threading.Event()
            reader = threading.Thread(target=_read, args=(place, source, seen, stop), daemon=True)
            reader.start()
            try:
                log = place.directory / "log"
                run = asyncio.run(_run(place.bootstrap, source, pace, seen, process, log, say))
            finally:
                stop.set()
                reader.join(10)
            commits = _commits(asked(log))
    return report(pace, run.begun_ms, run.probes, seen) | {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "processed_per_s": round(run.processed / run.seconds),
        "worker_cpu_share": round(run.cpu_seconds / run.seconds, 3),
        "commits_share_of_worker_cpu": commits,
    }


class Sent(NamedTuple):
    """When sending began, the probes, and what the worker did and took until the last event was sent, ``seconds`` later."""

    begun_ms: float
    probes: Probes
    seconds: float
    processed: float
    cpu_seconds: float


def _commits(said: Said | None) -> float | None:
    """Return what part of a worker's processor time its commits took, its start included."""
    return None if said is None else round(said.commit_cpu_seconds / said.cpu_seconds, 3)


async def _run(
    bootstrap: str, source: str, pace: Pace, seen: Seen, process: psutil.Process, log: Path, say: Say
) -> Sent:
    """Send all events and wait for their alerts."""
    async with line(bootstrap, source) as wire:
        await _await_worker(wire, seen)
        say(f"sending {pace.rate:,} events a second for {pace.warm_up + pace.seconds:.0f} s")
        begun, ticks, probes = prepared(pace)
        before, idle = asked(log), usage(process).cpu_seconds
        await send(wire, begun, ticks)
        after, cpu, seconds = asked(log), usage(process).cpu_seconds - idle, time.time() - begun
        await _wait(lambda: probes.keys() <= seen.alerts.keys())
    processed = after.processed - before.processed if before and after else 0.0
    return Sent(begun * 1000, probes, seconds, processed, cpu)


async def _await_worker(wire: Line, seen: Seen) -> None:
    """Return when an event on every partition has come back as an alert: what a worker's start takes is not latency."""
    names = [f"ready-{partition:06d}" for partition in range(PARTITIONS)]
    times, partitions = np.full(PARTITIONS, int(time.time() * 1000)), np.arange(PARTITIONS, dtype=np.int8)
    ready = Readings(_letters(names), np.ones(PARTITIONS, np.bool_), times, partitions)
    while not await _taken(wire, ready):  # of new topics a broker may know before it leads them
        await asyncio.sleep(0.1)
    await _wait(lambda: seen.alerts.keys() >= set(names), 180.0)


async def _taken(wire: Line, readings: Readings) -> bool:
    try:
        await wire.send(record_batches(readings))
        await wire.flush()
    except SendError:
        return False
    return True


async def _wait(done: Callable[[], bool], limit: float = 60.0) -> None:
    """Wait until all has come, or what has not by then never will."""
    deadline = time.monotonic() + limit
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # windows that the last events closed


class Tick(NamedTuple):
    """What is sent at one moment, ``due`` seconds after the beginning: a record batch for each partition that has readings."""

    due: float
    batches: dict[int, bytes]


def prepared(pace: Pace) -> tuple[float, list[Tick], Probes]:
    """Make all record batches before the first is sent, which then costs the core of the broker hardly anything.

    Returns the moment in the future at which sending has to begin, in seconds since the epoch, what is sent, and (partition,
    intended time) of each probe.
    """
    total = pace.rate * (pace.warm_up + pace.seconds)
    allowed = 1.0 + total * BUILT
    while True:
        begun = math.ceil(time.time() + allowed)
        ticks, probes = _ticks(pace, begun)
        if time.time() < begun:
            return begun, ticks, probes
        allowed *= 2


def _ticks(pace: Pace, begun: float) -> tuple[list[Tick], Probes]:
    names, chance = _names(), np.random.default_rng(1)
    every = max(pace.rate // pace.probes, 1)
    ticks, probes = list[Tick](), Probes()
    length = min(TICK, (MOST - 1) / pace.rate)  # one less, as ends are rounded
    for tick in range(1, round((pace.warm_up + pace.seconds) / length) + 1):
        number = np.arange(int((tick - 1) * length * pace.rate), int(tick * length * pace.rate))
        if not len(number):
            continue
        times = ((begun + number / pace.rate) * 1000).astype(np.int64)
        hot, quiet = chance.random(len(number)) < pace.hot, chance.integers(1, PARTITIONS, len(number))
        partition = np.where(hot, HOT, quiet).astype(np.int8)
        name = names[partition, chance.integers(0, SENSORS, len(number))]
        high = number % every == 0
        for i in np.flatnonzero(high).tolist():
            probe = int(number[i]) // every
            partition[i] = probe % PARTITIONS
            name[i] = _letters([_probe(probe)])
            probes[_probe(probe)] = (int(partition[i]), int(times[i]))
        ticks.append(Tick(tick * length, record_batches(Readings(name, high, times, partition))))
    return ticks, probes


async def send(wire: Line, begun: float, ticks: Iterable[Tick]) -> None:
    """Send on schedule, and what is overdue at once."""
    for tick in ticks:
        await asyncio.sleep(max(begun + tick.due - time.time(), 0.0))
        await wire.send(tick.batches)
    await wire.flush()


def _probe(number: int) -> str:
    return f"probe-{number:06d}"


def _letters(names: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("".join(names).encode(), np.uint8).reshape(-1, NAME_SIZE)


def _names() -> NDArray[np.uint8]:
    """Return the names of the sensors of each partition, shape (partitions, ``SENSORS``, 12)."""
    every = [f"sensor-{i:05d}" for i in range(4_000)]
    home = partition_of([name.encode() for name in every], PARTITIONS)
    letters = _letters(every)
    return np.stack([letters[home == partition][:SENSORS] for partition in range(PARTITIONS)])


def _read(place: Bench, source: str, seen: Seen, stop: threading.Event) -> None:
    """Note when alerts and results can be read. The broker answers as soon as there are some, so waiting long costs no time."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": "bench-latency",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "enable.auto.commit": False,
        }
    )
    topics = [f"{source}.alert", f"{source}.out"]
    consumer.assign([TopicPartition(topic, p, 0) for topic in topics for p in range(PARTITIONS)])
    while not stop.is_set():
        first = consumer.poll(0.2)
        if first is None:
            continue
        now = time.time() * 1000
        for message in (first, *consumer.consume(10_000, 0)):
            if message.error() is None:
                _see(message, now, seen)
    consumer.close()


_found = msgspec.json.Decoder(Found).decode


def _see(message: Message, now: float, seen: Seen) -> None:
    found = _found(message.value() or b"")
    if str(message.topic()).endswith(".alert"):
        seen.alerts.setdefault(found.labels["sensor_id"], now)
    else:
        key = int(message.partition() or 0), found.end
        seen.windows[key] = max(now, seen.windows.get(key, 0.0))


def report(pace: Pace, begun: float, probes: Probes, seen: Seen) -> dict[str, Any]:
    """Return percentiles of the latencies after the warm-up; an alert that never came is counted as missing.

    A window is due when the event that is out-of-orderness past its end was meant to be sent; its last result counts.
    """
    from_here = begun + pace.warm_up * 1000
    counted = {name: probe for name, probe in probes.items() if probe[1] >= from_here}
    late = {name: seen.alerts[name] - probe[1] for name, probe in counted.items() if name in seen.alerts}

    def alerts(wanted: Callable[[int], bool]) -> dict[str, float]:
        return percentiles(ms for name, ms in late.items() if wanted(counted[name][0]))

    due = {key: at - (key[1] + latency_worker.OUT_OF_ORDERNESS) for key, at in seen.windows.items()}
    return {
        "rate": pace.rate,
        "seconds": pace.seconds,
        "hot_share": pace.hot,
        "alerts_ms": alerts(lambda _: True),
        "alerts_hot_ms": alerts(lambda p: p == HOT),
        "alerts_quiet_ms": alerts(lambda p: p != HOT),
        "alerts_missing": len(counted) - len(late),
        "windows_ms": percentiles(
            ms for (_, end), ms in due.items() if end + latency_worker.OUT_OF_ORDERNESS >= from_here
        ),
    }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Return count, median, 99th percentile and maximum."""
    found = np.sort(np.fromiter(values, np.float64))
    if not len(found):
        return {"count": 0}
    p50, p99 = np.quantile(found, [0.5, 0.99], method="inverted_cdf")
    return {
        "count": len(found),
        "p50": round(float(p50), 1),
        "p99": round(float(p99), 1),
        "max": round(float(found[-1]), 1),
    }
