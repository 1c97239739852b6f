"""Plays the demo and keeps its picture at three quarters: ``python docs/pictures/demo.py > docs/pictures/demo.svg``."""

from __future__ import annotations

import io
import re
import sys
import time

from rich.console import Console

from tidewatch.demo.picture import Picture, State
from tidewatch.demo.report import score_so_far
from tidewatch.demo.run import run_demo
from tidewatch.demo.scenario import Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher

WIDTH, HEIGHT = 124, 38
AT = 0.75


class Camera:
    """A view that draws one picture."""

    def __init__(self) -> None:
        self.svg = ""
        self._started = time.monotonic()
        self._said: list[tuple[float, str]] = []
        self._rates: list[float] = []

    def say(self, text: str) -> None:
        """Note what happens now."""
        self._said.append((time.monotonic() - self._started, text))
        sys.stderr.write(text + "\n")

    def console(self, address: str) -> None:
        """Leave the address out: it is another one each time."""

    def show(self, snapshot: Snapshot, watcher: Watcher, scenario: Scenario, elapsed: float) -> None:
        """Draw when it is time to."""
        self._rates.append(snapshot.processed_per_s)
        if self.svg or elapsed < AT * scenario.seconds:
            return
        with watcher.board.lock:
            openings = list(watcher.board.openings.values())
        score = score_so_far(scenario.truth, openings, snapshot)
        state = State(snapshot, score, openings, scenario, elapsed, self._rates, self._said, "")
        console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
        console.print(Picture(state))
        # The picture is shown without a network, so it asks for no font from one.
        self.svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)


if __name__ == "__main__":
    camera = Camera()
    report = run_demo(Scenario(), camera)
    sys.stderr.write("\n".join(report.lines()) + "\n")
    sys.stdout.write(camera.svg)
