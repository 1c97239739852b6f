"""Keeps several worker processes running on one machine: restarts with back-off, a metrics port each, targets for Prometheus."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from tidewatch.broker.guard import start_watchdog
from tidewatch.exits import Exit

FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0
HEALTHY_AFTER = 60.0
GRACE_SECONDS = 20.0
_LOOK_EVERY = 0.2

Say = Callable[[str], None]


def restart_delay(failures: int) -> float:
    """Return the seconds to wait before the restart after so many failures in a row: 1, 2, 4 ... 30."""
    return min(FIRST_DELAY * 2.0 ** (failures - 1), LONGEST_DELAY)


@dataclass(slots=True)
class _Place:
    """One worker's place: its command with its own metrics port, and the process that fills it now."""

    number: int
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0


class Supervisor:
    """Run one process for each command until ``stopping`` is set.

    A worker that ends is started again, later after each failure in a row; one that ran for a minute counts as healthy. When one
    refuses to go on (exit code 3), restarting would not help: all are stopped. Workers end with this process, even by SIGKILL.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], say: Say, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = [_Place(number, list(command)) for number, command in enumerate(commands, 1)]
        self._say = say
        self._monotonic = monotonic
        self._watchdog: subprocess.Popen[bytes] | None = None

    def run(self, stopping: Event) -> Exit:
        """Supervise until stopped; return REFUSED if a worker refused to go on, else OK."""
        self._watchdog = start_watchdog()
        try:
            while not stopping.is_set():
                for place in self._places:
                    if self._look(place) == Exit.REFUSED:
                        self._say(f"worker {place.number} refuses to go on, and said why above; stopping all")
                        return Exit.REFUSED
                stopping.wait(_LOOK_EVERY)
        finally:
            self._stop()
        return Exit.OK

    def _look(self, place: _Place) -> int | None:
        """Start the worker if it is due; return its exit code when it has just ended."""
        now = self._monotonic()
        if place.process is None:
            if now >= place.start_at:
                self._start(place, now)
            return None
        code = place.process.poll()
        if code is None:
            return None
        place.process = None
        place.failures = 1 if now - place.started >= HEALTHY_AFTER else place.failures + 1
        wait = restart_delay(place.failures)
        place.start_at = now + wait
        if code != Exit.REFUSED:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            self._say(f"worker {place.number} ended {how}; starting it again in {wait:g} s")
        return code

    def _start(self, place: _Place, now: float) -> None:
        group = self._watchdog.pid if self._watchdog is not None else None
        place.process = subprocess.Popen(place.command, stdin=subprocess.DEVNULL, process_group=group)
        place.started = now

    def _stop(self) -> None:
        """Let all workers commit and leave; kill those that take too long."""
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.terminate()
        deadline = self._monotonic() + GRACE_SECONDS
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - self._monotonic(), 0.0))
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._watchdog is not None:
            self._watchdog.communicate()


def metrics_ports(count: int, first: int, host: str) -> list[int]:
    """Return a metrics port for each worker: ``first`` and those after it, or free ones where it is 0."""
    if first:
        return list(range(first, first + count))
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def write_targets(path: Path, host: str, ports: Sequence[int], app: str) -> None:
    """Write the workers' addresses for Prometheus' ``file_sd_configs``, whole or not at all."""
    groups = [{"targets": [f"{host}:{port}" for port in ports], "labels": {"app": app}}]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(groups, indent=2) + "\n")
    temporary.replace(path)
