"""Starting an app anew from chosen positions: a manifest without state, after fencing whoever still runs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec
from confluent_kafka import Consumer, TopicPartition

from streams.checkpoint import FORMAT, MANIFEST, Manifest, Progress, progress_record, read_checkpoint
from streams.config import EngineConfig, Stage
from streams.positions import log_range
from streams.preflight import prepare
from streams.runner import signature_of
from streams.transactions import Record, TransactionalWriter


def reset_app(
    config: EngineConfig, stages: Sequence[Stage], time_ms: int | None
) -> dict[tuple[str, int], int]:
    """Let the app go on, without state, at the earliest records or at those logged from ``time_ms`` on; return the positions.

    Each partition is reset in one transaction that fences a worker still running there.
    """
    partitions = prepare(config, stages, lambda _: None)
    positions: dict[tuple[str, int], int] = {}
    for partition in range(partitions):
        chosen = {stage.topic: _position(config, stage.topic, partition, time_ms) for stage in stages}
        writer = TransactionalWriter(
            config.connection, config.transactional_id(partition), config.transaction_timeout, partition
        )
        writer.open()
        before = read_checkpoint(config.connection, config.checkpoint_topic, partition).progress
        number = 1 if before is None else before.transaction + 1
        progress = progress_record(Progress(uuid.uuid4().hex, number, chosen, []))
        manifest = Manifest(FORMAT, signature_of(stages), partitions, chosen, dict.fromkeys(chosen, 0), {})
        records = [progress, (MANIFEST, msgspec.msgpack.encode(manifest))]
        writer.write([Record(config.checkpoint_topic, partition, key, value) for key, value in records])
        writer.close()
        positions |= {(topic, partition): position for topic, position in chosen.items()}
    return positions


def _position(config: EngineConfig, topic: str, partition: int, time_ms: int | None) -> int:
    readable = log_range(config.connection, topic, partition)
    if time_ms is None:
        return readable.low
    consumer = Consumer({"log_level": 3, **config.connection, "group.id": "tidewatch-reset"})
    try:
        (found,) = consumer.offsets_for_times([TopicPartition(topic, partition, time_ms)], timeout=30)
        return int(found.offset) if found.offset >= 0 else readable.high
    finally:
        consumer.close()
