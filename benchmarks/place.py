"""Where measurements happen: a broker on a core of its own, and what machine it is."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.drain import Bench
from benchmarks.processes import cores, moved, pin


@contextmanager
def bench(**overrides: str | int) -> Iterator[Bench]:
    """Give a broker on a core of its own, and take it all away afterwards."""
    from tidewatch.broker import start_brokers

    ours, brokers = cores()
    directory = Path(tempfile.mkdtemp(prefix="tidewatch-bench-"))
    try:
        with start_brokers(1, heap_mb=768, overrides=overrides or None) as kafka:
            pin(kafka.nodes[0].pid, brokers)
            with moved(brokers):
                yield Bench(kafka.bootstrap, ours, brokers, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def machine() -> dict[str, Any]:
    """Say what this machine is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }
