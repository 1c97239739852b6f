"""A tiny process that ends local brokers and workers when whoever started them is gone, however it went.

It leads the process group that they join and reads a pipe whose other end only the starter holds: the kernel
closes that end even after ``kill -9``.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys

GRACE_SECONDS = 5.0


def main(directory_to_remove: str) -> None:
    """Wait for the starter's end, then end the group and remove its temporary directory (if one is named)."""
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    parent = os.getppid()
    os.write(1, b"watching\n")
    # A process forked from the starter may hold the pipe open too: the parent's id tells as well.
    while os.getppid() == parent:
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 64):
            break
    _end_group()
    if directory_to_remove:
        shutil.rmtree(directory_to_remove, ignore_errors=True)


def _end_group() -> None:
    import psutil  # only now: watching costs less memory without it

    group, me = os.getpgrp(), os.getpid()
    members = []
    for process in psutil.process_iter():
        try:
            if process.pid != me and os.getpgid(process.pid) == group:
                members.append(process)
        except ProcessLookupError:
            continue
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in members:
            try:
                # A stopped process does not see the signal that asks it to end.
                process.resume()
                send(process)
            except psutil.NoSuchProcess:
                continue
        _, members = psutil.wait_procs(members, timeout=GRACE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
