"""Columns to readings: what is mapped, and what is rejected for which reason."""

from __future__ import annotations

import pandas as pd
import pytest

from producers.errors import MappingError
from producers.mapping import ColumnMap, Melt
from producers.rejects import RejectReason, Rejects
from schemas.events import SensorReading

LONG = ColumnMap({"sensor_id": "id", "value": "v", "time": "t"}, {"quantity": "pm25", "unit": "ug/m3"})
WIDE = ColumnMap(
    {"sensor_id": "id", "site": "place", "time": "t"},
    melts=(Melt("temp", "temperature", "degF"), Melt("hum", "humidity", "%")),
)


def read(mapping: ColumnMap, **columns: list[object]) -> tuple[list[SensorReading], Rejects]:
    rejects = Rejects()
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    return mapping.readings(frame, rejects).events, rejects


def test_a_long_table_gives_one_reading_a_row() -> None:
    events, rejects = read(LONG, id=["a"], v=["1.5"], t=["2000"])
    expected = SensorReading(
        sensor_id="a", site="a", quantity="pm25", unit="ug/m3", value=1.5, time=2_000_000
    )
    assert (events, rejects.total) == ([expected], 0)


def test_a_wide_table_gives_its_readings_row_by_row() -> None:
    events, rejects = read(WIDE, id=["a", "b"], place=["x", "y"], temp=[50, None], hum=[40, 41], t=[1, 2])
    assert [(e.sensor_id, e.site, e.quantity, e.unit, e.value, e.time) for e in events] == [
        ("a-temp", "x", "temperature", "degF", 50.0, 1_000),
        ("a-hum", "x", "humidity", "%", 40.0, 1_000),
        ("b-hum", "y", "humidity", "%", 41.0, 2_000),
    ]
    assert rejects.counts == {RejectReason.MISSING_VALUE: 1}


def test_each_bad_row_is_counted_once_under_its_reason() -> None:
    events, rejects = read(
        LONG,
        id=["ok", None, "c", "d", "e", "f", "g"],
        v=["1", "1", None, "x", "inf", "1", "1"],
        t=["1", "1", "1", "1", "1", None, "soon"],
    )
    assert [event.sensor_id for event in events] == ["ok"]
    assert rejects.counts == dict.fromkeys(
        [
            RejectReason.MISSING_FIELD, RejectReason.MISSING_VALUE, RejectReason.NOT_A_NUMBER,
            RejectReason.NOT_FINITE, RejectReason.MISSING_TIME, RejectReason.BAD_TIME,
        ],
        1,
    )  # fmt: skip
    assert rejects.examples[RejectReason.NOT_A_NUMBER] == "v: x"
    assert len(events) + rejects.total == 7


def test_numbers_serve_as_names() -> None:
    events, _ = read(LONG, id=[7], v=[1], t=[1])
    assert events[0].sensor_id == "7"


@pytest.mark.parametrize(
    ("columns", "constants", "melts", "told"),
    [
        ({"sensor": "id"}, {}, (), "no such field: sensor; fields are sensor_id"),
        ({"sensor_id": "id", "time": "t", "value": "v"}, {"unit": "%"}, (), "nothing is mapped to quantity"),
        ({"sensor_id": "id", "time": "t"}, {"sensor_id": "x"}, (), "both a column and a constant: sensor_id"),
        ({"sensor_id": "id", "time": "t", "value": "v"}, {}, (Melt("c", "pm25", "ug/m3"),), "value"),
        ({"sensor_id": "id", "time": "t"}, {}, (Melt("c", "pm2.5", "ug/m3"),), "unknown quantity pm2.5"),
        (
            {"sensor_id": "id", "time": "t"},
            {},
            (Melt("c", "pm25", "%"),),
            "% is no unit of pm25; accepted are ug/m3",
        ),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_in_words(
    columns: dict[str, str], constants: dict[str, str], melts: tuple[Melt, ...], told: str
) -> None:
    with pytest.raises(MappingError, match=told):
        ColumnMap(columns, constants, melts)
