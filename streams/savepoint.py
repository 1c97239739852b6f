"""Savepoints: named copies of an app's state, from which another app can start side by side."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.checkpoint import BLOCK, MANIFEST, Manifest, Progress, Restored, progress_record, read_checkpoint
from streams.config import EngineConfig
from streams.errors import EngineError
from streams.transactions import Record, TransactionalWriter

INFIX = ".savepoint."
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}

Positions = dict[tuple[str, int], int]


class SavepointError(EngineError):
    """There is no such savepoint, or something is in its place."""


@dataclass(frozen=True, slots=True)
class Savepoint:
    """The name of a savepoint of an app, and the topic that holds it."""

    app_id: str
    name: str

    @property
    def topic(self) -> str:
        """One partition for each of the source."""
        return f"tw.{self.app_id}{INFIX}{self.name}"


def save(config: EngineConfig, name: str) -> Positions:
    """Copy the newest state of every partition to a topic of its own; return the positions it stands at.

    Workers may go on meanwhile. Each partition is copied in one transaction; partitions do not depend on each other, so they
    need not stand at the same time.

    Raises:
        SavepointError: the name is taken or unfit, or the app has no state yet.
    """
    if not NAME.fullmatch(name):
        raise SavepointError(
            f"{name!r} is no name for a savepoint: use up to 60 letters, digits, '-' and '_'."
        )
    savepoint = Savepoint(config.app_id, name)
    topics = _topics(config)
    partitions = topics.get(config.checkpoint_topic)
    if partitions is None:
        raise SavepointError(f"{config.app_id!r} has no checkpoints: is that its --app-id?")
    if savepoint.topic in topics:
        raise SavepointError(
            f"{config.app_id!r} has a savepoint {name!r} already: choose another name, or drop it."
        )
    states = [read_checkpoint(config.connection, config.checkpoint_topic, p) for p in range(partitions)]
    if any(state.manifest is None for state in states):
        raise SavepointError(
            f"Not every partition of {config.app_id!r} has state yet: try again in a minute."
        )
    _create(config, savepoint.topic, partitions)
    return _write(config, savepoint.topic, states)


def start(config: EngineConfig, savepoint: Savepoint) -> Positions:
    """Let the app of ``config``, which must be new, begin with a savepoint; return the positions where it goes on.

    A worker of that app then refuses the state if it belongs to another definition of the pipeline.

    Raises:
        SavepointError: there is no such savepoint, or the app has checkpoints already.
    """
    require(config, savepoint)
    topics = _topics(config)
    partitions = topics[savepoint.topic]
    if config.checkpoint_topic in topics:
        raise SavepointError(
            f"{config.app_id!r} has checkpoints already: choose another name for the new app."
        )
    states = [read_checkpoint(config.connection, savepoint.topic, p) for p in range(partitions)]
    if any(state.manifest is None for state in states):
        raise SavepointError(
            f"Savepoint {savepoint.name!r} was not written to its end: drop it and save again."
        )
    _create(config, config.checkpoint_topic, partitions)
    return _write(config, config.checkpoint_topic, states)


def listed(config: EngineConfig) -> list[Savepoint]:
    """Return the savepoints of all apps, by app and name."""
    found = [topic.removeprefix("tw.").rpartition(INFIX) for topic in _topics(config) if INFIX in topic]
    return sorted((Savepoint(app, name) for app, _, name in found), key=lambda s: (s.app_id, s.name))


def require(config: EngineConfig, savepoint: Savepoint) -> None:
    """Raise SavepointError unless there is such a savepoint."""
    if savepoint.topic not in _topics(config):
        raise SavepointError(
            f"{savepoint.app_id!r} has no savepoint {savepoint.name!r}: see 'tidewatch savepoint list'."
        )


def drop(config: EngineConfig, savepoint: Savepoint) -> None:
    """Delete a savepoint.

    Raises:
        SavepointError: there is none of that name.
    """
    require(config, savepoint)
    admin = AdminClient(dict(config.connection))
    admin.delete_topics([savepoint.topic])[savepoint.topic].result(30)


def positions_of(config: EngineConfig, savepoint: Savepoint) -> Positions:
    """Return the positions at which a savepoint stands."""
    positions: Positions = {}
    for partition in range(_topics(config)[savepoint.topic]):
        manifest = read_checkpoint(config.connection, savepoint.topic, partition).manifest
        if manifest is not None:
            positions |= {(topic, partition): position for topic, position in manifest.positions.items()}
    return positions


def _write(config: EngineConfig, topic: str, states: list[Restored]) -> Positions:
    positions: Positions = {}
    for partition, state in enumerate(states):
        manifest = state.manifest
        if manifest is None:
            continue
        writer = TransactionalWriter(
            config.connection, f"{topic}.copy.{partition}", config.transaction_timeout, partition
        )
        writer.open()
        writer.write(Record(topic, partition, key, value) for key, value in _records(state, manifest))
        writer.close()
        positions |= {(source, partition): position for source, position in manifest.positions.items()}
    return positions


def _records(state: Restored, manifest: Manifest) -> Iterator[tuple[bytes, bytes]]:
    for (name, transaction), value in state.blocks.items():
        yield BLOCK + transaction.to_bytes(8, "big") + name.encode(), value
    yield MANIFEST, msgspec.msgpack.encode(manifest)
    # Numbers of later transactions go on above those of the blocks.
    latest = max(manifest.blocks.values(), default=0)
    yield progress_record(Progress(uuid.uuid4().hex, latest, manifest.positions, []))


def _topics(config: EngineConfig) -> Mapping[str, int]:
    topics = AdminClient(dict(config.connection)).list_topics(timeout=30).topics
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def _create(config: EngineConfig, topic: str, partitions: int) -> None:
    admin = AdminClient(dict(config.connection))
    try:
        admin.create_topics([NewTopic(topic, partitions, config=KEPT)])[topic].result(30)
    except KafkaException as error:
        raise SavepointError(f"Cannot create {topic}: {error.args[0].str()}") from error
