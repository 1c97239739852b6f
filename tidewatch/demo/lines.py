"""Plain progress lines, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tidewatch.demo.report import score_so_far
from tidewatch.demo.scenario import Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher

_EVERY = 5.0


class PlainView:
    """Write what happens, and every five seconds how things stand."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._started = monotonic()
        self._next = 0.0

    def say(self, text: str) -> None:
        """Write one line."""
        self._stream.write(f"{self._monotonic() - self._started:6.1f} s  {text}\n")
        self._stream.flush()

    def console(self, address: str) -> None:
        """Write where the console is."""
        self.say(f"console at {address}")

    def show(self, snapshot: Snapshot, watcher: Watcher, scenario: Scenario, elapsed: float) -> None:
        """Write the state, if it is time to."""
        now = self._monotonic()
        if not snapshot.produced or now < self._next:
            return
        self._next = now + _EVERY
        with watcher.board.lock:
            openings = list(watcher.board.openings.values())
        score = score_so_far(scenario.truth, openings, snapshot)
        self.say(
            f"{elapsed / scenario.seconds:4.0%}  {snapshot.processed:,} of {snapshot.produced:,} events"
            f" ({snapshot.processed_per_s:,.0f}/s, lag {snapshot.lag:,})  {sum(snapshot.windows.values()):,} windows"
            f"  {snapshot.late} late  {sum(snapshot.dead.values())} dead"
            f"  {score.alerts} alerts (precision {score.precision:.0%}, recall {score.recall:.0%})"
        )
