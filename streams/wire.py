"""Kafka's protocol as far as fetching needs it: requests to bytes, answers to facts (https://kafka.apache.org/protocol).

Fetch 12 is spoken since Kafka 2.7; it names the last epoch read, so that a leader tells when the log was cut back behind a reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

FETCH, METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 1, 3, 17, 18, 36
SPOKEN: Mapping[int, int] = {
    FETCH: 12,
    METADATA: 7,
    SASL_HANDSHAKE: 1,
    API_VERSIONS: 0,
    SASL_AUTHENTICATE: 0,
}
"""The version that is spoken of each request."""
_FLEXIBLE = frozenset({FETCH})
_READ_COMMITTED = 1
_NO_TAGS = b"\0"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a fetch asks of a partition: records from ``offset`` on; epochs are of its leader, -1 where unknown."""

    topic: str
    partition: int
    offset: int
    epoch: int
    last_epoch: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a broker answers for a partition; ``start`` and ``size`` say where in the answer its record batches are.

    ``end`` is where committed records end for now, ``aborted`` has (producer id, first offset) of transactions that are none,
    and ``cut_at`` where the log was cut back, if it was.
    """

    topic: str
    partition: int
    error: int
    end: int
    aborted: Sequence[tuple[int, int]]
    start: int
    size: int
    cut_at: int | None


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a partition, or why nobody does."""

    error: int
    node: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Addresses of brokers by number, errors of topics, and leaders of partitions."""

    brokers: Mapping[int, tuple[str, int]]
    topics: Mapping[str, int]
    leaders: Mapping[tuple[str, int], Leader]


class WireError(Exception):
    """An answer that is not what the protocol says."""


class Reader:
    """Reads the protocol's types from the bytes of an answer, one after the other."""

    def __init__(self, data: memoryview, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        """Return the fields of a fixed form."""
        at, self.at = self.at, self.at + form.size
        try:
            return form.unpack_from(self.data, at)
        except struct.error as error:
            raise WireError(f"an answer of {len(self.data)} bytes ends within a field at {at}") from error

    def short(self) -> int:
        """Return an int16."""
        return int(self.take(_SHORT)[0])

    def integer(self) -> int:
        """Return an int32."""
        return int(self.take(_INTEGER)[0])

    def unsigned(self) -> int:
        """Return an unsigned varint."""
        value, shift = 0, 0
        while True:
            byte = int(self.take(_BYTE)[0])
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def skip(self, size: int) -> int:
        """Pass over so many bytes and return where they begin."""
        at, self.at = self.at, self.at + size
        if size < 0 or self.at > len(self.data):
            raise WireError(f"an answer of {len(self.data)} bytes ends within {size} bytes at {at}")
        return at

    def bytes_of(self, size: int) -> bytes:
        """Return so many bytes, none of size -1 (null)."""
        at = self.skip(max(size, 0))
        return bytes(self.data[at : at + max(size, 0)])

    def text(self) -> str:
        """Return a string, an absent one as empty."""
        return self.bytes_of(self.short()).decode()

    def compact_text(self) -> str:
        """Return a compact string, an absent one as empty."""
        return self.bytes_of(self.unsigned() - 1).decode()

    def tags(self) -> Mapping[int, int]:
        """Pass over tagged fields and return where each begins."""
        found = {}
        for _ in range(self.unsigned()):
            tag = self.unsigned()
            found[tag] = self.skip(self.unsigned())
        return found


_BYTE, _SHORT, _INTEGER = struct.Struct(">B"), struct.Struct(">h"), struct.Struct(">i")
_PARTITION = struct.Struct(">ihqqq")
_ABORTED = struct.Struct(">qq")
_DIVERGING = struct.Struct(">iq")
_VERSIONS = struct.Struct(">hhh")
_ASKED = struct.Struct(">iiqiqi")


def _unsigned(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _compact(value: str) -> bytes:
    encoded = value.encode()
    return _unsigned(len(encoded) + 1) + encoded


def framed(api: int, correlation: int, client: str, body: bytes) -> bytes:
    """Return a request with its length and header."""
    header = struct.pack(">hhi", api, SPOKEN[api], correlation) + _text(client)
    if api in _FLEXIBLE:
        header += _NO_TAGS
    return struct.pack(">i", len(header) + len(body)) + header + body


def answered(api: int, correlation: int, data: memoryview) -> Reader:
    """Return a reader of an answer's body.

    Raises:
        WireError: it answers another request.
    """
    reader = Reader(data)
    found = reader.integer()
    if found != correlation:
        raise WireError(f"an answer to request {found} came to request {correlation}")
    if api in _FLEXIBLE:
        reader.tags()
    return reader


def metadata_request(topics: Iterable[str]) -> bytes:
    """Ask where topics are, making none."""
    names = [_text(topic) for topic in topics]
    return struct.pack(">i", len(names)) + b"".join(names) + b"\0"


def read_layout(reader: Reader) -> Layout:
    """Read the answer to ``metadata_request``."""
    reader.integer()
    brokers = {}
    for _ in range(reader.integer()):
        node = reader.integer()
        host, port = reader.text(), reader.integer()
        reader.text()
        brokers[node] = (host, port)
    reader.text()
    reader.integer()
    topics: dict[str, int] = {}
    leaders: dict[tuple[str, int], Leader] = {}
    for _ in range(reader.integer()):
        error, topic = reader.short(), reader.text()
        reader.skip(1)
        topics[topic] = error
        for _ in range(reader.integer()):
            error, partition = reader.short(), reader.integer()
            leaders[topic, partition] = Leader(error, reader.integer(), reader.integer())
            for _ in range(3):
                reader.skip(4 * reader.integer())
    return Layout(brokers, topics, leaders)


def fetch_request(asked: Sequence[Asked], wait_ms: int, most: int, most_each: int) -> bytes:
    """Ask for committed records, at most so many bytes in all and of each partition, within so many milliseconds."""
    parts = [struct.pack(">iiiibii", -1, wait_ms, 1, most, _READ_COMMITTED, 0, -1)]
    topics = [(topic, list(group)) for topic, group in groupby(asked, key=lambda each: each.topic)]
    parts.append(_unsigned(len(topics) + 1))
    for topic, group in topics:
        parts += [_compact(topic), _unsigned(len(group) + 1)]
        for each in group:
            parts += [
                _ASKED.pack(each.partition, each.epoch, each.offset, each.last_epoch, -1, most_each),
                _NO_TAGS,
            ]
        parts.append(_NO_TAGS)
    parts += [_unsigned(1), _compact(""), _NO_TAGS]  # nothing is forgotten, no rack
    return b"".join(parts)


def read_fetched(reader: Reader) -> tuple[int, list[Fetched]]:
    """Read the answer to ``fetch_request``: an error of the whole request, and what there is of each partition."""
    reader.integer()
    error = reader.short()
    reader.integer()
    found = []
    for _ in range(reader.unsigned() - 1):
        topic = reader.compact_text()
        found += [_read_partition(reader, topic) for _ in range(reader.unsigned() - 1)]
        reader.tags()
    reader.tags()
    return error, found


def _read_partition(reader: Reader, topic: str) -> Fetched:
    partition, error, _, end, _ = reader.take(_PARTITION)
    aborted = []
    for _ in range(reader.unsigned() - 1):
        aborted.append(reader.take(_ABORTED))
        reader.tags()
    reader.integer()
    size = max(reader.unsigned() - 1, 0)
    start = reader.skip(size)
    cut = reader.tags().get(0)
    cut_at = None if cut is None else int(Reader(reader.data, cut).take(_DIVERGING)[1])
    return Fetched(topic, partition, error, end, aborted, start, size, cut_at)


def read_versions(reader: Reader) -> Mapping[int, tuple[int, int]]:
    """Read the answer to a request for API versions: lowest and highest by request."""
    error = reader.short()
    if error:
        raise WireError(f"the broker does not say which requests it knows (error {error})")
    found = {}
    for _ in range(reader.integer()):
        api, low, high = reader.take(_VERSIONS)
        found[api] = (low, high)
    return found


def handshake_request(mechanism: str) -> bytes:
    """Ask to authenticate by a SASL mechanism."""
    return _text(mechanism)


def read_handshake(reader: Reader) -> tuple[int, list[str]]:
    """Read the answer to ``handshake_request``: an error, and the mechanisms that the broker knows."""
    error = reader.short()
    return error, [reader.text() for _ in range(reader.integer())]


def authenticate_request(token: bytes) -> bytes:
    """Send one token of a SASL exchange."""
    return struct.pack(">i", len(token)) + token


def read_authenticated(reader: Reader) -> tuple[int, str, bytes]:
    """Read the answer to ``authenticate_request``: an error, what it says, and the broker's token."""
    error, text = reader.short(), reader.text()
    return error, text, reader.bytes_of(reader.integer())
