"""How long a backfill takes on this machine, undisturbed and with one of two workers slowed to a tenth.

``python -m benchmarks.backfill [EVENTS]`` makes an archive of so many events on four partitions, and prints seconds of wall time.
"""

from __future__ import annotations

import filecmp
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.events import Workload
from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from schemas.partitioning import partition_of
from sinks.archive_files import Extent, PartitionFiles
from sinks.tables import event_table
from tidewatch.backfill.planning import Plan
from tidewatch.backfill.run import cluster, run
from tidewatch.backfill.sources import archive_sources
from tidewatch.declarations import Declared

PARTITIONS, TOPIC, FILE_RECORDS = 4, "iot.sensor.reading.v1", 50_000
PERIOD, SHARE = 0.1, 0.1


def archive(root: Path, events: int) -> None:
    """Write an archive as `tidewatch sink parquet` does, without Kafka."""
    records = list(Workload(events).records())
    where = partition_of([key for key, _ in records], PARTITIONS)
    for partition in range(PARTITIONS):
        mine = [records[i] for i in np.flatnonzero(where == partition).tolist()]
        files = PartitionFiles(root, TOPIC, partition)
        files.prepare()
        for first in range(0, len(mine), FILE_RECORDS):
            some = mine[first : first + FILE_RECORDS]
            offsets = np.arange(first, first + len(some), dtype=np.int64)
            now = np.full(len(some), int(time.time() * 1000), np.int64)
            keys, values = [key for key, _ in some], [value for _, value in some]
            batch = RawBatch(TOPIC, partition, first, first + len(some), offsets, now, keys, values)
            files.write(event_table(batch, SENSOR_READING), Extent(first, batch.next, "bench"))


@contextmanager
def slowed(pid: int) -> Iterator[None]:
    """Let a process run a tenth of the time."""
    over = threading.Event()

    def throttle() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(PERIOD * (1 - SHARE))
            os.kill(pid, signal.SIGCONT)
            over.wait(PERIOD * SHARE)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def same(one: Path, other: Path) -> bool:
    """Tell whether two outputs have the same files with the same bytes."""
    files = sorted(file.relative_to(one) for file in one.rglob("*.parquet"))
    assert files == sorted(file.relative_to(other) for file in other.rglob("*.parquet"))
    return all(filecmp.cmp(one / file, other / file, shallow=False) for file in files)


def main() -> None:
    """Run and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as folder, cluster(None, 2) as client:
        root = Path(folder)
        archive(root / "archive", events)
        sources = {TOPIC: archive_sources(root / "archive", TOPIC)}
        victim = min(client.run(os.getpid).values())

        def timed(name: str, *, speculative: bool) -> float:
            began = time.monotonic()
            plan = Plan(Declared.of("air-quality"), sources, root / name)
            outcome = run(plan, client, lambda *_: None, speculative=speculative)
            took = time.monotonic() - began
            print(f"{name:<34} {took:6.1f} s, {outcome.raced} raced, {outcome.won} won by the duplicate")
            return took

        timed("warm-up", speculative=False)
        timed("undisturbed", speculative=True)
        with slowed(victim):
            without = timed("slowed, waited for", speculative=False)
            with_ = timed("slowed, raced", speculative=True)
        print(f"{events} events; with duplicates in {with_ / without:.2f} of the time")
        assert same(root / "undisturbed", root / "slowed, raced"), "outputs differ"


if __name__ == "__main__":
    main()
