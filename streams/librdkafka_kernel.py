"""The compiled loops over librdkafka's messages: sort a batch by partition, copy it to arrays, free it."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding
from numba import types

from schemas.codec import ARROW, JSON
from schemas.compiled import compiled
from schemas.lexicon_kernel import same
from schemas.memory import copy, int32_at, int64_at, put_int64
from schemas.packed import address_of
from streams.librdkafka import library_path

# Compiled code finds the functions by name, also when it comes from numba's cache.
binding.load_library_permanently(str(library_path()))
_destroy = types.ExternalFunction("rd_kafka_message_destroy", types.void(types.int64))
_timestamp = types.ExternalFunction("rd_kafka_message_timestamp", types.int64(types.int64, types.int64))
_headers = types.ExternalFunction("rd_kafka_message_headers", types.int32(types.int64, types.int64))
_last = types.ExternalFunction(
    "rd_kafka_header_get_last", types.int32(types.int64, types.int64, types.int64, types.int64)
)

# Where a rd_kafka_message_t, whose layout is part of librdkafka's interface, has its fields.
_ERROR, _TOPIC, _PARTITION, _VALUE, _VALUE_SIZE, _KEY, _KEY_SIZE, _OFFSET = 0, 8, 16, 24, 32, 40, 48, 56

VALUES, KEYS, OFFSETS, TIMES, VALUE_START, VALUE_SIZE, KEY_START, KEY_SIZE, KINDS, MESSAGES = range(10)
DONE, VALUE_AT, KEY_AT, COLUMNS = range(10, 14)
"""What a row of the table has for a partition: addresses of its arrays, records copied so far, bytes copied so far."""

NO_TYPE, IS_JSON, IS_ARROW, OTHER_TYPE = range(4)
"""What the content-type header says."""

MOST = 256


@compiled
def sort(messages: Any) -> Any:
    """Assign messages to partitions, up to the first that is an error or to the ``MOST``-th partition.

    Returns the number of its partition for each message; (topic, partition) and (records, bytes of values, of keys) by that
    number; how many partitions there are; and how many messages were assigned.
    """
    n = len(messages)
    group = np.empty(n, np.int64)
    sources = np.empty((MOST, 2), np.int64)
    totals = np.zeros((MOST, 3), np.int64)
    count, last = 0, 0
    for i in range(n):
        message = messages[i]
        if int32_at(message + _ERROR) != 0:
            return group, sources, totals, count, i
        topic, partition = int64_at(message + _TOPIC), int32_at(message + _PARTITION)
        if count == 0 or sources[last, 0] != topic or sources[last, 1] != partition:
            last = 0
            while last < count and (sources[last, 0] != topic or sources[last, 1] != partition):
                last += 1
            if last == count:
                if count == MOST:
                    return group, sources, totals, count, i
                sources[count, 0], sources[count, 1] = topic, partition
                count += 1
        group[i] = last
        totals[last, 0] += 1
        totals[last, 1] += int64_at(message + _VALUE_SIZE) if int64_at(message + _VALUE) else 0
        totals[last, 2] += int64_at(message + _KEY_SIZE) if int64_at(message + _KEY) else 0
    return group, sources, totals, count, n


@compiled
def ends_last(messages: Any, end: int) -> Any:
    """Return the messages with the ends of partitions (error ``end``) behind all others; an end that reading went past is left out.

    A partition that is read as fast as it is written ends again and again within a batch, and each end would cut the batch in two.
    """
    n = len(messages)
    ordered = np.empty(n, np.int64)
    seen = np.empty((MOST, 2), np.int64)
    known, low, high = 0, n, 0
    for i in range(n - 1, -1, -1):
        message = messages[i]
        topic, partition = int64_at(message + _TOPIC), int32_at(message + _PARTITION)
        place = 0
        while place < known and (seen[place, 0] != topic or seen[place, 1] != partition):
            place += 1
        if int32_at(message + _ERROR) == end:
            if place < known:
                continue
            ordered[high] = message
            high += 1
        else:
            low -= 1
            messages[low] = message
        if place == known and known < MOST:
            seen[known, 0], seen[known, 1] = topic, partition
            known += 1
    return np.concatenate((messages[low:], ordered[:high]))


@compiled
def _kind(message: int, scratch: int, names: int) -> int:
    """Return what the content-type header says; ``names`` is where the three texts below lie."""
    if _headers(message, scratch) != 0:
        return NO_TYPE
    if _last(int64_at(scratch), names, scratch + 8, scratch + 16) != 0:
        return NO_TYPE
    value, size = int64_at(scratch + 8), int64_at(scratch + 16)
    if size == _JSON_SIZE and same(value, names + _JSON_AT, size):
        return IS_JSON
    if size == _ARROW_SIZE and same(value, names + _ARROW_AT, size):
        return IS_ARROW
    return OTHER_TYPE


_NAMES = np.frombuffer(b"content-type\0" + JSON.encode() + ARROW.encode(), np.uint8)
_JSON_AT, _JSON_SIZE, _ARROW_SIZE = 13, len(JSON), len(ARROW)
_ARROW_AT = _JSON_AT + _JSON_SIZE


def pack(messages: Any, group: Any, table: Any) -> None:
    """Copy messages to the arrays of their partitions."""
    scratch = np.zeros(3, np.int64)
    _pack(messages, group, table, address_of(scratch), address_of(_NAMES))


@compiled
def _pack(messages: Any, group: Any, table: Any, scratch: int, names: int) -> None:
    for i in range(len(messages)):
        message, g = messages[i], group[i]
        at = 8 * table[g, DONE]
        table[g, DONE] += 1
        for start, size, cursor, data, field in (
            (VALUE_START, VALUE_SIZE, VALUE_AT, VALUES, _VALUE),
            (KEY_START, KEY_SIZE, KEY_AT, KEYS, _KEY),
        ):
            origin = int64_at(message + field)
            length = int64_at(message + field + 8) if origin else -1
            put_int64(table[g, start] + at, table[g, cursor])
            put_int64(table[g, size] + at, length)
            if length > 0:
                copy(table[g, data] + table[g, cursor], origin, length)
                table[g, cursor] += length
        put_int64(table[g, OFFSETS] + at, int64_at(message + _OFFSET))
        put_int64(table[g, TIMES] + at, _timestamp(message, scratch))
        put_int64(table[g, KINDS] + at, _kind(message, scratch, names))
        put_int64(table[g, MESSAGES] + at, message)


@compiled
def facts(message: int) -> Any:
    """Return error code, topic, partition and offset of one message."""
    return (
        int32_at(message + _ERROR),
        int64_at(message + _TOPIC),
        int32_at(message + _PARTITION),
        int64_at(message + _OFFSET),
    )


@compiled
def destroy(messages: Any) -> None:
    """Free messages."""
    for i in range(len(messages)):
        _destroy(messages[i])
