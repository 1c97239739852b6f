"""What a checkpoint partition holds, and how it is read back.

Three kinds of record, told apart by the first byte of the key. A *progress* record ends every emission transaction: the position
reached and the outside influences (idle timeouts, skipped rows) that took effect on the way. *Blocks* and the *manifest* that lists
them make up a state transaction. Restoring is: take the newest manifest, replay the source from its position to the newest progress
record while discarding outputs, go on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.errors import IncompatibleCheckpointError, StoppingError
from streams.followers import Followers
from streams.positions import FORBIDDEN, log_range
from streams.task import Blocks, FollowingTask

log = logging.getLogger(__name__)

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
    """A complete state: which transaction wrote the valid version of each block, at which positions.

    ``base`` and ``deltas`` are the bytes of the last state that was written whole and of all that was written since, in so many
    ``transactions``, so that a restored task knows when to write everything anew. A base of 0 bytes is none to go on from.
    """

    version: int
    signature: str
    partitions: int
    positions: dict[str, int]
    watermarks: dict[str, int]
    blocks: dict[str, int]
    base: int = 0
    deltas: int = 0
    transactions: int = 0


@dataclass(slots=True)
class Restored:
    """What a checkpoint partition says: state at the manifest, committed outputs up to ``progress``.

    With ``followers`` the blocks of their tasks go there instead of being kept. Nothing before offset ``begins``, where the
    transaction of the newest base begins, is needed; the log began at ``low``.
    """

    manifest: Manifest | None = None
    progress: Progress | None = None
    controls: list[Control] = field(default_factory=list)
    blocks: dict[tuple[str, int], bytes] = field(default_factory=dict)
    begins: int = 0
    low: int = field(default=0, compare=False)
    followers: Followers | None = field(default=None, compare=False)
    _progress_at: int = field(default=0, compare=False)

    def take(self, key: bytes, value: bytes, offset: int = 0) -> None:
        """Take the next record of the partition."""
        kind = key[:1]
        if kind == PROGRESS:
            self.progress = decode_progress(value)
            self.controls.extend(self.progress.controls)
            self._progress_at = offset
        elif kind == BLOCK:
            self.blocks[key[9:].decode(), int.from_bytes(key[1:9], "big")] = value
        elif kind == MANIFEST:
            manifest = decode_manifest(value)
            self.manifest = manifest
            self.blocks = {
                entry: self.blocks[entry] for entry in manifest.blocks.items() if entry in self.blocks
            }
            self.controls = []  # those before the manifest are in its state
            if self.followers is not None:
                self.followers.plan(manifest, self.blocks)
            latest = self.progress.transaction if self.progress is not None else None
            if all(transaction == latest for transaction in manifest.blocks.values()):
                self.begins = (
                    self._progress_at
                )  # each transaction's part of the checkpoint begins with its progress

    @property
    def missing(self) -> list[str]:
        """Blocks that the newest manifest lists but the partition no longer holds."""
        listed = {} if self.manifest is None else self.manifest.blocks
        followers = self.followers
        return [
            name
            for name, transaction in listed.items()
            if (name, transaction) not in self.blocks
            and not (followers is not None and followers.holds(name, transaction))
        ]

    def task(self, topic: str) -> FollowingTask | None:
        """Return the task on ``topic`` where one has followed the state."""
        return None if self.followers is None else self.followers.of(topic)

    def state(self, topic: str) -> dict[str, bytes]:
        """Return the blocks of the task on ``topic``, those that were split joined again."""
        parts: dict[str, list[bytes]] = {}
        for (entry, _), value in sorted(self.blocks.items()):
            of_topic, name, *_ = entry.split("\0")
            if of_topic == topic:
                parts.setdefault(name, []).append(value)
        return {name: values[0] if len(values) == 1 else b"".join(values) for name, values in parts.items()}


@dataclass(slots=True)
class Warm:
    """A copy of what a checkpoint partition says up to offset ``next``."""

    restored: Restored = field(default_factory=Restored)
    next: int = 0

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        followers = self.restored.followers
        held = sum(map(len, self.restored.blocks.values()))
        return held if followers is None else held + followers.nbytes


def decode_progress(value: bytes) -> Progress:
    """Read a progress record."""
    return msgspec.msgpack.decode(value, type=Progress)


def decode_manifest(value: bytes) -> Manifest:
    """Read a manifest; raise IncompatibleCheckpointError where another format wrote it."""
    try:
        return msgspec.msgpack.decode(value, type=Manifest)
    except msgspec.MsgspecError as error:
        raise IncompatibleCheckpointError(
            f"The checkpoint has a format that this version does not know ({error}). Run the version that wrote it, start side "
            "by side under another --app-id, or run 'tidewatch reset --to earliest' (or a time) to recompute."
        ) from error


def progress_record(progress: Progress) -> tuple[bytes, bytes]:
    """Return key and value of a progress record."""
    return PROGRESS, msgspec.msgpack.encode(progress)


def block_key(topic: str, name: str, transaction: int) -> bytes:
    """Return the key of a block of the task on ``topic`` written by ``transaction``."""
    return BLOCK + transaction.to_bytes(8, "big") + f"{topic}\0{name}".encode()


def part_name(name: str, part: int) -> str:
    """Return the name of a part of a block that is too large for one record; the first part has the block's own."""
    return f"{name}\0{part:04d}" if part else name


@dataclass(slots=True)
class StateLedger:
    """Keeps which transaction wrote each live block, and when the deltas have outgrown their base.

    ``records`` counts the transactions since the base, each of which left a record to read.
    """

    live: dict[str, int] = field(default_factory=dict)
    base_bytes: int = 0
    delta_bytes: int = 0
    has_base: bool = False
    records: int = 0

    @classmethod
    def of(cls, manifest: Manifest | None) -> StateLedger:
        """Go on from the newest manifest: with what has changed since, if it stands on a base."""
        if manifest is None or not manifest.base:
            return cls()
        return cls(dict(manifest.blocks), manifest.base, manifest.deltas, True, manifest.transactions)

    def wants_base(self, factor: float) -> bool:
        """Say whether the next state transaction should write everything."""
        outgrown = self.delta_bytes > factor * self.base_bytes + (1 << 20)
        # A large base is dearer to write than many small records are to read.
        return not self.has_base or outgrown or self.records > 5_000 + self.base_bytes // 10_000

    def plan(self, changes: Mapping[str, Blocks], transaction: int, *, full: bool) -> dict[str, int]:
        """Return the live blocks once ``changes`` (by topic) are written by ``transaction``."""
        live = {} if full else dict(self.live)
        for topic, blocks in changes.items():
            for name, value in blocks.items():
                entry = f"{topic}\0{name}"
                if "\0" not in name:
                    _drop(live, entry)
                if value is not None:
                    live[entry] = transaction
        return live

    def sizes(self, size: int, *, full: bool) -> tuple[int, int, int]:
        """Return the bytes of the base, of the deltas and their number once ``size`` bytes are written."""
        return (size, 0, 0) if full else (self.base_bytes, self.delta_bytes + size, self.records)

    def written(self, live: dict[str, int], size: int, *, full: bool) -> None:
        """Note a committed state transaction of ``size`` bytes."""
        self.base_bytes, self.delta_bytes, self.records = self.sizes(size, full=full)
        self.live, self.has_base = live, True


def _drop(live: dict[str, int], entry: str) -> None:
    part = 0
    while live.pop(part_name(entry, part), None) is not None:
        part += 1


def read_checkpoint(
    connection: Mapping[str, str | int],
    topic: str,
    partition: int,
    keep_trying: Callable[[], bool] = lambda: True,
    warm: Warm | None = None,
) -> Restored:
    """Read one checkpoint partition to its present end, waiting for Kafka while ``keep_trying()`` says so.

    An owner calls it after ``init_transactions()`` of the partition's own producer: then nobody else can append to it. With a
    ``warm`` copy only what came after it is read, unless that does not lead to a whole state.

    Raises:
        IncompatibleCheckpointError: another format wrote it, or part of the newest state is gone.
        StoppingError: there is no more time to wait.
        KafkaException: the broker cannot be read.
    """
    if warm is not None:
        try:
            return _read(connection, topic, partition, keep_trying, warm)
        except (StoppingError, KafkaException):
            raise
        except Exception as error:  # whatever is wrong with a copy, there is the log
            log.warning("partition %d: its copy is of no use (%s), reading all of it", partition, error)
    return _read(connection, topic, partition, keep_trying, Warm())


def _read(
    connection: Mapping[str, str | int],
    topic: str,
    partition: int,
    keep_trying: Callable[[], bool],
    warm: Warm,
) -> Restored:
    consumer = Consumer(
        {
            "log_level": 3,
            **connection,
            "group.id": "tidewatch-restore",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 2,
            "max.partition.fetch.bytes": 16_000_000,
        }
    )
    readable = log_range(connection, topic, partition, isolation="read_committed")
    end, restored, begin = readable.high, Restored(), OFFSET_BEGINNING
    if warm.next and readable.low <= warm.next <= end:
        restored, begin = warm.restored, warm.next
    restored.low = readable.low
    try:
        consumer.assign([TopicPartition(topic, partition, begin)])
        while keep_trying():
            for message in consumer.consume(1_000, 0.1):
                error = message.error()
                offset = int(message.offset() or 0)
                if error is None and offset < end:
                    restored.take(message.key() or b"", message.value() or b"", offset)
                elif error is None or error.code() == KafkaError._PARTITION_EOF:
                    if restored.followers is not None:
                        restored.followers.finish()
                    return _whole(restored, topic, partition)
                elif error.code() in FORBIDDEN:
                    raise KafkaException(error)
        raise StoppingError(f"partition {partition} stopped while it read its checkpoint")
    finally:
        consumer.close()


def _whole(restored: Restored, topic: str, partition: int) -> Restored:
    if restored.missing:
        raise IncompatibleCheckpointError(
            f"{topic}[{partition}] has lost {len(restored.missing)} blocks of its newest state, such as {restored.missing[0]!r}: "
            "was its retention changed? Run 'tidewatch reset --to earliest' (or a time) to recompute."
        )
    return restored
