"""The systems that are measured on the plain scenario: how each is found, started and read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import msgspec

from benchmarks import flink
from benchmarks.environments import Environment, EnvironmentFailedError
from benchmarks.java import KAFKA_STREAMS, no_compiler, streams_class_path
from benchmarks.oracle import Result, Summary
from benchmarks.system import PEERS, Run, Say, System

QUIX = Environment("quix")
BYTEWAX = Environment("bytewax", below=(3, 13))  # its last release has no wheels for later ones
PATHWAY = Environment("pathway")


def systems() -> dict[str, System]:
    """Return all systems by name, in the order in which they are run."""
    every = [
        _tidewatch("tidewatch", 1),
        _faust(),
        _quix(),
        _bytewax(),
        _pathway(),
        _kafka_streams("at_least_once"),
        _kafka_streams("exactly_once_v2"),
        *(
            flink.flink(flavour, flink.plain, _flink_result, 2_000_000, 8_000_000)
            for flavour in flink.FLAVOURS
        ),
        _tidewatch("tidewatch-2", 2),
    ]
    return {system.name: system for system in every}


More = Callable[[Run], list[str]]
_result = msgspec.json.Decoder(Result).decode
_summary = msgspec.json.Decoder(Summary).decode


# --- Python


def _tidewatch(name: str, workers: int) -> System:
    def command(run: Run) -> list[str]:
        return [*_module("benchmarks.peers.tidewatch_worker"), *_where(run), run.name, str(workers)]

    return System(
        name, partial(version, "tidewatch"), command, 2_000_000, 8_000_000, lambda value: _summary(value).result(),
        _compiled, sketch=True, both=workers > 1, start=6.0, rate=1_000_000,
    )  # fmt: skip


def _compiled(_: Say) -> None:
    """Compile the loops, lest the smaller drain do it and the difference of the two mean nothing."""
    subprocess.run([*_module("benchmarks.peers.tidewatch_worker"), "warm"], check=True, cwd=PEERS.parents[1])


def _faust() -> System:
    def command(run: Run) -> list[str]:
        return [*_module("benchmarks.peers.faust_plain"), *_where(run), str(run.records), run.name]

    return System(
        "faust", partial(version, "faust-streaming"), command, 20_000, 60_000, _result, start=4.0, rate=7_000
    )


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def _where(run: Run) -> list[str]:
    return [run.bootstrap, run.source, run.results]


# --- Python, each in an environment of its own


def _quix() -> System:
    return _apart(
        QUIX, "quixstreams", "quix_plain.py", lambda run: [run.name, str(run.scratch)], 50_000, 200_000, 18_000
    )  # fmt: skip


def _bytewax() -> System:
    return _apart(BYTEWAX, "bytewax", "bytewax_plain.py", lambda _: [], 200_000, 800_000, 55_000)


def _pathway() -> System:
    return _apart(PATHWAY, "pathway", "pathway_plain.py", lambda run: [run.name], 200_000, 600_000, 50_000)


def _apart(
    environment: Environment, package: str, program: str, more: More, small: int, large: int, rate: float
) -> System:
    def command(run: Run) -> list[str]:
        interpreter = environment.python(lambda _: None)
        return [str(interpreter), str(PEERS / program), *_where(run), *more(run)]

    def missing(say: Say) -> str | None:
        try:
            environment.python(say)
        except EnvironmentFailedError as error:
            return str(error)
        return None

    return System(
        environment.name, partial(environment.version, package), command, small, large, _result, missing, rate=rate
    )  # fmt: skip


# --- Java


def _kafka_streams(guarantee: str) -> System:
    def command(run: Run) -> list[str]:
        return [
            "java", "-Xmx1g", f"-Dstate.dir={run.scratch}", "-cp", streams_class_path(), "KafkaStreamsPeer",
            *_where(run), run.name, guarantee,
        ]  # fmt: skip

    def missing(_: Say) -> str | None:
        reason = no_compiler()
        if reason is None:
            streams_class_path()
        return reason

    name = "kafka-streams" if guarantee == "at_least_once" else "kafka-streams-eos"
    return System(name, lambda: KAFKA_STREAMS, command, 1_000_000, 2_000_000, _result, missing, rate=100_000)


class _FlinkWindow(msgspec.Struct, frozen=True):
    sensor: str
    start: str
    count: int
    mean: float
    min: float
    max: float


_flink_window = msgspec.json.Decoder(_FlinkWindow).decode


def _flink_result(value: bytes) -> Result:
    window = _flink_window(value)
    start = datetime.fromisoformat(window.start).replace(tzinfo=UTC)
    return Result(
        window.sensor, int(start.timestamp() * 1000), window.count, window.mean, window.min, window.max
    )
