"""A real sink in a few lines, an upsert into SQLite, that can be killed at named points; run as a program it is a runner.

``python -m tests.sinks.sqlite_sink BOOTSTRAP TOPIC DATABASE POINT`` with point ``before``, ``middle``, ``after`` or ``never``.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from threading import Event

import msgspec
from prometheus_client import CollectorRegistry

from schemas.results import WindowSummary
from sinks.contract import Result
from sinks.decoding import decoders
from sinks.metrics import SinkMetrics
from sinks.runner import SinkLimits, SinkRunner

KILL_AT_BATCH = 3


class SqliteSink:
    """Upsert by id; counts every write of an id, so that a test can see what was repeated."""

    def __init__(self, path: str, point: str = "never") -> None:
        self.path, self.point, self.batches = path, point, 0

    def setup(self) -> None:
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS result (id TEXT PRIMARY KEY, count INTEGER, body BLOB)")

    def write(self, batch: Sequence[Result]) -> int:
        self.batches += 1
        self._die("before")
        self._upsert(batch[: len(batch) // 2])
        self._die("middle")
        self._upsert(batch[len(batch) // 2 :])
        self._die("after")
        return len(batch)

    def close(self) -> None:
        return

    def _upsert(self, batch: Sequence[Result]) -> None:
        rows = [
            (r.value.id, r.value.count, msgspec.json.encode(r.value))
            for r in batch
            if isinstance(r.value, WindowSummary)
        ]
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            db.executemany("INSERT OR REPLACE INTO result VALUES (?, ?, ?)", rows)

    def _die(self, point: str) -> None:
        if point == self.point and self.batches == KILL_AT_BATCH:
            os.kill(os.getpid(), signal.SIGKILL)


def stored(path: str) -> dict[str, bytes]:
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return dict(db.execute("SELECT id, body FROM result"))


def main(bootstrap: str, topic: str, path: str, point: str) -> None:
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    runner = SinkRunner(
        {"bootstrap.servers": bootstrap, "session.timeout.ms": "6000"},
        topic,
        decoders([topic], WindowSummary),
        SqliteSink(path, point),
        SinkMetrics(CollectorRegistry(), "sqlite"),
        limits=SinkLimits(batch=100, linger=0.1),
    )
    runner.run(stopping)


if __name__ == "__main__":
    main(*sys.argv[1:])
