"""State transactions: which blocks to write, how large, when to begin anew, and what to let go of then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from confluent_kafka import KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.checkpoint import FORMAT, MANIFEST, Manifest, Restored, StateLedger, block_key, part_name
from streams.config import EngineConfig, Stage
from streams.runner import StageRunner, signature_of
from streams.seals import place_of
from streams.task import Blocks
from streams.transactions import Record

MAX_BLOCK = 512_000


class StateSaver:
    """Plan the state transactions of one partition.

    Each writes the blocks that changed since the last one, of at most 512 kB, and a manifest that names every live block. Once the
    deltas have outgrown their base, everything is written anew and what lies before is deleted from the log. Whoever takes the
    state over goes on with deltas. State about patients is sealed where the worker has keys.
    """

    def __init__(
        self,
        config: EngineConfig,
        stages: Sequence[Stage],
        partition: int,
        partitions: int,
        ledger: StateLedger,
    ) -> None:
        self.ledger = ledger
        self._config = config
        self._signature = signature_of(stages)
        self._private = {stage.topic for stage in stages if stage.private}
        self._partition = partition
        self._partitions = partitions
        self._admin: AdminClient | None = None
        self._planned: tuple[dict[str, int], int, bool] = ({}, 0, False)
        self._first_offset: int | None = None

    def begin(self, restored: Restored, *, anew: bool) -> None:
        """Go on from a checkpoint that the tasks were built from; the next state is a base where it must be written ``anew``."""
        self.ledger = StateLedger() if anew else StateLedger.of(restored.manifest)
        if self.ledger.has_base and restored.low < restored.begins:
            self._forget_before(restored.begins)  # its writer died before it could

    def records(
        self, runners: Mapping[str, StageRunner], transaction: int, positions: dict[str, int]
    ) -> Iterator[Record]:
        """Yield what to write for the state at ``positions``; call ``saved`` once it is committed."""
        lost_track = any(runner.lost_track for runner in runners.values())
        full = lost_track or self.ledger.wants_base(self._config.state_bytes_factor)
        changes: dict[str, Blocks] = {topic: r.snapshot(full=full) for topic, r in runners.items()}
        split = {topic: dict(_split(blocks)) for topic, blocks in changes.items()}
        live = self.ledger.plan(split, transaction, full=full)
        topic_of_state, size = self._config.checkpoint_topic, 0
        for topic, blocks in split.items():
            for name, value in blocks.items():
                if value is not None:
                    key = block_key(topic, name, transaction)
                    data = self._sealed(topic, key, value)
                    yield Record(topic_of_state, self._partition, key, data)
                    size += len(data)
        watermarks = {topic: runner.task.watermark for topic, runner in runners.items()}
        sizes = self.ledger.sizes(size, full=full)
        manifest = Manifest(FORMAT, self._signature, self._partitions, positions, watermarks, live, *sizes)
        yield Record(topic_of_state, self._partition, MANIFEST, msgspec.msgpack.encode(manifest))
        self._planned, self._first_offset = (live, size, full), None

    def _sealed(self, topic: str, key: bytes, value: bytes) -> bytes:
        seals = self._config.seals
        if seals is None or topic not in self._private:
            return value
        return seals.seal(value, place_of(self._partition, key))

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Note where the checkpoint's part of the transaction begins."""
        if error is None:
            offset = int(message.offset() or 0)
            first = self._first_offset
            self._first_offset = offset if first is None else min(first, offset)

    def saved(self) -> int:
        """Note that the planned state is committed, and return its size in bytes."""
        live, size, full = self._planned
        self.ledger.written(live, size, full=full)
        if full and self._first_offset:
            self._forget_before(self._first_offset)
        return size

    def _forget_before(self, offset: int) -> None:
        """Delete what lies before a new base, in the background; if this fails, the next base tries again."""
        if self._admin is None:
            self._admin = AdminClient({"log_level": 3, **self._config.connection})
        where = TopicPartition(self._config.checkpoint_topic, self._partition, offset)
        self._admin.delete_records([where])


def _split(blocks: Blocks) -> Iterator[tuple[str, bytes | None]]:
    for name, value in blocks.items():
        if value is None or len(value) <= MAX_BLOCK:
            yield name, value
        else:
            for part, at in enumerate(range(0, len(value), MAX_BLOCK)):
                yield part_name(name, part), value[at : at + MAX_BLOCK]
