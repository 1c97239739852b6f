"""Worker processes of the demo: started, killed, replaced, and never left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tidewatch.broker.guard import start_watchdog

_METRICS = re.compile(r"metrics on (http://\S+)")
_GRACE_SECONDS = 20.0


class WorkerError(Exception):
    """A worker ended that nobody had killed; the message holds its last words."""


@dataclass(slots=True)
class Hand:
    """One worker process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    killed: bool = False
    url: str = field(default="")

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def address(self) -> str:
        """Return where its metrics are, empty while it has not said so."""
        if not self.url:
            found = _METRICS.search(self.log.read_text(errors="replace"))
            self.url = found.group(1) if found else ""
        return self.url


class Crew:
    """The workers of one app; leaving the context stops them all.

    They belong to a watchdog's process group, which ends with this process, however it ends.
    """

    def __init__(self, pipelines: Sequence[str], app: str, environment: Mapping[str, str]) -> None:
        self.hands: list[Hand] = []
        self._command = [
            *(sys.executable, "-m", "tidewatch", "worker", *pipelines, "--app-id", app),
            *("--metrics-port", "0", "--session-timeout", "6", "--state-interval", "5"),
        ]
        self._environment = dict(environment)
        self._directory = tempfile.TemporaryDirectory(prefix="tidewatch-demo-")
        self._watchdog = start_watchdog(Path(self._directory.name))

    def start(self) -> Hand:
        """Start one more worker."""
        name = f"worker-{len(self.hands) + 1}"
        path = Path(self._directory.name) / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                process_group=self._watchdog.pid,
            )
        hand = Hand(name, process, path)
        self.hands.append(hand)
        return hand

    def kill(self, hand: Hand) -> None:
        """Kill a worker as a power cut would."""
        hand.killed = True
        hand.process.send_signal(signal.SIGKILL)
        hand.process.wait()

    def targets(self) -> dict[str, str]:
        """Return the metrics addresses by name, empty while not known; the killed are named until others replace them."""
        living = {hand.name: hand.address() for hand in self.hands if not hand.killed}
        replaced = all(living.values())
        return {hand.name: living.get(hand.name, "") for hand in self.hands if not (hand.killed and replaced)}

    def check(self) -> None:
        """Raise WorkerError if a worker has ended by itself."""
        for hand in self.hands:
            if not hand.killed and not hand.alive:
                raise WorkerError(
                    f"{hand.name} ended with code {hand.process.returncode}:\n{_last_words(hand.log)}"
                )

    def last_words(self) -> str:
        """Return the end of what each living worker has logged."""
        return "\n".join(f"{hand.name}:\n{_last_words(hand.log)}" for hand in self.hands if not hand.killed)

    def stop(self) -> None:
        """Stop all workers in order, and kill those that do not end in time."""
        for hand in self.hands:
            if hand.alive:
                hand.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for hand in self.hands:
            with suppress(subprocess.TimeoutExpired):
                hand.process.wait(max(0.0, deadline - time.monotonic()))
        for hand in self.hands:
            if hand.alive:
                hand.process.kill()
                hand.process.wait()
        self._watchdog.communicate()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def environment_for(bootstrap: str) -> dict[str, str]:
    """Return this process's environment with the address of a local Kafka, which needs no password."""
    kept = {name: value for name, value in os.environ.items() if name != "TIDEWATCH_FAILPOINT"}
    return kept | {"TIDEWATCH_BOOTSTRAP": bootstrap, "TIDEWATCH_SECURITY_PROTOCOL": "PLAINTEXT"}


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])
