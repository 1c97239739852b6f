"""Labels that follow from the event: looked up, read off the calendar, and used like any other."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Coded, Columns, RawBatch
from schemas.event_types import SENSOR_READING
from streams.attributes import Attributed, HourOfDay, LookUp
from streams.pipeline import Filter, Pipeline, Tumbling
from streams.stages import stage_of
from tests.streams.windowing import summaries

HOUR = 3_600_000
MIDNIGHT = 1_749_945_600_000
SITES = {"a": "north", "b": "north", "c": "south"}
SITED = LookUp("region", "sensor_id", SITES, "nowhere")


def columns(sensors: Coded, times: list[int]) -> Columns:
    n = len(times)
    offset = np.arange(n, dtype=np.int64)
    return Columns(
        "t", 0, 0, n, offset, np.zeros(n, np.int32), offset, np.array(times, np.int64), {}, {"sensor_id": sensors},
        lambda _: (b"", b""),
    )  # fmt: skip


def texts(label: Coded) -> list[str]:
    return [label.values[code] for code in label.codes.tolist()]


def test_a_label_is_looked_up_with_a_default() -> None:
    found = SITED.of(columns(Coded(np.array([0, 2, 1, 0], np.int32), ["c", "x", "a"]), [0] * 4))
    assert texts(found) == ["south", "north", "nowhere", "south"]


def test_texts_that_come_later_are_looked_up_and_the_list_stays_the_same() -> None:
    values = ["c"]
    first = SITED.of(columns(Coded(np.zeros(1, np.int32), values), [0]))
    values += ["b", "x"]
    second = SITED.of(columns(Coded(np.array([2, 1], np.int32), values), [0, 0]))
    assert texts(second) == ["nowhere", "north"]
    assert second.values is first.values
    assert texts(SITED.of(columns(Coded(np.zeros(1, np.int32), ["a"]), [0]))) == ["north"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4_000_000_000_000), min_size=1), st.sampled_from([0, HOUR, -5 * HOUR]))
def test_the_hour_is_that_of_the_event_time(times: list[int], offset: int) -> None:
    found = HourOfDay(utc_offset_ms=offset).of(columns(Coded(np.zeros(len(times), np.int32), ["a"]), times))
    assert texts(found) == [f"{(time + offset) // HOUR % 24:02d}" for time in times]


def test_a_pipeline_filters_and_groups_by_attributes() -> None:
    made = Pipeline(
        name="p", source="t", event=SENSOR_READING, group_by=("region", "hour"), window=Tumbling(2 * HOUR),
        attributes=(SITED, HourOfDay()), filters=(Filter("known", lambda c: c.labels["region"].codes >= 0),),
        out_of_orderness_ms=0,
    )  # fmt: skip
    form = b'{"sensor_id":"%s","site":"s","quantity":"temperature","unit":"degC","value":%d,"time":%d}'
    rows = [(b"a", 1, HOUR), (b"b", 2, HOUR + 5), (b"c", 3, HOUR + 9), (b"a", 4, 0), (b"x", 9, 9 * HOUR)]
    values = [form % (sensor, value, MIDNIGHT + time) for sensor, value, time in rows]
    n = len(rows)
    raw = RawBatch(
        "t", 0, 0, n, np.arange(n), np.full(n, MIDNIGHT + 10 * HOUR), [row[0] for row in rows], values
    )
    stage = stage_of(made)
    assert isinstance(stage.decode, Attributed)
    found = {
        (s.labels["region"], s.labels["hour"]): s.sum
        for s in summaries(stage.task(0).process(stage.decode(raw)))
    }
    assert found == {("north", "00"): 4.0, ("north", "01"): 3.0, ("south", "01"): 3.0}
    assert made.panes is None


def test_another_table_is_another_pipeline() -> None:
    def hash_of(*attributes: LookUp) -> str:
        return Pipeline(
            name="p", source="t", event=SENSOR_READING, group_by=("site",), attributes=attributes
        ).hash

    other = LookUp("region", "sensor_id", {**SITES, "d": "south"}, "nowhere")
    assert len({hash_of(), hash_of(SITED), hash_of(other)}) == 3
    assert hash_of(SITED) == hash_of(LookUp("region", "sensor_id", dict(SITES), "nowhere"))
