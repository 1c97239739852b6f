"""Killing workers at named points changes no result: every partition's outputs are byte-equal to an undisturbed run."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from tests.streams.harness import complete, expected, feed, make_topics, read, until, workers

COUNT, RATE = 16_000, 4_000.0

QUICK = ["commit-produced:5", "state-done:2", "batch-processed:40"]
CHAOS = [
    "restore-begin:2",
    "restore-read:3",
    "batch-taken:60",
    "commit-begin:9",
    "commit-done:7",
    "state-blocks:3",
    "commit-produced:17",
    "batch-processed:7",
]


def check(bootstrap: str, source: str, per_partition: int) -> None:
    for partition in range(4):
        assert read(bootstrap, f"{source}.out", partition) == expected(per_partition)


def kill_at(kafka: object, logs: Path, failpoint: str) -> None:
    bootstrap = kafka.bootstrap  # type: ignore[attr-defined]
    source = f"kill-{uuid.uuid4().hex[:8]}"
    make_topics(bootstrap, source)
    feeding = threading.Thread(target=feed, args=(bootstrap, source, COUNT, RATE))
    feeding.start()
    with workers(bootstrap, source, logs) as group:
        victim = group.start(failpoint)
        until(lambda: victim.poll() is not None, 30, f"{failpoint} was never reached: {group.log(0)[-2000:]}")
        assert victim.returncode == -9
        group.start()
        feeding.join()
        until(lambda: complete(bootstrap, source, COUNT // 4), 45, "results are missing")
        check(bootstrap, source, COUNT // 4)


@pytest.mark.kafka
@pytest.mark.parametrize("failpoint", QUICK)
def test_kill_changes_no_result(kafka: object, tmp_path: Path, failpoint: str) -> None:
    kill_at(kafka, tmp_path, failpoint)


@pytest.mark.chaos
@pytest.mark.parametrize("failpoint", CHAOS)
def test_kill_anywhere_changes_no_result(kafka: object, tmp_path: Path, failpoint: str) -> None:
    kill_at(kafka, tmp_path, failpoint)
