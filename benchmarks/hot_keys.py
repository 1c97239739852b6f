"""How evenly Zipf 1.5 loads four partitions and their four workers, with hot keys together and spread.

``python -m benchmarks.hot_keys [EVENTS]`` starts Kafka and, for each of both ways, four workers of one partition each before it
sends. It prints records by partition and the processor time of each worker from the first record to the last result, and says
whether both ways had the same results byte for byte.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import psutil
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.asked import asked
from benchmarks.processes import started, usage
from producers.producer import EventProducer
from producers.spreading import Spreader
from schemas.results import WindowSummary
from sinks.reader import read_to_end
from streams.positions import log_range
from tidewatch.broker import start_brokers

PARTITIONS, KEYS, EXPONENT, START = 4, 10_000, 1.5, 1_750_000_000_000
ENDINGS = ("", ".out", ".alert", ".late", ".dlq", ".total", ".partial", ".partial.late", ".partial.dlq")
PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(60_000), results="{source}.out", alerts="{source}.alert", partials="{source}.partial",
    totals="{source}.total", idle_timeout_ms=None, out_of_orderness_ms=2_000, resolution=0.01,
    rollups=(RollUp(by=("sensor_id", "quantity"), name="whole"),),
)
"""


def events(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, JSON) in order of time; those of the last forty keys close every window."""
    rng = np.random.default_rng(15)
    weights = np.arange(1, KEYS + 1) ** -EXPONENT
    keys = rng.choice(KEYS, count, p=weights / weights.sum()).tolist()
    rows = zip(keys, rng.normal(20, 8, count).tolist(), range(START, START + count), strict=True)
    for sensor, value, moment in [*rows, *((KEYS + i, 0.0, START + count + 10**6) for i in range(40))]:
        name = b"sensor-%d" % sensor
        kind = b'"site":"x","quantity":"temperature","unit":"degC"'
        yield name, b'{"sensor_id":"%s",%s,"value":%.2f,"time":%d}' % (name, kind, value, moment)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, three minutes at most."""
    deadline = time.monotonic() + 180
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.5)


def drain(
    connection: dict[str, str], source: str, count: int, folder: Path, *, spread: bool
) -> list[list[bytes]]:
    """Run four workers over a topic and print what each had to do; return the results by partition."""
    admin = AdminClient({**connection})
    for future in admin.create_topics([NewTopic(source + e, PARTITIONS, 1) for e in ENDINGS]).values():
        future.result(30)
    file = folder / f"{source}.py"
    file.write_text(PIPELINE.format(source=source))
    command = [sys.executable, "-m", "tidewatch", "worker", f"{file}:MINE", "--app-id", source]
    cores = sorted(os.sched_getaffinity(0))
    environment = {"TIDEWATCH_BOOTSTRAP": connection["bootstrap.servers"]}
    with ExitStack() as stack:
        logs = [folder / f"{source}-{n}.log" for n in range(PARTITIONS)]
        workers = [stack.enter_context(started(command, cores, log, environment)) for log in logs]
        until(lambda: all(map(works, logs)), "the workers do not share the partitions")
        before = [cpu(worker) for worker in workers]
        with EventProducer(connection, source) as producer:
            if spread:
                producer.spread_hot_keys()
            for key, value in events(count):
                producer.send_bytes(key, value)
        until(lambda: sum(map(size, results(connection, source))) >= count, "results are missing")
        spent = [cpu(worker) - at for worker, at in zip(workers, before, strict=True)]
    load = [log_range(connection, source, partition).high for partition in range(PARTITIONS)]
    print(f"{'spread' if spread else 'together':<10} records {load}, largest over mean {over_mean(load):.3f}; "
          f"CPU s {[round(s, 1) for s in spent]}, largest over mean {over_mean(spent):.3f}")  # fmt: skip
    return results(connection, source)


def works(log: Path) -> bool:
    """Tell whether the worker that writes this log has a partition and is ready to work on it."""
    said = asked(log)
    return said is not None and bool(said.positions)


def cpu(process: psutil.Process) -> float:
    """Return the processor seconds of a worker so far."""
    return usage(process).cpu_seconds


def results(connection: dict[str, str], source: str) -> list[list[bytes]]:
    """Return the values of the roll-up by partition."""
    found: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for messages in read_to_end(connection, [f"{source}.total"]):
        for message in messages:
            found[int(message.partition() or 0)].append(message.value() or b"")
    return found


def size(values: list[bytes]) -> int:
    """Return how many events results count."""
    return sum(msgspec.json.decode(value, type=WindowSummary).count for value in values)


def over_mean(numbers: list[float] | list[int]) -> float:
    """Return the largest of some numbers over their mean."""
    return max(numbers) * len(numbers) / sum(numbers)


def main() -> None:
    """Run both ways and compare."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    keys = [key for key, _ in events(count)]
    began = time.process_time()
    Spreader(PARTITIONS).partitions(keys)
    print(
        f"finding hot keys and choosing partitions: {(time.process_time() - began) / count * 1e6:.1f} us an event"
    )
    with tempfile.TemporaryDirectory() as folder, start_brokers(1) as broker:
        together = drain(broker.connection, "together", count, Path(folder), spread=False)
        apart = drain(broker.connection, "apart", count, Path(folder), spread=True)
    print(f"{sum(map(len, together))} results, {'the same bytes' if apart == together else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
