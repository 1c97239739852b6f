"""Plays both demos and photographs their consoles at three quarters, light and dark: ``python docs/pictures/console.py``.

Needs Chromium on the path.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from producers.hospitals import Network
from tidewatch.broker import start_brokers
from tidewatch.demo.run import run_demo
from tidewatch.demo.scenario import Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher
from tidewatch.pharma_demo import play

HERE = Path(__file__).parent
AT = 0.75
SIZE = {"width": 1400, "height": 1000}


class Camera:
    """A view that takes two pictures of the console."""

    def __init__(self) -> None:
        self.address = ""
        self.taken = False

    def say(self, text: str) -> None:
        """Tell what happens now."""
        sys.stderr.write(text + "\n")

    def console(self, address: str) -> None:
        """Note where the console is."""
        self.address = address

    def show(self, _snapshot: Snapshot, _watcher: Watcher, scenario: Scenario, elapsed: float) -> None:
        """Take the pictures when it is time to."""
        if not self.taken and elapsed >= AT * scenario.seconds:
            self.taken = True
            photograph(self.address, "console", "#ridges path.now", whole=True)


class SignalsCamera:
    """Hears what the demo of signals says, and takes two pictures of the signals when the year is three quarters over."""

    def __init__(self) -> None:
        self.address = ""
        self.taken = False

    def __call__(self, text: str) -> None:
        """Take note of what happens."""
        sys.stderr.write(text + "\n")
        if text.startswith("console at "):
            self.address = text.removeprefix("console at ")
        day = re.match(r" +day (\d+):", text)
        if day and int(day[1]) >= AT * Network().days and not self.taken:
            self.taken = True
            photograph(f"{self.address}signals", "signals", "#signal-rows svg.course", whole=False)


def photograph(address: str, name: str, shown: str, *, whole: bool) -> None:
    """Take a picture in each colour scheme, of the whole page or its beginning, once the element ``shown`` is there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_context(viewport=SIZE, color_scheme=scheme).new_page()  # type: ignore[arg-type]
            page.goto(address)
            page.wait_for_selector(shown)
            page.wait_for_timeout(2_500)
            page.screenshot(path=HERE / f"{name}-{scheme}.png", full_page=whole)
        browser.close()


if __name__ == "__main__":
    report = run_demo(Scenario(), Camera())
    sys.stderr.write("\n".join(report.lines()) + "\n")
    with start_brokers(1) as kafka:
        found = play(dict(kafka.connection), Network(), SignalsCamera())
    sys.stderr.write("\n".join(found.lines()) + "\n")
