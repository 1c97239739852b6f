"""The systems that are measured: how each is found, started and read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.oracle import Result, Summary

PEERS = Path(__file__).with_name("peers")
Read = Callable[[bytes], Result]


@dataclass(frozen=True, slots=True)
class Run:
    """One drain of a topic: where Kafka is, what to read, where results go, how many records there are, a unique name."""

    bootstrap: str
    source: str
    results: str
    records: int
    name: str
    scratch: Path


def _nothing_missing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class System:
    """A system that can drain the topic.

    ``small`` and ``large`` are the events of the two sizes whose difference is measured. ``missing()`` says in a word why it
    cannot run here, or returns None after having fetched what it needs. ``sketch`` says whether results hold quantiles.
    """

    name: str
    version: Callable[[], str]
    command: Callable[[Run], list[str]]
    small: int
    large: int
    read: Read
    missing: Callable[[], str | None] = _nothing_missing
    sketch: bool = False


def systems() -> dict[str, System]:
    """Return all systems by name, in the order in which they are run."""
    every = [_tidewatch(), _faust(), _kafka_streams("at_least_once"), _kafka_streams("exactly_once_v2")]
    return {system.name: system for system in every}


_result = msgspec.json.Decoder(Result).decode
_summary = msgspec.json.Decoder(Summary).decode


def _tidewatch() -> System:
    command = partial(_python, "benchmarks.peers.tidewatch_worker")
    return System(
        "tidewatch", partial(version, "tidewatch"), command, 1_000_000, 4_000_000, lambda value: _summary(value).result(),
        _compiled, sketch=True,
    )  # fmt: skip


def _compiled() -> None:
    """Compile the loops, lest the smaller drain do it and the difference of the two mean nothing."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.tidewatch_worker", "warm"], check=True, cwd=PEERS.parents[1]
    )


def _faust() -> System:
    command = partial(_python, "benchmarks.peers.faust_plain")
    return System("faust", partial(version, "faust-streaming"), command, 20_000, 100_000, _result)


def _python(module: str, run: Run) -> list[str]:
    return [sys.executable, "-m", module, run.bootstrap, run.source, run.results, str(run.records), run.name]


# --- Kafka Streams

_STREAMS = "4.3.1"
_JARS = (
    (
        "org.apache.kafka",
        "kafka-streams",
        _STREAMS,
        "bd73f3805e116f711e8456ee89a8a5b43ff5dcf5a5bb865afae29deae89e7c4b",
    ),
    (
        "org.rocksdb",
        "rocksdbjni",
        "10.1.3",
        "e7f925287d9fe2574fb7c7a86f7facaa9b8ab602a2eed0e598bf633528121498",
    ),
)


def _kafka_streams(guarantee: str) -> System:
    def command(run: Run) -> list[str]:
        return [
            "java", "-Xmx1g", f"-Dstate.dir={run.scratch}", "-cp", _class_path(), "KafkaStreamsPeer", run.bootstrap,
            run.source, run.results, run.name, guarantee,
        ]  # fmt: skip

    name = "kafka-streams" if guarantee == "at_least_once" else "kafka-streams-eos"
    return System(name, lambda: _STREAMS, command, 500_000, 2_000_000, _result, _no_java)


def _no_java() -> str | None:
    if shutil.which("javac") is None or shutil.which("java") is None:
        return "no JDK (java and javac) on this machine"
    _class_path()
    return None


@cache
def _class_path() -> str:
    from tidewatch.broker.jars import Jar, class_path
    from tidewatch.paths import cache_directory

    jars = f"{class_path(jars=[Jar(*jar) for jar in _JARS])}:{class_path()}"
    classes = cache_directory() / "bench" / "kafka-streams"
    classes.mkdir(parents=True, exist_ok=True)
    source = PEERS / "KafkaStreamsPeer.java"
    subprocess.run(["javac", "-cp", jars, "-d", str(classes), str(source)], check=True, capture_output=True)
    return f"{classes}:{jars}"
