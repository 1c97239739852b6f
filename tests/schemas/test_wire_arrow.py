"""Arrow records: rows of a fully validated stream become rows, anything else is rejected whole or row by row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import ARROW, decode
from schemas.columns import Columns
from schemas.errors import ErrorCode
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from schemas.partitioning import partition_of
from tests.schemas.batches import (
    T0,
    arrow_batch,
    arrow_readings,
    arrow_stream,
    raw_batch,
    reading,
    reading_json,
)

ROWS = [
    reading(sensor_id=f"s-{i % 2}", site="kew" if i else "ham", value=20.0 + i, time=T0 + i) for i in range(4)
]
NO_ROWS = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]}).slice(0, 0)


def _texts(columns: Columns, label: str) -> list[str]:
    column = columns.labels[label]
    return [column.values[code] for code in column.codes]


def _codes(columns: Columns) -> list[tuple[int, ErrorCode]]:
    return [(rejected.row, rejected.code) for rejected in columns.rejected]


def test_rows_are_numbered_within_their_record() -> None:
    columns = decode(arrow_batch(arrow_readings(ROWS), arrow_readings(ROWS[:2])), SENSOR_READING)
    assert columns.rejected == ()
    assert columns.offset.tolist() == [100, 100, 100, 100, 102, 102]
    assert columns.row.tolist() == [0, 1, 2, 3, 0, 1]
    assert columns.event_time.tolist() == [T0, T0 + 1, T0 + 2, T0 + 3, T0, T0 + 1]
    assert columns.numbers["value"].tolist() == [20.0, 21.0, 22.0, 23.0, 20.0, 21.0]
    assert _texts(columns, "site") == ["ham", "kew", "kew", "kew", "ham", "kew"]


def test_arrow_and_json_give_the_same_columns() -> None:
    arrow = decode(arrow_batch(arrow_readings(ROWS)), SENSOR_READING)
    plain = decode(raw_batch([reading_json(**row) for row in ROWS]), SENSOR_READING)
    assert arrow.event_time.tolist() == plain.event_time.tolist()
    assert arrow.numbers["value"].tolist() == plain.numbers["value"].tolist()
    for name in plain.labels:
        assert _texts(arrow, name) == _texts(plain, name)


def test_a_row_comes_back_as_the_json_of_what_was_sent() -> None:
    rows = [reading(unit="degF", value=50.0, sensor_id="é")]
    columns = decode(arrow_batch(arrow_readings(rows)), SENSOR_READING)
    assert columns.numbers["value"].tolist() == [10.0]
    key, value = columns.raw(0)
    assert (key, json.loads(value)) == ("é".encode(), rows[0])


def _label_columns() -> list[Any]:
    plain = pa.array(["a", "b", "a", "c"])
    odd = pa.DictionaryArray.from_arrays(
        pa.array([1, 3, 2, 0], pa.int8()), pa.array(["c", "a", "a", "b", "unused"])
    )
    chunked = pa.chunked_array([["a", "b"], ["a", "c"]])
    parts = pa.chunked_array(
        [pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "c"]).dictionary_encode()]
    )
    unsigned = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 2], pa.uint8()), pa.array(["a", "b", "c"]))
    return [unsigned, plain, plain.cast(pa.large_string()), plain.dictionary_encode(), odd, chunked, parts]


@pytest.mark.parametrize("column", _label_columns(), ids=lambda column: str(column.type)[:20])
def test_forms_of_a_label_column(column: Any) -> None:
    columns = decode(arrow_batch(arrow_readings(ROWS, site=column)), SENSOR_READING)
    assert _texts(columns, "site") == ["a", "b", "a", "c"]
    assert sorted(columns.labels["site"].values) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.int64(), pa.float16(), pa.float32(), pa.float64()]
)
def test_forms_of_a_number_column(kind: Any) -> None:
    value = pa.array(np.array([1, 2, 3, 4], kind.to_pandas_dtype()), kind)
    columns = decode(arrow_batch(arrow_readings(ROWS, value=value)), SENSOR_READING)
    assert columns.numbers["value"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_are_rounded_down_to_milliseconds(unit: str) -> None:
    moment = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    times = pa.array([moment] * 4, pa.timestamp(unit, "Europe/London"))
    columns = decode(arrow_batch(arrow_readings(ROWS, time=times)), SENSOR_READING)
    assert columns.event_time.tolist() == [T0] * 4


def test_fractions_of_a_millisecond_are_dropped() -> None:
    times = pa.array([T0 * 1000 + 999] * 4, pa.timestamp("us", "UTC"))
    columns = decode(arrow_batch(arrow_readings(ROWS, time=times)), SENSOR_READING)
    assert columns.event_time.tolist() == [T0] * 4


@pytest.mark.parametrize(
    "times",
    [
        pa.array([2**63 - 1, -(2**63), 0, 1], pa.timestamp("s", "UTC")),
        pa.array([2**64 - 1, 2**63, 0, 1], pa.uint64()),
        pa.array([2**63 - 1, -(2**63), 0, 1], pa.int64()),
    ],
)
def test_far_times_do_not_wrap_round(times: Any) -> None:
    columns = decode(arrow_batch(arrow_readings(ROWS, time=times)), SENSOR_READING)
    assert _codes(columns) == [(i, ErrorCode.TIME_OUT_OF_RANGE) for i in range(4)]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"garbage", ErrorCode.MALFORMED),
        (reading_json(), ErrorCode.MALFORMED),
        (arrow_readings(ROWS)[:-200], ErrorCode.MALFORMED),
        (b"\xff\xff\xff\xff", ErrorCode.MALFORMED),
        (arrow_readings(ROWS, value=pa.array(["a"] * 4)), ErrorCode.WRONG_TYPE),
        (arrow_readings(ROWS, value=pa.array([True] * 4)), ErrorCode.WRONG_TYPE),
        (arrow_readings(ROWS, site=pa.array([1] * 4)), ErrorCode.WRONG_TYPE),
        (arrow_readings(ROWS, time=pa.array([T0] * 4, pa.timestamp("ms"))), ErrorCode.WRONG_TYPE),
        (arrow_readings(ROWS, time=pa.array([1.5] * 4)), ErrorCode.WRONG_TYPE),
        (arrow_stream({"sensor_id": ["a"]}), ErrorCode.MISSING_FIELD),
        (arrow_stream(NO_ROWS), ErrorCode.EMPTY),
    ],
)
def test_a_record_that_is_no_stream_of_events(value: bytes, code: ErrorCode) -> None:
    columns = decode(arrow_batch(arrow_readings(ROWS), value), SENSOR_READING)
    assert len(columns) == 4
    (rejected,) = columns.rejected
    assert (rejected.offset, rejected.row, rejected.code, rejected.value) == (102, 0, code, value)


def test_the_same_column_twice_is_refused() -> None:
    table = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]})
    twice = table.append_column("site", pa.array(["x"] * 4))
    assert _codes(decode(arrow_batch(arrow_stream(twice)), SENSOR_READING)) == [(0, ErrorCode.MALFORMED)]


def test_further_columns_are_ignored() -> None:
    value = arrow_readings(ROWS, note=[["deep", "list"]] * 4, other=pa.nulls(4))
    assert len(decode(arrow_batch(value), SENSOR_READING)) == 4


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_compressed_buffers_are_refused_before_they_unfold(compression: str, dictionary: bool) -> None:
    zeros = np.zeros(10_000)
    site = pa.array(["kew" * 50 + str(i % 50) for i in range(10_000)])
    columns = {name: [row[name] for row in ROWS * 2_500] for name in ROWS[0]} | {"value": zeros}
    value = arrow_stream(columns | {"site": site.dictionary_encode() if dictionary else site}, compression)
    (rejected,) = decode(arrow_batch(value), SENSOR_READING).rejected
    assert rejected.code is ErrorCode.MALFORMED
    assert "compressed" in rejected.detail


def test_a_run_end_encoded_column_of_absurd_length_is_refused() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([4], pa.int32()), pa.array([1.0]))
    assert _codes(decode(arrow_batch(arrow_readings(ROWS, value=runs)), SENSOR_READING)) == [
        (0, ErrorCode.WRONG_TYPE)
    ]


def test_nulls_and_bad_rows_are_rejected_alone() -> None:
    rows = [
        reading(value=v, site=s)
        for v, s in [(1.0, "a"), (None, "a"), (float("nan"), "a"), (1.0, None), (2.0, "b")]
    ]
    columns = decode(arrow_batch(arrow_readings(rows)), SENSOR_READING)
    assert columns.row.tolist() == [0, 4]
    assert columns.numbers["value"].tolist() == [1.0, 2.0]
    assert list(columns.labels["site"].values) == ["a", "b"]
    assert _codes(columns) == [
        (1, ErrorCode.MISSING_FIELD),
        (2, ErrorCode.NOT_FINITE),
        (3, ErrorCode.MISSING_FIELD),
    ]
    assert json.loads(columns.rejected[2].value or b"") == reading(value=1.0, site=...)


def test_a_null_in_a_dictionary_is_a_null() -> None:
    site = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["a", None]))
    columns = decode(arrow_batch(arrow_readings(ROWS, site=site)), SENSOR_READING)
    assert _codes(columns) == [(1, ErrorCode.MISSING_FIELD), (2, ErrorCode.MISSING_FIELD)]


def test_optional_columns_may_be_absent_or_null() -> None:
    table = {
        "id": ["e1", "e2"],
        "source": ["m", "m"],
        "kind": ["condition", "rumour"],
        "patient": ["p", "p"],
        "code": ["L50", "L50"],
        "system": ["ICD-10", "ICD-10"],
        "version": pa.array([None, "2019"]),
        "time": [T0, T0],
        "end": pa.array([None, T0 + 1]),
    }
    columns = decode(arrow_batch(arrow_stream(table)), HOSPITAL_EVENT)
    assert _texts(columns, "version") == [""]
    assert np.isnan(columns.numbers["end"]).all()
    assert np.isnan(columns.numbers["recorded"]).all()
    assert _codes(columns) == [(1, ErrorCode.UNKNOWN_KIND)]
    assert "version" not in json.loads(columns.raw(0)[1])


def test_rows_of_keys_of_other_partitions_are_misrouted() -> None:
    names = [f"s-{i}" for i in range(20)]
    home = partition_of([name.encode() for name in names], 4)
    value = arrow_readings([reading(sensor_id=name) for name in names])
    columns = decode(arrow_batch(value, partition=2), SENSOR_READING, partitions=4)
    assert columns.row.tolist() == np.flatnonzero(home == 2).tolist()
    assert _codes(columns) == [(i, ErrorCode.MISROUTED) for i in np.flatnonzero(home != 2).tolist()]
    assert columns.rejected[0].key == names[columns.rejected[0].row].encode()


def test_json_records_are_routed_by_their_producer() -> None:
    values = [reading_json(sensor_id=f"s-{i}") for i in range(20)]
    assert decode(raw_batch(values), SENSOR_READING, partitions=4).rejected == ()


@given(st.data())
def test_damaged_streams_never_raise(data: st.DataObject) -> None:
    value = bytearray(arrow_readings(ROWS, site=pa.array(["a", "b", "a", None]).dictionary_encode()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + 1] = data.draw(st.binary(max_size=2))
    columns = decode(raw_batch([reading_json(), bytes(value)], [None, ARROW]), SENSOR_READING, partitions=4)
    assert columns.offset.tolist()[:1] == [100]
    assert len(columns) + len(columns.rejected) >= 2
    for i in range(len(columns)):
        json.loads(columns.raw(i)[1])
