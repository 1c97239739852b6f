"""The compiled loops over Kafka's record batches (message format 2): which batches count, and their records to arrays.

The format is that of https://kafka.apache.org/documentation/#recordbatch. Bytes come from the network, so every length is held
against the end of what there is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.codec import ARROW, JSON
from schemas.compiled import compiled
from schemas.lexicon_kernel import same
from schemas.memory import byte_at, put_int64
from schemas.packed import address_of

DATA, SIZE, FIRST, TIME, LATEST, COUNT, CODEC, BY_BROKER, COLUMNS = range(9)
"""What a row of the plan says of a batch: where its records begin and how many bytes they have, its first offset, its base and
latest time, how many records it holds, how they are compressed, and whether the broker set the time."""

OFFSET, STAMP, VALUE, VALUE_SIZE, KEY, KEY_SIZE, KIND, TYPE, TYPE_SIZE, FIELDS = range(10)
"""What is written of a record: its offset and time, where value and key begin and their sizes (-1: none), what the content-type
header says, and where that text is."""

NO_TYPE, IS_JSON, IS_ARROW, OTHER_TYPE = range(4)
"""What the content-type header says."""

BROKEN, OLD_FORMAT = -1, -2
"""Instead of a count: the bytes are no record batches, or those of Kafka before 0.11."""

_HEADER = 61
_CODEC_BITS, _BROKER_TIME, _TRANSACTIONAL, _CONTROL = 7, 8, 16, 32
_NAME = np.frombuffer(b"content-type" + JSON.encode() + ARROW.encode(), np.uint8)
_NAME_SIZE, _JSON_SIZE, _ARROW_SIZE = 12, len(JSON), len(ARROW)
_JSON_AT, _ARROW_AT = _NAME_SIZE, _NAME_SIZE + _JSON_SIZE


@compiled
def _big(at: int, size: int) -> int:
    """Return the signed big-endian integer of ``size`` bytes at an address."""
    value = byte_at(at)
    if value > 127:
        value -= 256
    for i in range(1, size):
        value = (value << 8) | byte_at(at + i)
    return value


@compiled
def _whole(at: int, end: int) -> int:
    """Return where the batch at an address ends, 0 if not all of it is here, or what is wrong with it."""
    if at + _HEADER > end:
        return 0
    if byte_at(at + 16) != 2:
        return OLD_FORMAT
    size = _big(at + 8, 4)
    if size < _HEADER - 12:
        return BROKEN
    after = at + 12 + size
    return after if after <= end else 0


@compiled
def count(address: int, size: int) -> int:
    """Return how many whole batches there are, or what is wrong."""
    at, end, found = address, address + size, 0
    while True:
        after = _whole(at, end)
        if after < 0:
            return after
        if after == 0:
            return found
        at, found = after, found + 1


@compiled
def plan(address: int, size: int, position: int, aborted: Any, out: Any) -> Any:
    """Write a row for each batch that has committed records at ``position`` or later.

    ``aborted`` has (producer id, first offset) of each aborted transaction, in order of first offsets. Such a transaction ends with
    the first abort marker of its producer; markers themselves are no records.

    Returns the number of rows, where reading goes on, which lies beyond batches that were left out, and the leader's epoch at the
    last batch, -1 where there is none.
    """
    at, end, rows, next_, epoch = address, address + size, 0, position, -1
    over = np.zeros(len(aborted), np.bool_)
    while True:
        after = _whole(at, end)
        if after <= 0:
            return rows, next_, epoch
        first, attributes = _big(at, 8), _big(at + 21, 2)
        last = first + _big(at + 23, 4)
        producer, records = _big(at + 43, 8), _big(at + 57, 4)
        if last >= position and records > 0 and attributes & _CONTROL == 0:
            left_out = False
            if attributes & _TRANSACTIONAL:
                for i in range(len(aborted)):
                    if aborted[i, 0] == producer and aborted[i, 1] <= last and not over[i]:
                        left_out = True
            if not left_out:
                out[rows, DATA], out[rows, SIZE] = at + _HEADER - address, after - at - _HEADER
                out[rows, FIRST], out[rows, COUNT] = first, records
                out[rows, TIME], out[rows, LATEST] = _big(at + 27, 8), _big(at + 35, 8)
                out[rows, CODEC] = attributes & _CODEC_BITS
                out[rows, BY_BROKER] = attributes & _BROKER_TIME
                rows += 1
        elif attributes & _CONTROL and len(aborted) and _is_abort(at + _HEADER, after):
            for i in range(len(aborted)):
                if aborted[i, 0] == producer and aborted[i, 1] <= last:
                    over[i] = True
        next_, epoch, at = max(next_, last + 1), _big(at + 12, 4), after


@compiled
def _is_abort(at: int, end: int) -> bool:
    """Return whether a control batch's record says that its producer's transaction was aborted: its key is (version, 0)."""
    _, at = _varint(at, end)
    _, at = _varint(at + 1, end)
    _, at = _varint(at, end)
    size, at = _varint(at, end)
    return size >= 4 and at + 4 <= end and _big(at + 2, 2) == 0


@compiled
def _varint(at: int, end: int) -> Any:
    """Return the zigzag integer at an address and where it ends, beyond ``end`` if it is none."""
    if at < end:
        low = byte_at(at)
        if low < 128:
            return (low >> 1) ^ -(low & 1), at + 1
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = byte_at(at)
        value |= np.uint64(byte & 127) << shift
        at += 1
        if byte < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return 0, end + 1


def unpack(address: int, batches: Any, position: int, records: Any) -> int:
    """Write the records of planned batches at ``position`` or later and return how many, or that the bytes are broken.

    ``batches`` are rows of ``plan``, uncompressed, whose data lie from ``address`` on; ``records``, shape (FIELDS, n) for all the
    records that they announce, takes them.
    """
    row = records.strides[0]
    return int(_unpack(address, batches, position, address_of(records), row, address_of(_NAME)))


@compiled
def _unpack(address: int, batches: Any, position: int, out: int, row: int, names: int) -> int:
    done = 0
    for i in range(len(batches)):
        at = address + batches[i, DATA]
        end = at + batches[i, SIZE]
        first, time = batches[i, FIRST], batches[i, TIME]
        by_broker, latest = batches[i, BY_BROKER] != 0, batches[i, LATEST]
        for _ in range(batches[i, COUNT]):
            size, at = _varint(at, end)
            after = at + size
            if size < 0 or at > end or after > end:
                return BROKEN
            delta, at = _varint(at + 1, after)
            place, at = _varint(at, after)
            key_size, at = _varint(at, after)
            key = at
            at += max(key_size, 0)
            value_size, at = _varint(at, after)
            value = at
            at += max(value_size, 0)
            headers, at = _varint(at, after)
            if at > after or key_size > size or value_size > size:
                return BROKEN
            if first + place >= position:
                to = out + 8 * done
                kind, text, text_size = NO_TYPE, 0, 0
                if headers > 0:
                    kind, text, text_size = _content_type(at, after, headers, names)
                    if kind < 0:
                        return BROKEN
                put_int64(to, first + place)
                put_int64(to + row, latest if by_broker else time + delta)
                put_int64(to + VALUE * row, value - address)
                put_int64(to + VALUE_SIZE * row, value_size)
                put_int64(to + KEY * row, key - address)
                put_int64(to + KEY_SIZE * row, key_size)
                put_int64(to + KIND * row, kind)
                put_int64(to + TYPE * row, text - address)
                put_int64(to + TYPE_SIZE * row, text_size)
                done += 1
            at = after
    return done


@compiled
def _content_type(at: int, end: int, headers: int, names: int) -> Any:
    """Return what the last content-type header says, and where its text is; BROKEN where headers are none."""
    kind, text, text_size = NO_TYPE, 0, 0
    for _ in range(headers):
        size, at = _varint(at, end)
        name = at
        at += max(size, 0)
        value_size, at = _varint(at, end)
        value = at
        at += max(value_size, 0)
        if at > end or size < 0 or size > end - name or value_size > end - value:
            return BROKEN, 0, 0
        if size == _NAME_SIZE and same(name, names, size):
            text, text_size = value, max(value_size, 0)
            if text_size == _JSON_SIZE and same(value, names + _JSON_AT, _JSON_SIZE):
                kind = IS_JSON
            elif text_size == _ARROW_SIZE and same(value, names + _ARROW_AT, _ARROW_SIZE):
                kind = IS_ARROW
            else:
                kind = OTHER_TYPE
    return kind, text, text_size
