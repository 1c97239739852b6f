"""A spool's entries on disk: a header, the value, and a checksum over both."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct("<IIQIIB")  # crc of the rest, size of the value, number, partition, rows, kind


class Entry(NamedTuple):
    """A record to send: to which partition, with how many rows, of which kind (an index of content types)."""

    number: int
    partition: int
    rows: int
    kind: int
    value: bytes


class Item(NamedTuple):
    """What is appended; the spool numbers it."""

    partition: int
    rows: int
    kind: int
    value: bytes


def packed(entry: Entry) -> bytes:
    """Return an entry's bytes on disk."""
    rest = _HEADER.pack(0, len(entry.value), entry.number, entry.partition, entry.rows, entry.kind)[4:]
    crc = zlib.crc32(entry.value, zlib.crc32(rest))
    return struct.pack("<I", crc) + rest + entry.value


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of some bytes, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def next_entry(file: BinaryIO) -> Entry | None:
    """Return the entry at a file's position, ``None`` where none is whole."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    crc, size, number, partition, rows, kind = _HEADER.unpack(header)
    value = file.read(size)
    if len(value) < size or zlib.crc32(value, zlib.crc32(header[4:])) != crc:
        return None
    return Entry(number, partition, rows, kind, value)


def scan(file: BinaryIO) -> Iterator[Entry]:
    """Yield the whole entries of a segment, from the file's position up to the first that is torn or damaged."""
    while (entry := next_entry(file)) is not None:
        yield entry


def whole_part(path: Path) -> tuple[int, int]:
    """Return how many bytes of a segment are whole entries, and the number of the last one, -1 if there is none."""
    end, number = 0, -1
    with path.open("rb") as file:
        for entry in scan(file):
            end, number = file.tell(), entry.number
    return end, number
