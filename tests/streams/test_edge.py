"""Pre-aggregation: whatever rows come as panes, in whatever order and batches, windows have the same bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.splitting import split, split_panes
from schemas.batch_ids import batch_key
from schemas.codec import ARROW, Decoder
from schemas.columns import Columns, RawBatch
from schemas.errors import ErrorCode
from schemas.event_types import SENSOR_READING
from schemas.panes import FLOATS, INTEGERS, PaneSpec
from schemas.results import WindowSummary
from schemas.wire_panes import PANES
from streams.edge import reducer
from streams.pipeline import Hopping, Pipeline, RollUp, Session, SourceWatermark, Tumbling, Windowing
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold
from streams.stages import stage_of
from streams.task import Output, Task
from tests.streams.windowing import by_kind, process_in_pieces

T0 = 1_750_000_000_000
PATIENT = 1_000_000  # out-of-orderness that makes nothing late
Reading = dict[str, Any]


SECOND = Tumbling(1_000)


def pipeline(window: Windowing = SECOND, **options: Any) -> Pipeline:
    settled: dict[str, Any] = {"out_of_orderness_ms": PATIENT, "resolution": 0.01} | options
    return Pipeline(
        name="p", source="s", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
        window=window, **settled,
    )  # fmt: skip


def reading(sensor: str, time: int, value: float) -> Reading:
    return {
        "sensor_id": sensor, "site": f"of-{sensor}", "quantity": "temperature", "unit": "degC",
        "value": value, "time": T0 + time,
    }  # fmt: skip


def raw(values: list[bytes], types: list[str | None], first: int = 0, keys: Any = None) -> RawBatch:
    n = len(values)
    return RawBatch(
        "s", 0, first, first + n, np.arange(first, first + n), np.full(n, T0), keys or [None] * n, values, types
    )  # fmt: skip


def columns_of(events: list[Reading]) -> Columns:
    return Decoder(SENSOR_READING)(raw([json.dumps(e).encode() for e in events], [None] * len(events)))


def encoded(form: str, events: list[Reading], made: Pipeline) -> list[tuple[bytes, str | None]]:
    """One piece of the input as a producer or a gateway would send it."""
    if form == "json":
        return [(json.dumps(event).encode(), None) for event in events]
    columns = columns_of(events)
    if form == "arrow":
        return [(part.value, ARROW) for part in split(columns, SENSOR_READING, 1, 900_000)]
    panes, rest = reducer(made)(columns)
    assert panes is not None
    assert not len(rest)
    return [(part.value, PANES) for part in split_panes(panes, "sensor_id", 1, 900_000)]


def task(made: Pipeline) -> Task:
    return stage_of(made).task(0)


def run(made: Pipeline, records: list[tuple[bytes, str | None]]) -> list[Output]:
    one = task(made)
    batch = raw([value for value, _ in records], [form for _, form in records])
    return one.process(stage_of(made).decode(batch)) + one.advance(len(records), T0 + 10 * PATIENT)


def of_kind(outputs: list[Output], kind: str) -> list[tuple[bytes | None, bytes | None]]:
    return sorted(
        ((o.key, o.value) for o in outputs if o.kind == kind),
        key=lambda pair: (pair[0] or b"", pair[1] or b""),
    )


VALUES = st.floats(-50, 50) | st.sampled_from([0.0, -0.0, 12.345, -12.345, 1e-7, 21.125])
readings = st.lists(
    st.builds(reading, st.sampled_from(["a", "b", "c/d"]), st.integers(0, 4_000), VALUES),
    min_size=1,
    max_size=40,
)
forms = st.sampled_from(["json", "arrow", "panes"])
WINDOWS = st.sampled_from([Tumbling(1_000), Tumbling(700), Hopping(1_200, 400), Hopping(1_000, 300)])


def pieces(data: st.DataObject, events: list[Reading], made: Pipeline) -> list[tuple[bytes, str | None]]:
    """The events in some order, each stretch of them in some form."""
    shuffled, records = data.draw(st.permutations(events)), []
    while shuffled:
        n = data.draw(st.integers(1, len(shuffled)))
        records += encoded(data.draw(forms), shuffled[:n], made)
        shuffled = shuffled[n:]
    return records


@settings(max_examples=80, deadline=None)
@given(events=readings, window=WINDOWS, data=st.data())
def test_any_split_between_rows_and_panes_gives_the_same_windows(
    events: list[Reading], window: Windowing, data: st.DataObject
) -> None:
    made = pipeline(window, rollups=(RollUp(by=("quantity",)), RollUp()))
    expected = run(made, encoded("json", events, made))
    found = run(made, pieces(data, events, made))
    for kind in ("result", "late", "dead"):
        assert of_kind(found, kind) == of_kind(expected, kind)
    assert contributions(found) == contributions(expected)


def contributions(outputs: list[Output]) -> list[bytes | None]:
    return sorted(
        o.value or b"" for o in outputs if o.kind == "partial" and b'"partial":' in (o.value or b"")
    )


@settings(max_examples=40, deadline=None)
@given(events=readings, window=WINDOWS, data=st.data())
def test_cuts_and_restores_change_no_byte(
    events: list[Reading], window: Windowing, data: st.DataObject
) -> None:
    made = pipeline(window, out_of_orderness_ms=300, allowed_lateness_ms=data.draw(st.sampled_from([0, 500])))
    records = pieces(data, events, made)
    decode = stage_of(made).decode

    def as_columns(some: list[Any], begin: int) -> Columns:
        return decode(raw([value for value, _ in some], [form for _, form in some], begin))

    last, outputs = process_in_pieces(task(made), lambda: task(made), records, data, as_columns)
    outputs += last.advance(len(records), T0 + 10 * PATIENT)
    assert by_kind(outputs) == by_kind(run(made, records))


@settings(max_examples=40, deadline=None)
@given(events=readings)
def test_windows_agree_with_a_recount(events: list[Reading]) -> None:
    made = pipeline()
    summaries = [
        msgspec.json.decode(value or b"", type=WindowSummary)
        for _, value in of_kind(run(made, encoded("panes", events, made)), "result")
    ]
    assert sum(s.count for s in summaries) == len(events)
    for s in summaries:
        members = [
            (e["time"], e["value"])
            for e in events
            if e["sensor_id"] == s.labels["sensor_id"] and s.start <= e["time"] < s.end
        ]
        values = np.array([value for _, value in members])
        rounded = np.rint(values * 100) / 100
        assert (s.count, s.min, s.max) == (len(values), values.min(), values.max())
        assert (s.first, s.last) == (min(members)[1], max(members)[1])
        assert s.sum == round(math.fsum(rounded * 100)) / 100
        assert math.isclose(s.mean, float(rounded.mean()), rel_tol=1e-12, abs_tol=1e-12)
        assert math.isclose(s.variance, float(rounded.var()), rel_tol=1e-9, abs_tol=1e-9)


def test_a_large_mean_costs_no_digits_of_the_variance() -> None:
    made = pipeline(resolution=1e-6)
    events = [reading("a", i, 21.0 + i % 2 * 1e-6) for i in range(100)]
    (output,) = of_kind(run(made, encoded("panes", events, made)), "result")
    assert msgspec.json.decode(output[1] or b"", type=WindowSummary).variance == 2.5e-13


@pytest.mark.parametrize("site", ["of-a", "of-b"])
def test_a_backlog_of_panes_is_not_late_by_its_sources_watermark(site: str) -> None:
    made = pipeline(
        out_of_orderness_ms=0,
        watermark=SourceWatermark(label="sensor_id", max_lag_ms=3_600_000),
    )
    backlog = [reading(site[-1], i * 100, float(i)) for i in range(50)]
    ahead = [reading("z", 1_800_000 + i, 1.0) for i in range(5)]
    records = encoded("json", ahead, made) + encoded("panes", backlog, made)
    outputs = run(made, records)
    assert of_kind(outputs, "late") == []
    found = [msgspec.json.decode(v or b"", type=WindowSummary) for _, v in of_kind(outputs, "result")]
    assert sum(s.count for s in found if s.labels["site"] == site) == 50


def test_a_pane_that_is_too_late_is_a_letter_and_one_within_the_lateness_a_revision() -> None:
    made = pipeline(out_of_orderness_ms=0, allowed_lateness_ms=1_000)
    base = T0 % 1_000
    first, second = reading("a", 100 - base, 1.0), reading("a", 200 - base, 2.0)
    steps = [
        *encoded("json", [first, reading("a", 1_500 - base, 9.0)], made),
        *encoded("panes", [second], made),
        *encoded("json", [reading("a", 2_500 - base, 9.0)], made),
        *encoded("panes", [second], made),
    ]
    outputs = run(made, steps)
    found = [msgspec.json.decode(v or b"", type=WindowSummary) for _, v in of_kind(outputs, "result")]
    assert [(s.revision, s.count, s.sum) for s in found if s.start == T0 - base] == [(0, 1, 1.0), (1, 2, 3.0)]
    ((key, letter),) = of_kind(outputs, "late")
    assert key == b"a"
    assert json.loads(letter or b"")["count"] == 1


def test_panes_sent_again_count_once() -> None:
    made = pipeline()
    ((value, form),) = encoded("panes", [reading("a", 1, 1.0)], made)
    one = task(made)
    batch = raw([value, value], [form, form], keys=[batch_key("g", 1)] * 2)
    outputs = one.process(stage_of(made).decode(batch)) + one.advance(2, T0 + 10 * PATIENT)
    ((_, result),) = of_kind(outputs, "result")
    assert msgspec.json.decode(result or b"", type=WindowSummary).count == 1


def test_panes_of_another_make_are_dead_letters() -> None:
    records = encoded("panes", [reading("a", 1, 1.0)], pipeline())
    for other in (
        pipeline(resolution=0.1),
        pipeline(alpha=0.02),
        pipeline(Tumbling(1_500)),
        pipeline(rules=(Silence(name="silent", duration_ms=25),)),
        pipeline(resolution=None),
    ):
        (bad,) = stage_of(other).decode(raw([records[0][0]], [PANES])).rejected
        assert bad.code is ErrorCode.INCOMPATIBLE_PANES
    assert stage_of(pipeline(Tumbling(5_000))).decode(raw([records[0][0]], [PANES])).rejected == ()


def test_panes_on_the_wrong_partition_are_misrouted() -> None:
    records = encoded("panes", [reading(f"s-{i}", 1, 1.0) for i in range(20)], pipeline())
    columns = stage_of(pipeline(), partitions=4).decode(raw([records[0][0]], [PANES]))
    assert 0 < len(columns) < 20
    assert {bad.code for bad in columns.rejected} == {ErrorCode.MISROUTED}
    assert len(columns) + len(columns.rejected) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0}, {"count": 2}, {"start": T0 + 1}, {"first_time": T0 + 1_000_000}, {"last_time": 0},
        {"min": 3.0}, {"max": 0.5}, {"squares_low": -1}, {"squares_high": -1}, {"squares_low": 1 << 40},
    ],
)  # fmt: skip
def test_panes_that_do_not_hold_together_are_malformed(change: dict[str, Any]) -> None:
    made = pipeline()
    panes, _ = reducer(made)(columns_of([reading("a", 1, 1.0)]))
    assert panes is not None
    table = panes.table
    integers = {name: np.array([change.get(name, table.integers[name][0])]) for name in INTEGERS}
    floats = {name: np.array([change.get(name, table.floats[name][0])]) for name in FLOATS}
    broken = panes._replace(table=replace(table, integers=integers, floats=floats))
    (part,) = split_panes(broken, "sensor_id", 1, 900_000)
    (bad,) = stage_of(made).decode(raw([part.value], [PANES])).rejected
    assert bad.code is ErrorCode.MALFORMED


@pytest.mark.parametrize(("value", "which"), [(-300.0, "min"), (2_000.0, "max")])
def test_panes_with_values_that_no_sensor_can_have_are_rejected(value: float, which: str) -> None:
    made = pipeline()
    panes, _ = reducer(made)(columns_of([reading("a", 1, 1.0), reading("a", 2, 2.0), reading("a", 3, 3.0)]))
    assert panes is not None
    floats = dict(panes.table.floats) | {which: np.array([value])}
    broken = panes._replace(table=replace(panes.table, floats=floats))
    (part,) = split_panes(broken, "sensor_id", 1, 900_000)
    (bad,) = stage_of(made).decode(raw([part.value], [PANES])).rejected
    assert bad.code is ErrorCode.VALUE_OUT_OF_RANGE


@settings(deadline=None)
@given(st.data())
def test_damaged_panes_never_raise(data: st.DataObject) -> None:
    made = pipeline()
    value = bytearray(encoded("panes", [reading("a", i, float(i)) for i in range(5)], made)[0][0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + 1] = data.draw(st.binary(max_size=2))
    columns = stage_of(made).decode(raw([bytes(value)], [PANES]))
    assert len(columns) + len(columns.rejected) >= 1
    for i in range(len(columns)):
        json.loads(columns.raw(i)[1])


def test_what_must_see_rows_takes_no_panes() -> None:
    for refused in (
        pipeline(resolution=None),
        pipeline(rules=(Threshold(name="hot", above=1.0),)),
    ):
        with pytest.raises(ValueError, match="takes no panes"):
            reducer(refused)
    with pytest.raises(ValueError, match="session"):
        pipeline(Session(5), out_of_orderness_ms=3)
    assert pipeline(rules=(Threshold(name="hot", source="mean", above=1.0),)).panes == PaneSpec(
        1_000, 0.01, 0.01
    )


def test_events_that_no_pane_can_hold_go_as_they_are() -> None:
    made = pipeline(resolution=1e-12)
    panes, rest = reducer(made)(columns_of([reading("a", 1, 1.5), reading("b", 1, 0.5)]))
    assert len(rest) == 1
    assert panes is not None
    assert panes.table.integers["count"].tolist() == [1]


def test_a_pipeline_without_a_resolution_is_the_one_it_was() -> None:
    assert pipeline(resolution=None).hash != pipeline().hash
    assert pipeline(resolution=None).hash == Pipeline(
        name="p", source="s", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
        window=Tumbling(1_000), out_of_orderness_ms=PATIENT,
    ).hash  # fmt: skip
