"""An archiver as a process that can be killed at named steps of writing a file, or given little room.

``python -m tests.sinks.archive_process BOOTSTRAP TOPIC DIRECTORY STEP NTH``; step ``none`` kills nothing.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry

from sinks import archive_files
from sinks.archiver import ArchiveLimits, Archiver
from sinks.makers import maker
from sinks.metrics import SinkMetrics

STEPS = ("before-write", "mid-write", "written", "synced", "renamed", "done")
LIKE = "iot.sensor.reading.v1"

_hits: dict[str, int] = {}


def arm(step: str, nth: int) -> None:
    """Kill this very process the nth time that a step is reached."""

    def reached(name: str) -> None:
        _hits[name] = _hits.get(name, 0) + 1
        if name == step and _hits[name] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    write_table, fsync, replace, sync_directory = (
        pq.write_table, os.fsync, Path.replace, archive_files._sync_directory
    )  # fmt: skip

    def writing(table: Any, file: Any, **options: Any) -> None:
        reached("before-write")
        if step == "mid-write":
            file.write(b"PAR1 half a file")
            file.flush()
            reached("mid-write")
            file.seek(0)
        write_table(table, file, **options)
        file.flush()
        reached("written")

    def syncing(handle: int) -> None:
        fsync(handle)
        reached("synced")

    def replacing(self: Path, target: Path) -> Path:
        made = replace(self, target)
        reached("renamed")
        return made

    def syncing_directory(directory: Path) -> None:
        sync_directory(directory)
        reached("done")

    archive_files.pq.write_table = writing
    os.fsync = syncing
    Path.replace = replacing  # type: ignore[method-assign,assignment]
    archive_files._sync_directory = syncing_directory


def main(bootstrap: str, topic: str, directory: str, step: str, nth: str) -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if step == "small-files":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(nth), resource.RLIM_INFINITY))
        signal.signal(
            signal.SIGUSR1,
            lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2),
        )
    else:
        arm(step, int(nth))
    archive_files.RETRY_SECONDS = 0.2  # type: ignore[misc]
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    archiver = Archiver(
        {"bootstrap.servers": bootstrap}, {topic: maker(topic, like=LIKE, partitions=2)}, Path(directory),
        SinkMetrics(CollectorRegistry(), "parquet"), limits=ArchiveLimits(records=100),
    )  # fmt: skip
    archiver.run(stopping, until_end=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
