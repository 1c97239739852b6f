"""The fast way into Arrow records: what it takes, the Arrow library reads to the same columns; the rest it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow_fast import Fast, Plans, read
from schemas.draft import Failure
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from schemas.json_plan import lexicon_of
from schemas.packed import Packed
from schemas.wire_arrow import _schema_failure, read_table
from tests.schemas.batches import T0, arrow_stream

LABELS = SENSOR_READING.labels


BYTE = pa.int8()


def stream(n: int = 6, index: Any = BYTE, **columns: Any) -> bytes:
    texts = {
        "sensor_id": [f"s-{i % 3}" for i in range(n)],
        "site": ["kew"] * n,
        "quantity": ["temperature"] * n,
        "unit": ["degC"] * n,
    }
    arrays = {
        name: pa.array(column).dictionary_encode().cast(pa.dictionary(index, pa.string()))
        for name, column in texts.items()
    }
    numbers = {"value": pa.array(np.arange(n) / 2), "time": pa.array(np.arange(T0, T0 + n))}
    return arrow_stream(pa.table({**arrays, **numbers, **columns}))


def taken(*values: bytes, packed: bool = True) -> tuple[Fast | None, list[int]]:
    plans = Plans(SENSOR_READING, _schema_failure)
    given_ = Packed.of(list(values)) if packed else list(values)
    return read(given_, list(range(len(values))), plans, SENSOR_READING, lexicon_of(SENSOR_READING))


def check(fast: Fast, values: list[bytes]) -> None:
    """Compare with what the Arrow library reads, which is stricter about a message's own structure."""
    tables = [read_table(values[i], SENSOR_READING) for i in fast.records]
    if any(isinstance(table, Failure) and "Invalid flatbuffers" in table.detail for table in tables):
        return
    good = [table for table in tables if not isinstance(table, Failure)]
    assert len(good) == len(tables), [t.detail for t in tables if isinstance(t, Failure)]
    assert fast.sizes.tolist() == [len(table) for table in good]
    whole = pa.concat_tables([table.cast(good[0].schema) for table in good])
    np.testing.assert_array_equal(fast.event_time, np.asarray(whole.column("time")))
    np.testing.assert_array_equal(fast.numbers["value"], np.asarray(whole.column("value")))
    for name in LABELS:
        column = fast.labels[name]
        assert [column.values[code] for code in column.codes.tolist()] == whole.column(name).to_pylist()


@pytest.mark.parametrize("packed", [True, False])
def test_plain_records_are_taken(packed: bool) -> None:
    values = [stream(), b"garbage", stream(300, pa.int16()), stream(5, pa.int32()), stream(1), b""]
    fast, rest = taken(*values, packed=packed)
    assert fast is not None
    assert (fast.records, rest) == ([0, 2, 3, 4], [1, 5])
    check(fast, values)


def test_texts_of_many_dictionaries_share_their_codes() -> None:
    values = [stream(), stream(2), stream(4)]
    fast, _ = taken(*values)
    assert fast is not None
    assert fast.labels["sensor_id"].codes.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2, 0]


def _twice() -> bytes:
    """Two batches whose dictionaries differ."""
    sink = pa.BufferOutputStream()
    first, second = (pa.ipc.open_stream(stream(n)).read_all() for n in (2, 6))
    with pa.ipc.new_stream(sink, first.schema) as writer:
        writer.write_table(first)
        writer.write_table(second)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    "value",
    [
        _twice(),
        stream(value=pa.array([1.0, None, 2.0, 3.0, 4.0, 5.0])),
        stream(value=pa.array(np.arange(6, dtype=np.float32))),
        stream(time=pa.array(np.arange(T0, T0 + 6), pa.timestamp("ms", "UTC"))),
        stream(site=pa.array(["a", None] * 3).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))),
        stream(site=pa.array(["kew"] * 6)),
        stream(site=pa.DictionaryArray.from_arrays(pa.array([0] * 6, pa.int8()), pa.array(["kew", None]))),
        stream(site=pa.DictionaryArray.from_arrays(pa.array([0] * 6, pa.uint8()), pa.array(["kew"]))),
        stream(note=pa.array([1] * 6)),
        stream()[:-200],
        stream() + b"more",
        b"\xff\xff\xff\xff\x00\x00\x00\x00",
    ],
)  # fmt: skip
def test_anything_else_is_left_alone(value: bytes) -> None:
    assert taken(value) == (None, [0])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_records_are_left_alone(compression: str) -> None:
    table = pa.ipc.open_stream(stream(5_000)).read_all()
    assert taken(arrow_stream(table, compression)) == (None, [0])


def test_texts_that_are_no_utf8_are_left_to_the_library() -> None:
    value = stream().replace(b"kew", b"k\xffw")
    fast, rest = taken(stream(), value, stream(2))
    assert fast is not None
    assert (fast.records, rest) == ([0, 2], [1])
    check(fast, [stream(), value, stream(2)])
    assert taken(value) == (None, [0])
    assert isinstance(read_table(value, SENSOR_READING), Failure)


def test_events_with_optional_times_are_left_alone() -> None:
    plans = Plans(HOSPITAL_EVENT, _schema_failure)
    assert read(Packed.of([stream()]), [0], plans, HOSPITAL_EVENT, lexicon_of(HOSPITAL_EVENT)) == (None, [0])


def test_plans_are_forgotten_when_there_are_too_many() -> None:
    plans = Plans(SENSOR_READING, _schema_failure)
    for i in range(600):
        assert plans.plan(b"%d" % i) is None
    assert len(plans._plans) <= 256


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_records_are_taken_only_if_the_library_reads_the_same(data: st.DataObject) -> None:
    value = bytearray(stream(9))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + 1] = data.draw(st.binary(max_size=2))
    good = stream()
    fast, _ = taken(good, bytes(value))
    if fast is not None:
        check(fast, [good, bytes(value)])
