"""Processes of a measured run: pinned to a core, their processor time and memory read, ended with their children."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
# Told not to keep any, Python would compile all libraries at every start, which the difference of two sizes does not take out well.
_WITH_BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children have used: seconds of processor time, megabytes at the peak of each."""

    cpu_seconds: float
    peak_mb: float


def cores() -> tuple[list[int], list[int]]:
    """Return the core for the system under test and that for the broker; the same where there is but one."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return available[:1], available[1:2] or available[:1]


def pin(pid: int, on: Sequence[int]) -> None:
    """Keep all threads of a running process on some cores; where the platform cannot, leave it."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), on)


@contextmanager
def moved(on: Sequence[int]) -> Iterator[None]:
    """Keep this process on some cores for a while, then where it was."""
    before = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    pin(os.getpid(), on)
    try:
        yield
    finally:
        pin(os.getpid(), before)


@contextmanager
def started(
    command: Sequence[str], on: Sequence[int], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run a command whose every thread stays on some cores; end it and its children afterwards."""
    launcher = [sys.executable, "-m", "benchmarks.pinned", ",".join(map(str, on)), *command]
    with log.open("ab") as output:
        child = subprocess.Popen(
            launcher,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), **_WITH_BYTE_CODE, **(environment or {})},
        )
    process = psutil.Process(child.pid)
    try:
        yield process
    finally:
        _end(process)
        child.wait()


def usage(process: psutil.Process) -> Usage:
    """Return what a process and its living children have used so far."""
    cpu, peak = 0.0, 0.0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            cpu += times.user + times.system + times.children_user + times.children_system
            peak += _peak_mb(each)
    return Usage(cpu, peak)


def _peak_mb(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float(process.memory_info().rss) / 1e6


def _end(process: psutil.Process) -> None:
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    for each in psutil.wait_procs(family, timeout=5)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
