"""Looks for what is wrong with an installation, and says how to mend it."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import confluent_kafka
from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from schemas.topics import PROBES, all_topics
from tidewatch import topics
from tidewatch.monitor.cluster import ClusterReader, Snapshot
from tidewatch.settings import NoKafkaError, Settings

State = Literal["ok", "warn", "fail"]

MAX_LAG = 100_000
_CLOCK_WARN, _CLOCK_FAIL = 1.0, 10.0
_SPACE_WARN, _SPACE_FAIL = 2_000_000_000, 200_000_000
_LIBRDKAFKA = (2, 5)
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and how to mend it where it is not ok."""

    check: str
    state: State
    text: str
    remedy: str = ""


def examine(
    settings: Settings, *, max_lag: int = MAX_LAG, clock: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Give the findings of every check, as they come; what needs a broker is left out where none answers."""
    yield from versions()
    yield from disk({"state": settings.state_dir, "temporary files": Path("/tmp")})
    try:
        connection = {"log_level": "0", **settings.connection()}
        snapshot = ClusterReader(connection, clock, timeout=_TIMEOUT).look()
    except NoKafkaError as error:
        yield Finding("broker", "fail", "there is no Kafka to connect to", str(error))
        return
    except KafkaException as error:
        where = settings.bootstrap or "the local Kafka"
        remedy = "look whether it runs (`tidewatch broker status`), and at TIDEWATCH_BOOTSTRAP and the TIDEWATCH_SASL_* settings"
        yield Finding("broker", "fail", f"{where} does not answer: {error.args[0].str()}", remedy)
        return
    yield Finding(
        "broker", "ok", f"Kafka answers at {connection['bootstrap.servers']}; brokers: {snapshot.brokers}"
    )
    yield from replicas(snapshot)
    yield from catalogue(AdminClient(dict(connection)))
    yield from lag(snapshot, max_lag)
    yield from clocks(connection, PROBES, snapshot, clock)


def versions() -> Iterator[Finding]:
    """Check the versions of Python and of the libraries that matter."""
    library = tuple(int(part) for part in confluent_kafka.libversion()[0].split(".")[:2])
    names = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tidewatch", "confluent-kafka", "faust-streaming")
    )
    python = ".".join(map(str, sys.version_info[:3]))
    if library < _LIBRDKAFKA:
        old = f"librdkafka {confluent_kafka.libversion()[0]} is older than {'.'.join(map(str, _LIBRDKAFKA))}"
        yield Finding(
            "versions",
            "fail",
            old,
            "install the locked versions: make test, or pip install -r requirements.lock",
        )
    else:
        yield Finding(
            "versions", "ok", f"Python {python}, {names}, librdkafka {confluent_kafka.libversion()[0]}"
        )


def disk(
    places: Mapping[str, Path], usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage
) -> Iterator[Finding]:
    """Check that there is room where things are written."""
    for name, path in places.items():
        existing = next(each for each in (path, *path.parents) if each.exists())
        free = usage(existing)[2]
        text = f"{free / 1e9:.1f} GB free for {name} in {path}"
        state: State = "fail" if free < _SPACE_FAIL else "warn" if free < _SPACE_WARN else "ok"
        remedy = (
            "make space, or set TIDEWATCH_STATE_DIR (XDG_STATE_HOME, TMPDIR) to a larger disk"
            if state != "ok"
            else ""
        )
        yield Finding("disk", state, text, remedy)


def replicas(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every partition has a leader and all its replicas."""
    leaderless = [source for source, look in snapshot.partitions.items() if not look.has_leader]
    behind = [source for source, look in snapshot.partitions.items() if look.in_sync < look.replicas]
    if leaderless:
        text = f"partitions without a leader: {len(leaderless)}, such as {_name(leaderless[0])}"
        yield Finding(
            "replicas",
            "fail",
            text,
            "start the brokers that are down; nobody can read or write these until then",
        )
    elif behind:
        text = f"partitions that lack replicas: {len(behind)}, such as {_name(behind[0])}"
        yield Finding(
            "replicas", "warn", text, "start the brokers that are down, or wait until they have caught up"
        )
    else:
        yield Finding("replicas", "ok", f"all replicas are in sync; partitions: {len(snapshot.partitions)}")


def catalogue(admin: AdminClient) -> Iterator[Finding]:
    """Check that the topics are there and as declared; another number of partitions is fine if it is that of all."""
    specs = all_topics()
    there = topics.observe(admin, [spec.name for spec in specs])
    counts = {there[spec.name].partitions for spec in specs if spec.name in there and spec.partitions > 1}
    if len(counts) == 1:
        specs = tuple(spec.with_partitions(next(iter(counts))) for spec in specs)
    found = topics.drift(specs, there)
    missing = [d for d in found if d.kind == "missing"]
    if missing:
        names = ", ".join(d.topic for d in missing)
        yield Finding("topics", "fail", f"missing topics: {names}", missing[0].remedy)
    for d in found:
        if d.kind != "missing":
            yield Finding("topics", "fail" if d.kind == "partitions" else "warn", d.text, d.remedy)
    if not found:
        yield Finding("topics", "ok", f"{len(specs)} topics are as the catalogue says")


def lag(snapshot: Snapshot, max_lag: int) -> Iterator[Finding]:
    """Check that every group keeps up, and that somebody works for those that have something left to read."""
    for name, group in sorted(snapshot.groups.items()):
        behind = 0
        for source, offset in group.offsets.items():
            look = snapshot.partitions.get(source)
            behind += max((look.end or 0) - offset, 0) if look is not None else 0
        if behind and not group.working:
            text = f"group {name} is {behind} records behind, and nobody works for it"
            yield Finding(
                "lag", "warn", text, "start its workers or sinks, or delete the group if it is no longer used"
            )
        elif behind > max_lag:
            text = f"group {name} is {behind} records behind"
            yield Finding(
                "lag",
                "warn",
                text,
                "start more workers, up to one a partition, or look for a stuck one: tidewatch monitor",
            )
        else:
            yield Finding("lag", "ok", f"group {name} is {behind} records behind")


def clocks(
    connection: Mapping[str, str | int],
    topic: str,
    snapshot: Snapshot,
    clock: Callable[[], float] = time.time,
) -> Iterator[Finding]:
    """Check that the brokers' clocks agree with this machine's, by the time that each puts on a record."""
    partitions = [number for name, number in snapshot.partitions if name == topic]
    if not partitions:
        yield Finding(
            "clocks", "warn", f"not checked, since topic {topic} is missing", "tidewatch topics create"
        )
        return
    offs: list[float] = []

    def delivered(error: object, message: Message) -> None:
        if error is None:
            now, stamp = clock(), message.timestamp()[1] / 1000
            # The broker stamped it somewhere between sending and now.
            offs.append(0.0 if started <= stamp <= now else min(stamp - now, stamp - started, key=abs))

    producer = Producer({**connection, "message.timeout.ms": int(_TIMEOUT * 1000)})
    for number in partitions:
        started = clock()
        with suppress(KafkaException):
            producer.produce(topic, b"", b"doctor", number, on_delivery=delivered)
            producer.flush(_TIMEOUT)
    if not offs:
        yield Finding(
            "clocks", "warn", f"not checked, since {topic} takes no records", "look at the broker's log"
        )
        return
    worst = max(offs, key=abs)
    state: State = "fail" if abs(worst) > _CLOCK_FAIL else "warn" if abs(worst) > _CLOCK_WARN else "ok"
    ahead = "agree with this machine's" if state == "ok" else f"are {worst:+.1f} s off this machine's"
    remedy = (
        "set both by NTP: latencies, retention and the guard against future events go by the broker's clock"
    )
    yield Finding("clocks", state, f"the brokers' clocks {ahead}", "" if state == "ok" else remedy)


def _name(source: tuple[str, int]) -> str:
    return f"{source[0]}[{source[1]}]"
