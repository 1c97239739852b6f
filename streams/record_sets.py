"""Record batches as a broker sends them to arrays of records: aborted ones left out, compressed ones opened."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.codec import ARROW, JSON
from schemas.columns import Int64s
from schemas.packed import Bytes, Packed, address_of
from streams import record_kernel as kernel
from streams.intake import Records, Source

_TYPES = (None, JSON, ARROW)
_SMALLEST = 7  # bytes of a record without key, value and headers
_XERIAL = b"\x82SNAPPY\x00"


class RecordSetError(Exception):
    """The bytes are no record batches that can be read."""


class RecordSet(NamedTuple):
    """Batches that hold committed records at ``position`` or later; ``next`` is where reading goes on after them.

    ``epoch`` is that of the leader who wrote the last one, -1 where there is none.
    """

    position: int
    next: int
    epoch: int
    data: Bytes
    batches: Int64s


def record_set(sent: Bytes, position: int, aborted: Sequence[tuple[int, int]]) -> RecordSet:
    """Copy and look through what a broker sent, whose last batch may be cut off.

    ``aborted`` has (producer id, first offset) of aborted transactions.

    Raises:
        RecordSetError: it cannot be read.
    """
    data = sent.copy()
    address = address_of(data)
    whole = _checked(kernel.count(address, len(data)))
    batches = np.empty((whole, kernel.COLUMNS), np.int64)
    ordered = np.array(sorted(aborted, key=lambda each: each[1]), np.int64).reshape(-1, 2)
    rows, next_, epoch = kernel.plan(address, len(data), position, ordered, batches)
    return RecordSet(position, next_, epoch, data, batches[:rows])


def records_of(source: Source, found: RecordSet) -> Records | None:
    """Return the records of a set, None where it has none.

    Raises:
        RecordSetError: it cannot be read.
    """
    data, batches = _opened(found.data, found.batches)
    if (batches[:, kernel.COUNT] * _SMALLEST > batches[:, kernel.SIZE]).any():
        raise RecordSetError("record batches are broken")
    fields = np.empty((kernel.FIELDS, int(batches[:, kernel.COUNT].sum())), np.int64)
    n = _checked(kernel.unpack(address_of(data), batches, found.position, fields)) if fields.size else 0
    if not n:
        return None
    fields = fields[:, :n]
    return Records(
        source,
        fields[kernel.OFFSET],
        fields[kernel.STAMP],
        Packed(data, fields[kernel.KEY], fields[kernel.KEY_SIZE]),
        Packed(data, fields[kernel.VALUE], fields[kernel.VALUE_SIZE]),
        _content_types(data, fields),
    )


def _checked(count: int) -> int:
    if count == kernel.OLD_FORMAT:
        raise RecordSetError("records are kept in a format from before Kafka 0.11: copy them to a new topic")
    if count < 0:
        raise RecordSetError("record batches are broken")
    return count


def _content_types(data: Bytes, fields: Any) -> list[str | None] | None:
    kinds = fields[kernel.KIND]
    if int(kinds.max()) <= kernel.IS_JSON:
        return None
    texts = zip(kinds.tolist(), fields[kernel.TYPE].tolist(), fields[kernel.TYPE_SIZE].tolist(), strict=True)
    return [
        _TYPES[kind]
        if kind < kernel.OTHER_TYPE
        else data[at : at + size].tobytes().decode("ascii", "replace")
        for kind, at, size in texts
    ]


def _opened(data: Bytes, batches: Int64s) -> tuple[Bytes, Int64s]:
    """Return batches that are not compressed, and their data."""
    if not batches[:, kernel.CODEC].any():
        return data, batches
    starts, sizes = batches[:, kernel.DATA].tolist(), batches[:, kernel.SIZE].tolist()
    parts = [
        _decompressed(data[start : start + size], codec)
        for start, size, codec in zip(starts, sizes, batches[:, kernel.CODEC].tolist(), strict=True)
    ]
    opened = batches.copy()
    opened[:, kernel.SIZE] = [len(part) for part in parts]
    opened[:, kernel.DATA] = np.cumsum(opened[:, kernel.SIZE]) - opened[:, kernel.SIZE]
    return np.concatenate(parts), opened


def _decompressed(data: Bytes, codec: int) -> Bytes:
    if codec == 0:
        return data
    if codec not in _CODECS:
        raise RecordSetError(f"batches are compressed in a way that is not known ({codec})")
    try:
        return np.frombuffer(_CODECS[codec](data), np.uint8)
    except (OSError, ValueError, struct.error, IndexError) as error:
        raise RecordSetError(f"a compressed batch cannot be opened: {error}") from error


def _streamed(name: str) -> Callable[[Bytes], Any]:
    return lambda data: pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(data)), name).read()


def _snappy(data: Bytes) -> Any:
    """Open either form of snappy that is seen in Kafka: one block, or Java's stream of blocks with their lengths."""
    if data[: len(_XERIAL)].tobytes() != _XERIAL:
        return _snappy_block(data)
    blocks, at = bytearray(), 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data.data, at)
        blocks += memoryview(_snappy_block(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return blocks


def _snappy_block(data: Bytes) -> Any:
    size = at = 0
    while data[at] > 127:
        size |= (int(data[at]) & 127) << 7 * at
        at += 1
    size |= int(data[at]) << 7 * at
    return pa.decompress(pa.py_buffer(data), size, codec="snappy") if size else b""


_CODECS: dict[int, Callable[[Bytes], Any]] = {
    1: _streamed("gzip"), 2: _snappy, 3: _streamed("lz4"), 4: _streamed("zstd"),
}  # fmt: skip
