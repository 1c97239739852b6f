"""The window task against a plain recount, cut and restored anywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Coded, Columns
from schemas.event_types import SENSOR_READING
from schemas.results import WindowSummary
from streams.pipeline import Pipeline, Tumbling
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold
from streams.task import Output
from streams.window_task import WindowTask

Row = tuple[str, int, float]


def pipeline(lateness: int = 0) -> Pipeline:
    return Pipeline(
        name="p",
        source="s",
        event=SENSOR_READING,
        group_by=("sensor_id", "quantity"),
        keep=("site",),
        window=Tumbling(10),
        out_of_orderness_ms=3,
        allowed_lateness_ms=lateness,
        rules=(
            Threshold(name="high", above=50.0, clear=40.0),
            Threshold(name="high-mean", source="mean", above=20.0),
            Silence(name="silent", duration_ms=25),
        ),
    )


def columns(rows: list[Row], first_offset: int = 0) -> Columns:
    n = len(rows)
    names = sorted({sensor for sensor, _, _ in rows})
    sensor = Coded(np.array([names.index(s) for s, _, _ in rows], np.int32), names)
    same = Coded(np.zeros(n, np.int32), ["x"])
    offsets = np.arange(first_offset, first_offset + n, dtype=np.int64)
    times = np.array([t for _, t, _ in rows], np.int64)
    return Columns(
        "s", 0, first_offset, first_offset + n, offsets, np.zeros(n, np.int32), times, times,
        {"value": np.array([v for _, _, v in rows], np.float64)},
        {"sensor_id": sensor, "quantity": same, "site": same},
        lambda i: (rows[i][0].encode(), repr(rows[i]).encode()),
    )  # fmt: skip


def by_kind(outputs: list[Output]) -> dict[str, list[Any]]:
    kinds: dict[str, list[Any]] = defaultdict(list)
    for output in outputs:
        kinds[output.kind].append((output.key, output.value, output.headers))
    return kinds


def summaries(outputs: list[Output]) -> list[WindowSummary]:
    return [msgspec.json.decode(o.value or b"", type=WindowSummary) for o in outputs if o.kind == "result"]


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c/d"]),
        st.integers(0, 120),
        st.floats(-100, 100, allow_nan=False) | st.sampled_from([0.0, 1e-12, 45.0, 60.0]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(rows=rows_strategy, lateness=st.sampled_from([0, 15]), data=st.data())
def test_cuts_and_restores_change_no_byte(rows: list[Row], lateness: int, data: st.DataObject) -> None:
    definition = pipeline(lateness)
    whole = WindowTask(definition)
    expected = whole.process(columns(rows)) + whole.advance(len(rows), 10_000)
    task, outputs, begin = WindowTask(definition), [], 0
    base: dict[str, bytes] = {}
    while begin < len(rows):
        end = data.draw(st.integers(begin + 1, len(rows)))
        outputs += task.process(columns(rows[begin:end], begin))
        begin = end
        if data.draw(st.booleans()):
            full = data.draw(st.booleans()) or not base
            for name, value in task.snapshot(full=full).items():
                base.pop(name, None) if value is None else base.__setitem__(name, value)
            if full:
                base = {name: value for name, value in task.snapshot(full=True).items() if value is not None}
            task = WindowTask(definition)
            task.restore(base)
    outputs += task.advance(len(rows), 10_000)
    assert by_kind(outputs) == by_kind(expected)


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy)
def test_windows_agree_with_a_plain_recount(rows: list[Row]) -> None:
    windows: dict[tuple[str, int], list[tuple[int, int, float]]] = defaultdict(list)
    watermark, late = -math.inf, 0
    for i, (sensor, time, value) in enumerate(rows):
        start = time - time % 10
        if start + 10 <= watermark:
            late += 1
        else:
            windows[sensor, start].append((time, i, value))
        watermark = max(watermark, time - 3)
    task = WindowTask(pipeline())
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000)
    found = {(s.labels["sensor_id"], s.start): s for s in summaries(outputs)}
    assert found.keys() == windows.keys()
    assert sum(output.kind == "late" for output in outputs) == late
    for key, members in windows.items():
        values = np.array([v for _, _, v in members])
        summary = found[key]
        assert summary.count == len(values)
        assert (summary.min, summary.max) == (values.min(), values.max())
        assert math.isclose(summary.mean, float(values.mean()), rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(summary.variance, float(values.var()), rel_tol=1e-9, abs_tol=1e-7)
        assert summary.first == min(members)[2]
        assert summary.last == max(members)[2]
        median = float(np.quantile(values, 0.5, method="inverted_cdf"))
        assert abs(summary.quantiles["0.5"] - median) <= 0.0203 * abs(median) + 2e-9


def test_allowed_late_rows_make_one_more_revision() -> None:
    task = WindowTask(pipeline(lateness=20))
    rows = [("a", 1, 1.0), ("a", 14, 2.0), ("a", 2, 3.0), ("a", 3, 5.0), ("a", 40, 1.0)]
    results = [(s.start, s.revision, s.count, s.sum) for s in summaries(task.process(columns(rows)))]
    assert results == [(0, 0, 1, 1.0), (10, 0, 1, 2.0), (0, 1, 3, 9.0)]


def test_a_late_row_goes_out_whole_with_its_reason() -> None:
    task = WindowTask(pipeline())
    outputs = task.process(columns([("a", 30, 1.0), ("b", 5, 2.0)]))
    (late,) = [output for output in outputs if output.kind == "late"]
    assert late.key == b"b"
    assert late.value == b"('b', 5, 2.0)"
    assert dict(late.headers)["tidewatch.late.watermark"] == b"27"


def test_result_ids_are_deterministic_and_unambiguous() -> None:
    task = WindowTask(pipeline())
    outputs = task.process(columns([("c/d", 1, 1.0), ("a", 30, 1.0)]))
    assert [s.id for s in summaries(outputs)] == ["p|c%2Fd/x|0|10|0"]
