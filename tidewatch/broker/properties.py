"""The settings of a local broker: KRaft, one node or three, small and quick to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """The two TCP ports of one node: clients and controllers."""

    client: int
    controller: int


_FIXED: Mapping[str, str | int] = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    # Retention must not eat replayed history, so records carry the time they were appended.
    "log.message.timestamp.type": "LogAppendTime",
    # Topics come from the catalogue; a misspelt name is an error, not a topic with one partition.
    "auto.create.topics.enable": "false",
    "num.partitions": 4,
    "message.max.bytes": 1_048_588,
    # Internal topics of 50 partitions each would triple the start-up time.
    "offsets.topic.num.partitions": 8,
    "transaction.state.log.num.partitions": 8,
    "share.coordinator.state.topic.num.partitions": 1,
    # Failures shall be noticed in seconds on one machine.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    "broker.session.timeout.ms": 4000,
    "broker.heartbeat.interval.ms": 1000,
    "file.delete.delay.ms": 1000,
    # Threads and buffers for two cores and a heap of a few hundred megabytes.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
}


def node_properties(
    node: int, ports: Sequence[Ports], directory: Path, overrides: Mapping[str, str | int] | None = None
) -> dict[str, str]:
    """Return the broker settings of node ``node`` (counted from 1) of a cluster with these ports."""
    mine, count = ports[node - 1], len(ports)
    in_sync = 2 if count >= 3 else 1
    properties: dict[str, str | int] = {
        **_FIXED,
        "node.id": node,
        "controller.quorum.voters": ",".join(f"{i}@{HOST}:{p.controller}" for i, p in enumerate(ports, 1)),
        "listeners": f"PLAINTEXT://{HOST}:{mine.client},CONTROLLER://{HOST}:{mine.controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{mine.client}",
        "log.dirs": str(directory / "data"),
        "default.replication.factor": count,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": count,
        "transaction.state.log.replication.factor": count,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": count,
        "share.coordinator.state.topic.min.isr": in_sync,
        **(overrides or {}),
    }
    return {name: str(value) for name, value in properties.items()}


def render(properties: Mapping[str, str]) -> str:
    """Write settings in Java's properties format."""
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in properties.items())
