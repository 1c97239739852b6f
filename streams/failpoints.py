"""Named points at which a fault test may kill, stop or hang this very process."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

POINTS: Final = (
    "assigned",
    "revoked",
    "restore-begin",
    "restore-read",
    "replay",
    "batch-taken",
    "batch-processed",
    "commit-begin",
    "commit-produced",
    "commit-done",
    "state-blocks",
    "state-done",
    "revoke",
)

_lock = threading.Lock()
_hits: dict[str, int] = {}


def failpoint(name: str, partition: int = -1) -> None:
    """Act if ``TIDEWATCH_FAILPOINT`` names this point.

    The variable reads ``point[:nth[:action[:partition]]]`` with action ``kill`` (SIGKILL, the default), ``stop`` (SIGSTOP)
    or ``hang`` (this thread never returns); or ``@FILE``, where FILE comes to hold such a text once the test wants it. It is unset
    outside fault tests, where this costs one dictionary lookup.
    """
    setting = os.environ.get("TIDEWATCH_FAILPOINT")
    if not setting:
        return
    if setting.startswith("@"):
        file = Path(setting[1:])
        setting = file.read_text() if file.exists() else ""
    point, nth, action, only = (*setting.split(":"), "", "", "", "")[:4]
    if point != name or (only and int(only) != partition):
        return
    with _lock:
        _hits[name] = _hits.get(name, 0) + 1
        due = _hits[name] == int(nth or 1)
    if not due:
        return
    if action == "hang":
        while True:
            time.sleep(3600)
    os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
