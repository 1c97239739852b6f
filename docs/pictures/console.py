"""Plays the demo and photographs its console at three quarters, light and dark: ``python docs/pictures/console.py``.

Needs Chromium on the path.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tidewatch.demo.run import run_demo
from tidewatch.demo.scenario import Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher

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
            photograph(self.address)


def photograph(address: str) -> None:
    """Take a picture of the whole page in each colour scheme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_context(viewport=SIZE, color_scheme=scheme).new_page()  # type: ignore[arg-type]
            page.goto(address)
            page.wait_for_selector("#ridges path.now")
            page.wait_for_timeout(2_500)
            page.screenshot(path=HERE / f"console-{scheme}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    report = run_demo(Scenario(), Camera())
    sys.stderr.write("\n".join(report.lines()) + "\n")
