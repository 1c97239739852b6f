"""Readings for a paced run, as record batches made whole by numpy and sent with one request for all partitions.

A client that queues record by record takes 1.3 us of processor time an event, and sends a request a partition. On a core that it
shares with the broker that, and not the worker, would set the latency.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

NAME_SIZE = 12
USUAL, HIGH = b"20.0", b"99.0"
_VALUE = b'{"sensor_id":"............","site":"x","quantity":"temperature","unit":"degC","value":20.0,"time":0000000000000}'
_IN_FLIGHT = 400
MOST = 8_192
"""Records of a batch whose offset takes at most two bytes."""

# Kafka's record batch, version 2. Numbers of a record are zigzag varints, so a small n is written as 2 n, seven bits a byte.
_HEAD = struct.Struct(">qiibI")  # base offset, length, leader epoch, version, checksum
_BODY = struct.Struct(
    ">hiqqqhii"
)  # attributes, last offset, first and last time, producer, epoch, sequence, count
_NONE, _VERSION = -1, 2
_SHORT = 64  # records whose offset takes one byte


def _varint(number: int) -> bytes:
    coded = 2 * number
    return bytes([coded]) if coded < 0x80 else bytes([coded & 0x7F | 0x80, coded >> 7])


def _record(offset_size: int) -> NDArray[np.uint8]:
    """Return a record of the readings with room for its offset, after its length, attributes and time."""
    key = _varint(NAME_SIZE) + b"." * NAME_SIZE
    rest = bytes(offset_size) + key + _varint(len(_VALUE)) + _VALUE + _varint(0)
    return np.frombuffer(_varint(2 + len(rest)) + b"\0\0" + rest, np.uint8)


_LONG_RECORD, _SHORT_RECORD = _record(2), _record(1)
_OFFSET_AT = len(_varint(len(_LONG_RECORD))) + 2
_KEY_AT = _OFFSET_AT + 2 + 1
_VALUE_AT = _KEY_AT + NAME_SIZE + len(_varint(len(_VALUE)))
_NAME_IN, _NUMBER_IN, _TIME_IN = (
    _VALUE_AT + _VALUE.index(text) for text in (b"....", USUAL, b"0000000000000")
)


class SendError(Exception):
    """The broker refused records."""


class Readings(NamedTuple):
    """Readings in order of their times: names of shape (n, 12), which of them are high, ms since the epoch, partitions."""

    names: NDArray[np.uint8]
    high: NDArray[np.bool_]
    times: NDArray[np.int64]
    partitions: NDArray[np.int8]


def record_batches(readings: Readings) -> dict[int, bytes]:
    """Return the record batch of each partition, its readings in their order; at most 8,192 of a partition."""
    order = np.argsort(readings.partitions, kind="stable")
    text = np.tile(_LONG_RECORD, (len(order), 1))
    names, first = readings.names[order], int(readings.times[0])
    text[:, _KEY_AT : _KEY_AT + NAME_SIZE] = names
    text[:, _NAME_IN : _NAME_IN + NAME_SIZE] = names
    text[readings.high[order], _NUMBER_IN : _NUMBER_IN + len(HIGH)] = np.frombuffer(HIGH, np.uint8)
    moments = b"".join(b"%013d" % ms for ms in range(first, int(readings.times[-1]) + 1))
    moment = np.frombuffer(moments, np.uint8).reshape(-1, 13)
    text[:, _TIME_IN : _TIME_IN + 13] = moment[readings.times[order] - first]
    counts = np.bincount(readings.partitions)
    ends = np.cumsum(counts)
    return {
        partition: _batch(text[end - count : end], first)
        for partition, (count, end) in enumerate(zip(counts.tolist(), ends.tolist(), strict=True))
        if count
    }


def _batch(text: NDArray[np.uint8], now: int) -> bytes:
    """Number the records of a partition and put what a broker asks for before them."""
    n = len(text)
    if n > MOST:
        raise ValueError(f"{n} readings of a partition are more than a batch may have, {MOST}")
    coded = 2 * np.arange(n)
    text[:, _OFFSET_AT], text[:, _OFFSET_AT + 1] = coded & 0x7F | 0x80, coded >> 7
    short = np.empty((min(n, _SHORT), len(_SHORT_RECORD)), np.uint8)
    short[:, :_OFFSET_AT], short[:, _OFFSET_AT] = _SHORT_RECORD[:_OFFSET_AT], coded[:_SHORT]
    short[:, _OFFSET_AT + 1 :] = text[:_SHORT, _OFFSET_AT + 2 :]
    body = b"".join(
        (
            _BODY.pack(0, n - 1, now, now, _NONE, _NONE, _NONE, n),
            short.tobytes(),
            text[_SHORT:].tobytes(),
        )
    )
    head = _HEAD.pack(0, _HEAD.size - 12 + len(body), _NONE, _VERSION, calc_crc32c(body))
    return head + body


class Line:
    """A connection to the one broker that has all partitions; requests follow each other without waiting for replies."""

    def __init__(self, client: AIOKafkaClient, node: int, topic: str) -> None:
        self._client, self._node, self._topic = client, node, topic
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        self._sent = set[asyncio.Task[None]]()
        self._refused: list[str] = []

    async def send(self, batches: Mapping[int, bytes]) -> None:
        """Send a record batch for each of some partitions, waiting only where hundreds of requests have no reply yet.

        Raises SendError, also for what was sent earlier.
        """
        await self._room.acquire()
        self._judge()
        request = ProduceRequest(None, _NONE, 30_000, [(self._topic, sorted(batches.items()))])
        task = asyncio.create_task(self._request(request))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)

    async def flush(self) -> None:
        """Wait for all replies.

        Raises SendError.
        """
        await asyncio.gather(*self._sent)
        self._judge()

    async def _request(self, request: ProduceRequest) -> None:
        try:
            response = await self._client.send(self._node, request)
        finally:
            self._room.release()
        for _, partitions in response.topics:
            self._refused += [f"partition {p[0]}: error {p[1]}" for p in partitions if p[1]]

    def _judge(self) -> None:
        if self._refused:
            refused, self._refused = self._refused, []
            raise SendError(f"the broker refused records: {refused[0]}")


@asynccontextmanager
async def line(bootstrap: str, topic: str) -> AsyncIterator[Line]:
    """Give a connection to the broker that has a topic."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        (broker,) = client.cluster.brokers()
        yield Line(client, broker.nodeId, topic)
    finally:
        await client.close()
