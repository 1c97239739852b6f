"""Shows the demo: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.live import Live

from tidewatch.demo.lines import PlainView
from tidewatch.demo.picture import Picture, State
from tidewatch.demo.report import score_so_far
from tidewatch.demo.run import View
from tidewatch.demo.scenario import Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher

_REMEMBERED = 240


@contextmanager
def view_for(stream: TextIO) -> Iterator[View]:
    """Give the view that suits a stream; the live picture goes from the terminal in the end."""
    console = Console(file=stream)
    if not console.is_terminal:
        yield PlainView(stream)
        return
    view = LiveView(console)
    try:
        yield view
    finally:
        view.close()


class LiveView:
    """Draw the state of everything on a terminal, several times a second; lines until there is anything to draw."""

    def __init__(self, console: Console, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._monotonic = monotonic
        self._started = monotonic()
        self._said: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._rates: deque[float] = deque(maxlen=_REMEMBERED)
        self._live: Live | None = None
        self._address = ""

    def say(self, text: str) -> None:
        """Tell what happens now."""
        seconds = self._monotonic() - self._started
        self._said.append((seconds, text))
        if self._live is None:
            self._console.print(f"[dim]{seconds:6.1f} s[/]  {text}", highlight=False)

    def console(self, address: str) -> None:
        """Tell where the console is, in the picture too."""
        self._address = address
        self.say(f"console at {address}")

    def show(self, snapshot: Snapshot, watcher: Watcher, scenario: Scenario, elapsed: float) -> None:
        """Draw the state."""
        if not snapshot.produced:
            return
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        self._rates.append(snapshot.processed_per_s)
        with watcher.board.lock:
            openings = list(watcher.board.openings.values())
        score = score_so_far(scenario.truth, openings, snapshot)
        state = State(
            snapshot, score, openings, scenario, elapsed, list(self._rates), list(self._said), self._address
        )
        self._live.update(Picture(state), refresh=True)

    def close(self) -> None:
        """Take the picture from the terminal."""
        if self._live is not None:
            self._live.stop()
