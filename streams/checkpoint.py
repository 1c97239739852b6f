"""What a checkpoint partition holds, and how it is read back.

Three kinds of record, told apart by the first byte of the key. A *progress* record ends every emission transaction: the position
reached and the outside influences (idle timeouts, skipped rows) that took effect on the way. *Blocks* and the *manifest* that lists
them make up a state transaction. Restoring is: take the newest manifest, replay the source from its position to the newest progress
record while discarding outputs, go on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.task import Blocks

FORMAT = 1
PROGRESS, BLOCK, MANIFEST = b"p", b"b", b"m"


class Control(msgspec.Struct, frozen=True, array_like=True):
    """An outside influence on a task that took effect just before the record at ``position``.

    ``idle`` moves the watermark to ``watermark``; ``skip`` leaves out row ``row`` of the record at ``position``; ``rules``
    announces the rules in ``text``.
    """

    topic: str
    position: int
    kind: Literal["idle", "skip", "rules"]
    watermark: int = 0
    row: int = 0
    text: str = ""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """How far outputs are committed: positions by topic, and the controls since the previous progress record."""

    owner: str
    transaction: int
    positions: dict[str, int]
    controls: list[Control]


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """A complete state: which transaction wrote the valid version of each block, at which positions."""

    version: int
    signature: str
    partitions: int
    positions: dict[str, int]
    watermarks: dict[str, int]
    blocks: dict[str, int]


@dataclass(slots=True)
class Restored:
    """What a checkpoint partition says: state at the manifest, committed outputs up to ``progress``."""

    manifest: Manifest | None = None
    progress: Progress | None = None
    controls: list[Control] = field(default_factory=list)
    blocks: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def take(self, key: bytes, value: bytes) -> None:
        """Take the next record of the partition."""
        kind = key[:1]
        if kind == PROGRESS:
            self.progress = msgspec.msgpack.decode(value, type=Progress)
            self.controls.extend(self.progress.controls)
        elif kind == BLOCK:
            self.blocks[key[9:].decode(), int.from_bytes(key[1:9], "big")] = value
        elif kind == MANIFEST:
            manifest = msgspec.msgpack.decode(value, type=Manifest)
            self.manifest = manifest
            self.blocks = {
                entry: self.blocks[entry] for entry in manifest.blocks.items() if entry in self.blocks
            }
            self.controls = []  # those before the manifest are in its state

    def state(self, topic: str) -> dict[str, bytes]:
        """Return the blocks of the task on ``topic``."""
        prefix = topic + "\0"
        return {
            name.removeprefix(prefix): value
            for (name, _), value in self.blocks.items()
            if name.startswith(prefix)
        }


def progress_record(progress: Progress) -> tuple[bytes, bytes]:
    """Return key and value of a progress record."""
    return PROGRESS, msgspec.msgpack.encode(progress)


def block_key(topic: str, name: str, transaction: int) -> bytes:
    """Return the key of a block of the task on ``topic`` written by ``transaction``."""
    return BLOCK + transaction.to_bytes(8, "big") + f"{topic}\0{name}".encode()


@dataclass(slots=True)
class StateLedger:
    """Keeps which transaction wrote each live block, and when the deltas have outgrown their base."""

    live: dict[str, int] = field(default_factory=dict)
    base_bytes: int = 0
    delta_bytes: int = 0
    has_base: bool = False
    records: int = 0

    def wants_base(self, factor: float) -> bool:
        """Say whether the next state transaction should write everything."""
        outgrown = self.delta_bytes > factor * self.base_bytes + (1 << 20)
        return not self.has_base or outgrown or self.records > 5_000

    def plan(self, changes: Mapping[str, Blocks], transaction: int, *, full: bool) -> dict[str, int]:
        """Return the live blocks once ``changes`` (by topic) are written by ``transaction``."""
        live = {} if full else dict(self.live)
        for topic, blocks in changes.items():
            for name, value in blocks.items():
                entry = f"{topic}\0{name}"
                if value is None:
                    live.pop(entry, None)
                else:
                    live[entry] = transaction
        return live

    def written(self, live: dict[str, int], size: int, *, full: bool) -> None:
        """Note a committed state transaction of ``size`` bytes."""
        self.live = live
        if full:
            self.base_bytes, self.delta_bytes, self.has_base, self.records = size, 0, True, 0
        else:
            self.delta_bytes += size


def read_checkpoint(
    connection: Mapping[str, str | int], topic: str, partition: int, timeout: float = 60.0
) -> Restored:
    """Read one checkpoint partition to its end.

    Call it after ``init_transactions()`` of the partition's own producer: then nobody else can append to it.

    Raises:
        KafkaException: the broker cannot be read.
    """
    consumer = Consumer(
        {
            **connection,
            "group.id": "tidewatch-restore",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 2,
        }
    )
    restored = Restored()
    try:
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
        consumer.assign([TopicPartition(topic, partition, low)])
        while True:
            for message in consumer.consume(1_000, 0.5):
                error = message.error()
                if error is None:
                    restored.take(message.key() or b"", message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    return restored
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()
