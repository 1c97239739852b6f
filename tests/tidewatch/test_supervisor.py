"""The supervisor: restarts with back-off, gives up on a refusal, and leaves nothing behind, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidewatch.exits import Exit
from tidewatch.supervisor import Supervisor, metrics_ports, restart_delay, write_targets


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def command(tmp_path: Path, name: str, then: str) -> list[str]:
    """A process that appends its id to a file and then does what it is told."""
    note = f"open({str(tmp_path / name)!r}, 'a').write(f'{{os.getpid()}} ')"
    return [sys.executable, "-c", f"import os, sys, time; {note}; {then}"]


def pids(tmp_path: Path, name: str) -> list[int]:
    path = tmp_path / name
    return [int(word) for word in path.read_text().split()] if path.exists() else []


class Running:
    """A supervisor on a thread, whose clock can be pushed."""

    def __init__(self, commands: list[list[str]]) -> None:
        self.said: list[str] = []
        self.ahead = 0.0
        self.stopping = threading.Event()
        self.code: Exit | None = None
        supervisor = Supervisor(commands, self.said.append, lambda: time.monotonic() + self.ahead)
        self.thread = threading.Thread(target=lambda: setattr(self, "code", supervisor.run(self.stopping)))
        self.thread.start()

    def stop(self) -> Exit | None:
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.code


def test_delays_double_up_to_half_a_minute() -> None:
    assert [restart_delay(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_worker_that_ends_is_started_again_and_the_other_goes_on(tmp_path: Path) -> None:
    running = Running([command(tmp_path, "a", "sys.exit(1)"), command(tmp_path, "b", "time.sleep(600)")])
    try:
        until(
            lambda: any("worker 1 ended with code 1; starting it again in 1 s" in s for s in running.said),
            "no word",
        )
        running.ahead += 1
        until(lambda: any("in 2 s" in s for s in running.said), "no longer delay")
        assert len(pids(tmp_path, "a")) == 2
        (other,) = pids(tmp_path, "b")
        assert psutil.pid_exists(other)
    finally:
        assert running.stop() == Exit.OK
    assert not psutil.pid_exists(other)


def test_a_worker_that_ran_for_long_starts_again_soon(tmp_path: Path) -> None:
    running = Running([command(tmp_path, "a", "time.sleep(600)")])
    try:
        for _ in range(2):
            (pid,) = until(lambda: pids(tmp_path, "a")[-1:], "not started")
            running.ahead += 61
            os.kill(pid, signal.SIGKILL)
            seen = len(pids(tmp_path, "a"))
            until(
                lambda: running.said and "by SIGKILL; starting it again in 1 s" in running.said[-1], "no word"
            )
            running.ahead += 1
            until(lambda seen=seen: len(pids(tmp_path, "a")) > seen, "not started again")
    finally:
        running.stop()


def test_a_refusal_stops_all(tmp_path: Path) -> None:
    running = Running(
        [command(tmp_path, "a", "time.sleep(600)"), command(tmp_path, "b", "time.sleep(1); sys.exit(3)")]
    )
    running.thread.join(60)
    assert running.code == Exit.REFUSED
    assert all(not psutil.pid_exists(pid) for pid in pids(tmp_path, "a"))


def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    running = Running([command(tmp_path, "a", deaf)])
    (pid,) = until(lambda: pids(tmp_path, "a"), "not started")
    time.sleep(0.5)
    running.stopping.set()
    running.ahead += 100
    assert running.stop() == Exit.OK
    assert not psutil.pid_exists(pid)


def test_ports_count_up_or_are_free() -> None:
    assert metrics_ports(3, 9100, "127.0.0.1") == [9100, 9101, 9102]
    free = metrics_ports(3, 0, "127.0.0.1")
    assert len(set(free)) == 3
    assert min(free) > 1023


def test_targets_are_what_prometheus_reads(tmp_path: Path) -> None:
    write_targets(tmp_path / "t.json", "10.0.0.5", [9100, 9101], "air")
    written = json.loads((tmp_path / "t.json").read_text())
    assert written == [{"targets": ["10.0.0.5:9100", "10.0.0.5:9101"], "labels": {"app": "air"}}]
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


@pytest.mark.kafka
def test_workers_end_with_their_supervisor_even_when_it_is_killed(
    kafka: Any, tmp_path: Path, topic_prefix: str
) -> None:
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
    made = subprocess.run(
        [sys.executable, "-m", "tidewatch", "topics", "create"], env=environment, check=False
    )
    assert made.returncode in {0, 5}
    arguments = [
        "worker",
        "air-quality",
        "--app-id",
        topic_prefix,
        "--workers",
        "2",
        "--targets",
        str(tmp_path / "t.json"),
    ]
    supervisor = subprocess.Popen([sys.executable, "-m", "tidewatch", *arguments], env=environment)
    try:
        (group,) = until(lambda: _targets(tmp_path / "t.json"), "no targets")
        until(lambda: all(_answers(target) for target in group["targets"]), "workers do not answer")
        workers = [p for p in psutil.Process(supervisor.pid).children() if "worker" in p.cmdline()]
        assert len(workers) == 2
        workers[0].kill()
        until(
            lambda: not _answers(group["targets"][0]) or not _answers(group["targets"][1]), "none was killed"
        )
        until(lambda: all(_answers(target) for target in group["targets"]), "not started again")
        workers = [p for p in psutil.Process(supervisor.pid).children() if "worker" in p.cmdline()]
    finally:
        supervisor.kill()
        supervisor.wait()
    until(
        lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers),
        "workers live on",
    )


def _targets(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _answers(target: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
