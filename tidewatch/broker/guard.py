"""Starts the watchdog: a process group that ends with whoever asked for it, even by ``kill -9``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tidewatch.broker.errors import StartError


def start_watchdog(directory_to_remove: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a watchdog and return it; processes join its group with ``process_group=watchdog.pid``.

    ``communicate()`` ends the group in order. Raises StartError when the watchdog does not start.
    """
    script = Path(__file__).with_name("watchdog.py")
    watchdog = subprocess.Popen(
        [sys.executable, "-I", str(script), str(directory_to_remove or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    # Its first word says that it will not miss the end of this process from here on.
    if watchdog.stdout is None or not watchdog.stdout.readline():
        raise StartError("the watchdog did not start")
    return watchdog
