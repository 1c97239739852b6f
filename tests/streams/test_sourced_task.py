"""A watermark for each source: a backlog is on time, cuts change nothing, and the furthest draws the others along."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.once import OnceTask
from streams.pipeline import Hopping, Pipeline, RollUp, Session, SourceWatermark, Tumbling, Windowing
from streams.sourced_task import SourcedTask
from streams.stages import stage_of
from tests.streams.windowing import (
    Row,
    agree,
    by_kind,
    columns,
    pipeline,
    process_in_pieces,
    rows_strategy,
    summaries,
)

LAG = 40


def definition(window: Windowing, lateness: int = 0, lag: int = LAG) -> Pipeline:
    return replace(
        pipeline(lateness, window), watermark=SourceWatermark(label="sensor_id", max_lag_ms=lag, step_ms=10)
    )


def fold(
    rows: list[Row], window: Tumbling | Hopping, lag: int
) -> tuple[dict[tuple[str, int], list[Any]], int]:
    """Members of each window and the number of late rows, every sensor with its own watermark."""
    members: dict[tuple[str, int], list[Any]] = defaultdict(list)
    own: dict[str, float] = defaultdict(lambda: -math.inf)
    furthest, late = -math.inf, 0
    for i, (sensor, time, value) in enumerate(rows):
        least = (furthest - lag) // 10 * 10 if furthest > -math.inf else -math.inf
        watermark = max(own[sensor], least)
        missed = False
        for start in range(time - time % window.every_ms, time - window.size_ms, -window.every_ms):
            if start + window.size_ms > watermark:
                members[sensor, start].append((time, i, value))
            else:
                missed = True
        late += missed
        own[sensor] = max(own[sensor], time - 3)
        furthest = max(furthest, time - 3)
    return members, late


@settings(max_examples=80, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([Tumbling(10), Hopping(12, 4)]),
    lag=st.sampled_from([0, LAG, 1_000]),
)
def test_windows_agree_with_a_recount(rows: list[Row], window: Tumbling | Hopping, lag: int) -> None:
    members, late = fold(rows, window, lag)
    task = SourcedTask(definition(window, lag=lag))
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000)
    found = {(s.labels["sensor_id"], s.start): s for s in summaries(outputs)}
    assert found.keys() == members.keys()
    assert sum(output.kind == "late" for output in outputs) == late
    for key, inside in members.items():
        agree(found[key], inside)


@settings(max_examples=100, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([Tumbling(10), Hopping(12, 4), Session(6)]),
    lag=st.sampled_from([0, LAG]),
    data=st.data(),
)
def test_cuts_and_restores_change_no_byte(
    rows: list[Row], window: Windowing, lag: int, data: st.DataObject
) -> None:
    made = definition(window, lag=lag)
    whole = SourcedTask(made)
    expected = whole.process(columns(rows)) + whole.advance(len(rows), 10_000)
    task, outputs = process_in_pieces(SourcedTask(made), lambda: SourcedTask(made), rows, data)
    assert by_kind(outputs + task.advance(len(rows), 10_000)) == by_kind(expected)


def test_the_backlog_of_a_source_that_was_offline_is_not_late() -> None:
    rows: list[Row] = [
        ("a", 1, 1.0),
        ("b", 2, 1.0),
        *(("b", t, 1.0) for t in range(5, 40, 5)),
        ("a", 4, 2.0),
        ("a", 12, 4.0),
        ("a", 40, 0.0),
    ]
    task = SourcedTask(definition(Tumbling(10)))
    outputs = task.process(columns(rows))
    assert not [output for output in outputs if output.kind == "late"]
    assert [(s.start, s.sum) for s in summaries(outputs) if s.labels["sensor_id"] == "a"] == [
        (0, 3.0),
        (10, 4.0),
    ]


def test_a_source_that_trails_too_far_is_drawn_along() -> None:
    task = SourcedTask(definition(Tumbling(10)))
    outputs = task.process(columns([("a", 1, 1.0), ("b", 53, 1.0), ("a", 2, 1.0), ("a", 12, 1.0)]))
    assert [(s.labels["sensor_id"], s.start) for s in summaries(outputs)] == [("a", 0)]
    (late,) = [output for output in outputs if output.kind == "late"]
    assert late.value == b"('a', 2, 1.0)"


def test_live_rules_reach_sources_old_and_new() -> None:
    task = SourcedTask(definition(Tumbling(10)))
    task.process(columns([("a", 1, 1.0)]))
    task.change_rules('{"low": {"name": "low", "kind": "threshold", "below": 0.0}}')
    outputs = task.process(columns([("a", 14, 1.0), ("a", 15, -1.0), ("b", 16, -1.0)], 1))
    assert [key for key, _, _ in by_kind(outputs)["alert"] if key] == [b"a", b"b"]


def test_declarations_that_cannot_work_are_refused() -> None:
    source = SourceWatermark(label="site", max_lag_ms=5)
    with pytest.raises(ValueError, match="add site to group_by"):
        replace(pipeline(), watermark=source)
    with pytest.raises(ValueError, match="roll-ups wait"):
        replace(pipeline(), group_by=("site",), keep=(), watermark=source, rollups=(RollUp(),))
    stage = stage_of(replace(pipeline(), group_by=("site",), keep=(), watermark=source))
    task = stage.task(0)
    assert isinstance(task, OnceTask)
    assert isinstance(task.inner, SourcedTask)
