"""All scenarios by name, each with the systems that are measured on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import msgspec

from benchmarks import flink
from benchmarks.nexmark import queries, sql
from benchmarks.nexmark.scenario import Nexmark
from benchmarks.oracle import Plain
from benchmarks.scenario import Scenario
from benchmarks.system import PEERS, Run, Say, System
from benchmarks.systems import systems


@dataclass(frozen=True, slots=True)
class Family:
    """A scenario of any size, and its systems by name in the order in which they are run."""

    make: Callable[[int], Scenario]
    systems: Callable[[], dict[str, System]]


def families(keys: int = 1_000, per_window: int = 100) -> dict[str, Family]:
    """Return all scenarios by name; ``keys`` and ``per_window`` are those of the plain one."""
    plain = Family(lambda events: Plain(events, keys, per_window), systems)
    return {"plain": plain} | {f"nexmark-{name}": _nexmark(name) for name in queries.QUERIES}


def _nexmark(query: str) -> Family:
    def both() -> dict[str, System]:
        small, large = (
            (200_000, 1_000_000) if queries.QUERIES[query].reads == ("bid",) else (500_000, 2_500_000)
        )
        ours = tidewatch(f"nexmark-{query}", queries.QUERIES[query].read, queries.ENDINGS, small, large)
        theirs = flink.flink(
            flink.FLAVOURS[0], partial(sql.statements, query), _flink_row, large // 2, large * 2
        )
        return {system.name: system for system in (ours, theirs)}

    return Family(partial(Nexmark, query), both)


def tidewatch(
    scenario: str, read: Callable[[bytes], object], more: tuple[str, ...], small: int, large: int
) -> System:
    """Return Tidewatch, one worker, on a scenario's declaration."""
    module = [sys.executable, "-m", "benchmarks.peers.tidewatch_scenario"]

    def compiled(_: Say) -> None:
        subprocess.run([*module, "warm", scenario], check=True, cwd=PEERS.parents[1])

    def command(run: Run) -> list[str]:
        return [*module, run.bootstrap, run.source, run.results, run.name, scenario]

    return System(
        "tidewatch", partial(version, "tidewatch"), command, small, large, read, compiled, more=more
    )


def _flink_row(value: bytes) -> list[queries.Row]:
    """Return a result of Flink as a row; its moments are texts in UTC."""
    row = msgspec.json.decode(value, type=dict[str, int | float | str])
    return [tuple(_milliseconds(part) if name in ("start", "end") else part for name, part in row.items())]


def _milliseconds(moment: object) -> int:
    return round(datetime.fromisoformat(str(moment)).replace(tzinfo=UTC).timestamp() * 1000)
