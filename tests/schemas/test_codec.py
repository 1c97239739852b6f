"""The codec: valid rows become columns, everything else is rejected with a code and nothing raises."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.checks import Limits
from schemas.codec import ARROW, JSON, decode
from schemas.columns import Columns, RawBatch
from schemas.errors import ErrorCode
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from tests.schemas.batches import T0, arrow_readings, raw_batch, reading, reading_json


def _texts(columns: Columns, label: str) -> list[str]:
    column = columns.labels[label]
    return [column.values[code] for code in column.codes]


def _only_code(value: bytes | None, content_type: str | None = None, **options: Any) -> ErrorCode:
    columns = decode(raw_batch([reading_json(), value], [None, content_type]), SENSOR_READING, **options)
    assert columns.offset.tolist() == [100]
    (rejected,) = columns.rejected
    assert (rejected.offset, rejected.row, rejected.key, rejected.value) == (102, 0, b"k1", value)
    assert rejected.detail
    return rejected.code


def test_valid_readings_become_columns() -> None:
    values = [reading_json(), reading_json(sensor_id="s-2", value=-3, time=T0 + 5), reading_json(site="é")]
    columns = decode(raw_batch(values), SENSOR_READING)
    assert (columns.topic, columns.partition, columns.start, columns.next) == (
        "iot.sensor.reading.v1",
        0,
        100,
        106,
    )
    assert columns.offset.tolist() == [100, 102, 104]
    assert columns.row.tolist() == [0, 0, 0]
    assert columns.log_time.tolist() == [T0 + 60_000] * 3
    assert columns.event_time.tolist() == [T0, T0 + 5, T0]
    assert columns.numbers["value"].tolist() == [21.5, -3.0, 21.5]
    assert _texts(columns, "sensor_id") == ["s-1", "s-2", "s-1"]
    assert _texts(columns, "site") == ["kew", "kew", "é"]
    assert list(columns.labels["sensor_id"].values) == ["s-1", "s-2"]
    assert columns.rejected == ()
    assert columns.raw(1) == (b"k1", values[1])


def test_column_types_are_those_of_the_contract() -> None:
    columns = decode(raw_batch([reading_json()]), SENSOR_READING)
    assert columns.offset.dtype == columns.log_time.dtype == columns.event_time.dtype == np.int64
    assert columns.row.dtype == columns.labels["site"].codes.dtype == np.int32
    assert columns.numbers["value"].dtype == np.float64


def test_an_empty_batch_has_no_rows() -> None:
    columns = decode(raw_batch([]), SENSOR_READING)
    assert len(columns) == 0
    assert set(columns.labels) == {"sensor_id", "site", "quantity", "unit"}


def test_values_are_converted_to_the_canonical_unit_and_raw_keeps_the_sent_one() -> None:
    value = reading_json(value=212, unit="degF", quantity="device_temperature")
    columns = decode(raw_batch([value]), SENSOR_READING)
    assert columns.numbers["value"].tolist() == [100.0]
    assert _texts(columns, "unit") == ["degC"]
    assert columns.raw(0) == (b"k0", value)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (T0, T0),
        ("2023-11-14T22:13:20Z", T0),
        ("2023-11-14T23:13:20.5+01:00", T0 + 500),
        ("2023-11-14T22:13:20.0019Z", T0 + 1),
    ],
)
def test_event_time_forms(time: int | str, expected: int) -> None:
    columns = decode(raw_batch([reading_json(), reading_json(time=time)]), SENSOR_READING)
    assert columns.event_time.tolist() == [T0, expected]


@pytest.mark.parametrize("value", [None, b""])
def test_no_value(value: bytes | None) -> None:
    assert _only_code(value) is ErrorCode.EMPTY


def test_an_oversized_record() -> None:
    assert _only_code(reading_json(ignored="x" * 2_000_000)) is ErrorCode.OVERSIZED


@pytest.mark.parametrize(
    "content_type", ["text/csv", "", "application/cloudevents+json", "application/json5"]
)
def test_an_unknown_content_type(content_type: str) -> None:
    assert _only_code(reading_json(), content_type) is ErrorCode.UNKNOWN_CONTENT_TYPE


@pytest.mark.parametrize("content_type", [None, JSON, "application/json; charset=utf-8", "Application/JSON"])
def test_content_types_of_json(content_type: str | None) -> None:
    columns = decode(raw_batch([reading_json()], [content_type]), SENSOR_READING)
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": "mood"}, ErrorCode.UNKNOWN_QUANTITY),
        ({"unit": "furlong"}, ErrorCode.UNKNOWN_UNIT),
        ({"unit": "hPa"}, ErrorCode.UNKNOWN_UNIT),
        ({"value": 1e9}, ErrorCode.VALUE_OUT_OF_RANGE),
        ({"value": -274, "unit": "degC"}, ErrorCode.VALUE_OUT_OF_RANGE),
        ({"sensor_id": ""}, ErrorCode.INVALID_TEXT),
        ({"site": "a\0b"}, ErrorCode.INVALID_TEXT),
        ({"site": "x" * 257}, ErrorCode.INVALID_TEXT),
        ({"time": T0 // 1000}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": T0 * 1000}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": -1}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": 10**30}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": "0001-01-01T00:00:00+10:00"}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": "9999-12-31T23:59:59-10:00"}, ErrorCode.TIME_OUT_OF_RANGE),
        ({"time": T0 + 60_000 + 86_400_001}, ErrorCode.TIME_IN_FUTURE),
    ],
)
def test_row_checks(changes: dict[str, Any], code: ErrorCode) -> None:
    assert _only_code(reading_json(**changes)) is code


def test_bounds_are_inclusive_where_they_should_be() -> None:
    fine: list[dict[str, Any]] = [{"time": T0 + 60_000 + 86_400_000}, {"site": "x" * 256}, {"value": 100.0}]
    columns = decode(raw_batch([reading_json(**changes) for changes in fine]), SENSOR_READING)
    assert columns.rejected == ()


def test_limits_can_be_set() -> None:
    assert (
        _only_code(reading_json(time=T0 + 70_000), limits=Limits(max_future=5_000))
        is ErrorCode.TIME_IN_FUTURE
    )
    long_ago = reading_json(time=5)
    columns = decode(raw_batch([long_ago]), SENSOR_READING, limits=Limits(earliest=0))
    assert columns.event_time.tolist() == [5]
    assert _only_code(reading_json(ignored="x" * 200), limits=Limits(max_bytes=200)) is ErrorCode.OVERSIZED


def test_the_future_guard_can_be_switched_off() -> None:
    far = reading_json(time=T0 + 10 * 86_400_000)
    assert len(decode(raw_batch([far]), SENSOR_READING, limits=Limits(max_future=None))) == 1


def test_a_record_without_log_time_has_no_future() -> None:
    assert len(decode(raw_batch([reading_json()], log_time=-1), SENSOR_READING)) == 1


def test_a_row_is_rejected_for_its_first_fault_only() -> None:
    columns = decode(raw_batch([reading_json(sensor_id="", unit="furlong", time=1)]), SENSOR_READING)
    assert [rejected.code for rejected in columns.rejected] == [ErrorCode.INVALID_TEXT]


def test_labels_of_rejected_rows_do_not_linger() -> None:
    columns = decode(raw_batch([reading_json(site="\0"), reading_json(site="b")]), SENSOR_READING)
    assert list(columns.labels["site"].values) == ["b"]
    assert _texts(columns, "site") == ["b"]


def test_rejected_are_in_order_of_offset_and_row() -> None:
    rows = [reading(time=T0 + i, unit="degC" if i % 2 else "nonsense") for i in range(4)]
    values = [b"{", arrow_readings(rows), reading_json(unit="nonsense"), None]
    columns = decode(raw_batch(values, [None, ARROW, None, None]), SENSOR_READING)
    assert [(r.offset, r.row) for r in columns.rejected] == [(100, 0), (102, 0), (102, 2), (104, 0), (106, 0)]


def test_json_and_arrow_records_keep_their_order() -> None:
    rows = [reading(time=T0 + i, site=f"a{i}") for i in range(2)]
    values = [reading_json(site="j0"), arrow_readings(rows), reading_json(site="j1")]
    columns = decode(raw_batch(values, [None, ARROW, JSON]), SENSOR_READING)
    assert columns.offset.tolist() == [100, 102, 102, 104]
    assert columns.row.tolist() == [0, 0, 1, 0]
    assert _texts(columns, "site") == ["j0", "a0", "a1", "j1"]
    assert columns.raw(3) == (b"k2", values[2])
    key, value = columns.raw(2)
    assert key == b"s-1"
    assert json.loads(value) == rows[1]


def test_rows_of_many_chunks_agree_with_their_records() -> None:
    values: list[bytes | None] = [
        reading_json(sensor_id=f"s{i % 7}", time=T0 + i, value=i % 50) for i in range(5_000)
    ]
    values[2_500] = b"{"
    columns = decode(raw_batch(values), SENSOR_READING)
    kept = [i for i in range(5_000) if i != 2_500]
    assert columns.event_time.tolist() == [T0 + i for i in kept]
    assert columns.offset.tolist() == [100 + 2 * i for i in kept]
    assert _texts(columns, "sensor_id") == [f"s{i % 7}" for i in kept]
    assert columns.raw(4_000) == (b"k4001", values[4_001])


def hospital_event(**changes: Any) -> bytes:
    event = {
        "id": "e-1",
        "source": "st-mary",
        "kind": "condition",
        "patient": "p-7f3a",
        "code": "L50.0",
        "system": "ICD-10",
        "time": T0,
    }
    return json.dumps(event | changes).encode()


def test_hospital_events_become_columns() -> None:
    values = [
        hospital_event(version="2019", end=T0 + 5, recorded="2023-11-14T22:14:00Z"),
        hospital_event(kind="medication-administration"),
    ]
    columns = decode(raw_batch(values), HOSPITAL_EVENT)
    assert columns.rejected == ()
    assert _texts(columns, "kind") == ["condition", "medication-administration"]
    assert _texts(columns, "version") == ["2019", ""]
    np.testing.assert_array_equal(columns.numbers["end"], [T0 + 5, np.nan])
    np.testing.assert_array_equal(columns.numbers["recorded"], [T0 + 40_000, np.nan])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "rumour"}, ErrorCode.UNKNOWN_KIND),
        ({"patient": ""}, ErrorCode.INVALID_TEXT),
        ({"patient": None}, ErrorCode.WRONG_TYPE),
        ({"recorded": 12}, ErrorCode.TIME_OUT_OF_RANGE),
    ],
)
def test_hospital_row_checks(changes: dict[str, Any], code: ErrorCode) -> None:
    columns = decode(raw_batch([hospital_event(**changes)]), HOSPITAL_EVENT)
    assert [rejected.code for rejected in columns.rejected] == [code]


def _mutated(draw: Any) -> bytes:
    value = bytearray(reading_json(ignored=[1, {"x": "y"}]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(value) - 1))
        value[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(value)


JSON_VALUE: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**63,
        10**400,
        1.5,
        1e308,
        float("nan"),
        float("-inf"),
        "",
        "x",
        "\0",
        "\ud800",
        "é",
        [],
        {},
        [{}],
    ]
)
NASTY_READING = st.fixed_dictionaries(
    {},
    optional={
        "sensor_id": st.text(max_size=5) | JSON_VALUE,
        "site": st.text(max_size=5) | JSON_VALUE,
        "quantity": st.sampled_from(["temperature", "pm25", "?"]) | JSON_VALUE,
        "unit": st.sampled_from(["degC", "degF", "ug/m3", "?"]) | JSON_VALUE,
        "value": st.floats(-200, 200) | JSON_VALUE,
        "time": st.integers(T0 - 10**13, T0 + 10**13) | JSON_VALUE,
        "other": JSON_VALUE,
    },
).map(lambda event: json.dumps(reading() | event).encode())
VALUES = st.lists(
    st.none()
    | st.binary(max_size=30)
    | NASTY_READING
    | st.composite(_mutated)()
    | st.integers(0, 99).map(lambda i: reading_json(value=i)),
    max_size=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_every_json_record_is_a_row_or_rejected_and_independent_of_its_batch(
    values: list[bytes | None],
) -> None:
    columns = decode(raw_batch(values), SENSOR_READING)
    accounted = columns.offset.tolist() + [rejected.offset for rejected in columns.rejected]
    assert sorted(accounted) == [100 + 2 * i for i in range(len(values))]
    assert np.isfinite(columns.numbers["value"]).all()
    alone = [decode(raw_batch([value]), SENSOR_READING) for value in values]
    assert [r.code for r in columns.rejected] == [r.code for one in alone for r in one.rejected]
    for name in ("sensor_id", "site", "quantity", "unit"):
        assert _texts(columns, name) == [text for one in alone for text in _texts(one, name)]
    assert columns.event_time.tolist() == [time for one in alone for time in one.event_time.tolist()]
    assert columns.numbers["value"].tolist() == [v for one in alone for v in one.numbers["value"].tolist()]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.lists(st.sampled_from([None, JSON, ARROW, "text/plain"]), min_size=12, max_size=12))
def test_any_content_types_are_accounted_for(values: list[bytes | None], types: list[str | None]) -> None:
    batch: RawBatch = raw_batch(values, types[: len(values)])
    columns = decode(batch, SENSOR_READING, partitions=4)
    assert len(columns) + len(columns.rejected) == len(values)
