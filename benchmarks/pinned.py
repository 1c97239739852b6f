"""Becomes another command on given cores: ``python -m benchmarks.pinned 0,1 COMMAND ...``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Set the cores and become the command, so that its threads are on them from their start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in sys.argv[1].split(",")])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
