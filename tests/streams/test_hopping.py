"""Hopping windows: shared panes give the same as every window counted by itself, cut and restored anywhere."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import Hopping
from streams.window_task import WindowTask
from tests.streams.windowing import (
    Row,
    agree,
    check_that_cuts_change_nothing,
    columns,
    pipeline,
    rows_strategy,
    summaries,
)

HOPS = st.sampled_from([Hopping(10, 4), Hopping(10, 3), Hopping(12, 3), Hopping(10, 10), Hopping(20, 1)])
Members = dict[tuple[str, int], list[tuple[int, int, float]]]


def starts(time: int, window: Hopping) -> list[int]:
    return list(range(time - time % window.hop_ms, time - window.size_ms, -window.hop_ms))


def recount(rows: list[Row], window: Hopping, lateness: int) -> tuple[Members, Members, int]:
    """Members of each window at its end, members when the lateness is over where that changed, and late letters."""
    watermark, letters = -math.inf, 0
    on_time: Members = defaultdict(list)
    allowed: Members = defaultdict(list)
    for i, (sensor, time, value) in enumerate(rows):
        missed = False
        for start in starts(time, window):
            end = start + window.size_ms
            if end > watermark:
                on_time[sensor, start].append((time, i, value))
            elif end + lateness > watermark:
                allowed[sensor, start].append((time, i, value))
            else:
                missed = True
        letters += missed
        watermark = max(watermark, time - 3)
    final = {key: sorted([*on_time.get(key, []), *rest], key=lambda m: m[1]) for key, rest in allowed.items()}
    return on_time, final, letters


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy, window=HOPS, lateness=st.sampled_from([0, 2, 15]), data=st.data())
def test_cuts_and_restores_change_no_byte(
    rows: list[Row], window: Hopping, lateness: int, data: st.DataObject
) -> None:
    check_that_cuts_change_nothing(pipeline(lateness, window), rows, data)


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy, window=HOPS, lateness=st.sampled_from([0, 2, 15]))
def test_every_window_agrees_with_a_recount_of_its_own(
    rows: list[Row], window: Hopping, lateness: int
) -> None:
    on_time, final, letters = recount(rows, window, lateness)
    task = WindowTask(pipeline(lateness, window))
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000)
    found = {(s.labels["sensor_id"], s.start, s.revision): s for s in summaries(outputs)}
    expected = {(*key, 0): members for key, members in on_time.items()}
    expected |= {(*key, 1): members for key, members in final.items()}
    assert found.keys() == expected.keys()
    assert len(summaries(outputs)) == len(found)
    assert sum(output.kind == "late" for output in outputs) == letters
    for key, members in expected.items():
        agree(found[key], members)


def test_a_row_too_late_for_one_window_counts_in_the_others_and_leaves_a_letter() -> None:
    task = WindowTask(pipeline(window=Hopping(10, 5)))
    outputs = task.process(columns([("a", 6, 1.0), ("a", 14, 1.0), ("a", 7, 5.0), ("a", 40, 1.0)]))
    results = [(s.start, s.sum) for s in summaries(outputs)]
    assert results == [(0, 1.0), (5, 7.0), (10, 1.0)]
    (late,) = [output for output in outputs if output.kind == "late"]
    assert dict(late.headers)["tidewatch.late.watermark"] == b"11"


def test_a_hop_that_needs_too_many_panes_is_refused() -> None:
    with pytest.raises(ValueError, match="larger common divisor"):
        Hopping(3_600_000, 7)
    with pytest.raises(ValueError, match="between 1 ms and the window's size"):
        Hopping(10, 11)
