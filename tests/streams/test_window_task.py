"""The window task against a plain recount, cut and restored anywhere."""

from __future__ import annotations

import math
from collections import defaultdict

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import WindowSummary
from streams.window_task import WindowTask
from tests.streams.windowing import (
    Row,
    check_that_cuts_change_nothing,
    columns,
    pipeline,
    rows_strategy,
    summaries,
)


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy, lateness=st.sampled_from([0, 15]), data=st.data())
def test_cuts_and_restores_change_no_byte(rows: list[Row], lateness: int, data: st.DataObject) -> None:
    check_that_cuts_change_nothing(pipeline(lateness), rows, data)


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


def test_a_result_is_encoded_as_its_type_is() -> None:
    task = WindowTask(pipeline())
    outputs = task.process(columns([("c/d", 1, 1.0), ("c/d", 2, -3.5), ("a", 30, 1.0)]))
    for output in outputs:
        if output.kind == "result":
            assert output.value == msgspec.json.encode(
                msgspec.json.decode(output.value or b"", type=WindowSummary)
            )
