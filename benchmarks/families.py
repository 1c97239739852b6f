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

from benchmarks import flink, theodolite, ysb
from benchmarks.counts import Row
from benchmarks.nexmark import queries, sql
from benchmarks.nexmark.scenario import Nexmark
from benchmarks.oracle import Plain
from benchmarks.scenario import Read, Scenario
from benchmarks.system import PEERS, Run, Say, System
from benchmarks.systems import systems
from streams.stages import AnyPipeline


@dataclass(frozen=True, slots=True)
class Family:
    """A scenario of any size, and its systems by name in the order in which they are run."""

    make: Callable[[int], Scenario]
    systems: Callable[[], dict[str, System]]


DECLARED: dict[str, Callable[[str, str], AnyPipeline]] = {
    **{f"nexmark-{name}": query.declare for name, query in queries.QUERIES.items()},
    "ysb": ysb.declare,
    **{case: theodolite.declare(case) for case in theodolite.CASES},
}
"""What Tidewatch declares for each scenario but the plain one, given the topics of its source and its results."""


def families(keys: int = 1_000, per_window: int = 100) -> dict[str, Family]:
    """Return all scenarios by name; ``keys`` and ``per_window`` are those of the plain one."""
    cases = {
        case: _family(
            case, partial(theodolite.Theodolite, case), theodolite.read, theodolite.ENDINGS,
            partial(theodolite.statements, case), 1_000_000,
        )
        for case in theodolite.CASES
    }  # fmt: skip
    return {
        "plain": Family(lambda events: Plain(events, keys, per_window), systems),
        "ysb": _family("ysb", ysb.Ysb, ysb.read, ysb.ENDINGS, ysb.statements, 2_000_000),
        **cases,
        **{f"nexmark-{name}": _nexmark(name, query) for name, query in queries.QUERIES.items()},
    }


def _nexmark(name: str, query: queries.Query) -> Family:
    large = 1_000_000 if query.reads == ("bid",) else 4_000_000
    return _family(
        f"nexmark-{name}", partial(Nexmark, name), query.read, queries.ENDINGS, partial(sql.statements, name), large
    )  # fmt: skip


def _family(
    name: str, make: Callable[[int], Scenario], read: Read, more: tuple[str, ...], statements: flink.Statements, large: int
) -> Family:  # fmt: skip
    """Return a scenario with Tidewatch and Flink, whose larger size is twice as large: it needs longer to warm up."""

    def both() -> dict[str, System]:
        ours = tidewatch(name, read, more, large // 4, large)
        theirs = flink.flink(flink.FLAVOURS[0], statements, _flink_row, large, 2 * large)
        return {system.name: system for system in (ours, theirs)}

    return Family(make, both)


def tidewatch(scenario: str, read: Read, more: tuple[str, ...], small: int, large: int) -> System:
    """Return Tidewatch, one worker, on a scenario's declaration."""
    module = [sys.executable, "-m", "benchmarks.peers.tidewatch_scenario"]

    def compiled(_: Say) -> None:
        subprocess.run([*module, "warm", scenario], check=True, cwd=PEERS.parents[1])

    def command(run: Run) -> list[str]:
        return [*module, run.bootstrap, run.source, run.results, run.name, scenario]

    return System(
        "tidewatch", partial(version, "tidewatch"), command, small, large, read, compiled, more=more
    )


def _flink_row(value: bytes) -> list[Row]:
    """Return a result of Flink as a row; its moments are texts in UTC."""
    row = msgspec.json.decode(value, type=dict[str, int | float | str])
    return [tuple(_milliseconds(part) if name in ("start", "end") else part for name, part in row.items())]


def _milliseconds(moment: object) -> int:
    return round(datetime.fromisoformat(str(moment)).replace(tzinfo=UTC).timestamp() * 1000)
