"""Record batches against what aiokafka builds: any batches, cut anywhere, read from anywhere."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import ARROW, JSON
from streams.record_sets import RecordSetError, record_set, records_of

SOURCE = ("t", 0)
Headers = list[tuple[str, bytes | None]]
COMMIT, ABORT = 1, 0
TIME = 1_750_000_000_000


@dataclass(frozen=True)
class Sent:
    """A record as it should arrive."""

    offset: int
    time: int
    key: bytes | None
    value: bytes | None
    content_type: str | None


def batch(
    first: int,
    records: list[tuple[bytes | None, bytes | None, Headers]],
    *,
    codec: int = 0,
    producer: int = -1,
    transactional: bool = False,
    epoch: int = 5,
) -> bytes:
    """Build a batch with consecutive offsets from ``first`` on."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, producer, 0, 0, 1 << 20)
    for i, (key, value, headers) in enumerate(records):
        assert builder.append(i, TIME + 3 * i, key, value, headers) is not None
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, first)
    struct.pack_into(">i", built, 12, epoch)
    return bytes(built)


def marker(offset: int, producer: int, kind: int) -> bytes:
    """Build the control batch that ends a transaction."""
    built = bytearray(
        batch(offset, [(struct.pack(">hh", 0, kind), b"\0" * 6, [])], producer=producer, transactional=True)
    )
    built[22] |= 0x20
    return bytes(built)


def read(
    data: bytes, position: int = 0, aborted: list[tuple[int, int]] | None = None
) -> tuple[list[Sent], int]:
    found = record_set(np.frombuffer(data, np.uint8), position, aborted or [])
    records = records_of(SOURCE, found)
    if records is None:
        return [], found.next
    types = records.content_types or [None] * len(records)
    columns = (records.offsets.tolist(), records.log_times.tolist(), records.keys, records.values, types)
    return [Sent(*row) for row in zip(*columns, strict=True)], found.next


def test_a_batch_of_three() -> None:
    headers: Headers = [("content-type", b"text/a"), ("x", None), ("content-type", ARROW.encode())]
    data = batch(7, [(b"k", b"v", []), (None, b"", headers), (b"", None, [("content-type", JSON.encode())])])
    assert read(data) == (
        [
            Sent(7, TIME, b"k", b"v", None),
            Sent(8, TIME + 3, None, b"", ARROW),
            Sent(9, TIME + 6, b"", None, JSON),
        ],
        10,
    )
    assert record_set(np.frombuffer(data, np.uint8), 0, []).epoch == 5


TEXTS = st.none() | st.binary(max_size=300)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["content-type", "x", "content-typo"]), st.none() | st.binary(max_size=20)),
    max_size=3,
)
RECORDS = st.lists(st.tuples(TEXTS, TEXTS, HEADERS), min_size=1, max_size=20)


def _type(headers: Headers) -> str | None:
    found = [value for name, value in headers if name == "content-type"]
    return (found[-1] or b"").decode("ascii", "replace") if found else None


@given(st.lists(st.tuples(RECORDS, st.sampled_from([0, 1]), st.integers(0, 5)), max_size=5), st.data())
def test_any_batches_are_read_from_any_offset_up_to_any_cut(
    sent: list[tuple[list[tuple[bytes | None, bytes | None, Headers]], int, int]], data: st.DataObject
) -> None:
    log, expected, ends, first = b"", list[Sent](), [(0, 0)], 0
    for records, codec, gap in sent:
        first += gap
        log += batch(first, records, codec=codec)
        expected += [
            Sent(first + i, TIME + 3 * i, key, value, _type(headers))
            for i, (key, value, headers) in enumerate(records)
        ]
        first += len(records)
        ends.append((len(log), first))
    position = data.draw(st.integers(0, first))
    cut = data.draw(st.integers(0, len(log)))
    whole = max(end for size, end in ends if size <= cut)
    found, next_ = read(log[:cut], position)
    assert [_typed(each) for each in found] == [
        _typed(each) for each in expected if position <= each.offset < whole
    ]
    assert next_ == max(position, whole)


def _typed(sent: Sent) -> Sent:
    """JSON is what records are where nothing is said, and not told apart from it where no record says anything else."""
    return Sent(
        sent.offset, sent.time, sent.key, sent.value, None if sent.content_type == JSON else sent.content_type
    )


def test_records_of_aborted_transactions_and_markers_are_left_out() -> None:
    def one(offset: int, value: bytes, producer: int) -> bytes:
        return batch(offset, [(None, value, [])], producer=producer, transactional=True)

    log = b"".join(
        [
            one(0, b"a1", 1),  # aborted below
            one(1, b"b1", 2),
            batch(2, [(None, b"plain", [])], producer=1),  # not within the transaction
            one(3, b"a2", 1),
            marker(4, 1, ABORT),
            one(5, b"a3", 1),  # the next transaction of the same producer, committed
            marker(6, 2, COMMIT),
            marker(7, 1, COMMIT),
            one(8, b"a4", 1),  # aborted
            marker(9, 1, ABORT),
        ]
    )
    found, next_ = read(log, 0, [(1, 8), (1, 0)])
    assert [each.value for each in found] == [b"b1", b"plain", b"a3"]
    assert next_ == 10
    found, _ = read(log, 3, [(1, 0), (1, 8)])
    assert [each.value for each in found] == [b"a3"]


def test_the_brokers_time_holds_where_the_topic_says_so() -> None:
    data = bytearray(batch(0, [(None, b"a", []), (None, b"b", [])]))
    data[22] |= 8
    struct.pack_into(">q", data, 35, 99)
    assert [each.time for each in read(bytes(data))[0]] == [99, 99]


@given(st.binary(max_size=80), st.integers(61, 200))
def test_broken_bytes_are_an_error_or_nothing_but_never_read_beyond(noise: bytes, at: int) -> None:
    data = bytearray(batch(0, [(b"key", b"value" * 10, [("content-type", b"x")])] * 3))
    data[at : at + len(noise)] = noise[: max(len(data) - at, 0)]
    with suppress(RecordSetError):
        for each in read(bytes(data))[0]:
            assert len(each.value or b"") + len(each.key or b"") <= len(data)


def test_what_cannot_be_read_is_said() -> None:
    good = batch(0, [(None, b"a" * 100, [])])
    old, packed, strange = bytearray(good), bytearray(good), bytearray(good)
    old[16] = 1
    packed[22] |= 3
    strange[22] |= 7
    for data, text in ((old, "before Kafka 0.11"), (packed, "cannot be opened"), (strange, "not known")):
        with pytest.raises(RecordSetError, match=text):
            read(bytes(data))
