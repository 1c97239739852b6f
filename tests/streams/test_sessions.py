"""Session windows against a plain recount, cut and restored anywhere; late rows bridge sessions that are still open."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import Session
from streams.window_task import WindowTask
from tests.streams.windowing import (
    Row,
    agree,
    by_kind,
    check_that_cuts_change_nothing,
    columns,
    pipeline,
    summaries,
)

# Times close enough together that sessions open, grow at both ends, bridge and close.
rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 60),
        st.floats(-100, 100, allow_nan=False) | st.sampled_from([0.0, 1e-12, 45.0, 60.0]),
    ),
    min_size=1,
    max_size=40,
)


@dataclass
class Live:
    start: int
    last: int
    members: list[tuple[int, int, float]] = field(default_factory=list)


def recount(
    rows: list[Row], gap: int
) -> tuple[dict[tuple[str, int, int], list[tuple[int, int, float]]], int]:
    """Sessions by (sensor, start, end), and the number of late rows, one row after the other."""
    live: dict[str, list[Live]] = defaultdict(list)
    closed = {}
    late, watermark = 0, -math.inf

    def close(until: float) -> None:
        for sensor, sessions in live.items():
            for session in [s for s in sessions if s.last + gap <= until]:
                closed[sensor, session.start, session.last + gap] = session.members
                sessions.remove(session)

    for i, (sensor, time, value) in enumerate(rows):
        touched = [s for s in live[sensor] if s.start < time + gap and time < s.last + gap]
        if not touched and time + gap <= watermark:
            late += 1
        else:
            joined = Live(time, time, [(time, i, value)])
            for session in touched:
                live[sensor].remove(session)
                joined.start, joined.last = min(joined.start, session.start), max(joined.last, session.last)
                joined.members += session.members
            live[sensor].append(joined)
        watermark = max(watermark, time - 3)
        close(watermark)
    close(math.inf)
    return closed, late


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy, gap=st.sampled_from([1, 5, 12]), data=st.data())
def test_cuts_and_restores_change_no_byte(rows: list[Row], gap: int, data: st.DataObject) -> None:
    check_that_cuts_change_nothing(pipeline(window=Session(gap)), rows, data)


@settings(max_examples=100, deadline=None)
@given(rows=rows_strategy, gap=st.sampled_from([1, 5, 12]))
def test_sessions_agree_with_a_plain_recount(rows: list[Row], gap: int) -> None:
    expected, late = recount(rows, gap)
    task = WindowTask(pipeline(window=Session(gap)))
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000)
    found = {(s.labels["sensor_id"], s.start, s.end): s for s in summaries(outputs)}
    assert found.keys() == expected.keys()
    assert len({s.id for s in summaries(outputs)}) == len(summaries(outputs)) == len(expected)
    assert sum(output.kind == "late" for output in outputs) == late
    for key, members in expected.items():
        agree(found[key], members)
    ends = [s.end for s in summaries(outputs)]
    assert ends == sorted(ends)


def test_what_closes_together_has_no_say_in_the_quantiles() -> None:
    rows = [("a", 0, 0.0), ("a", 4, 0.0), ("a", 4, 1.0), ("a", 8, 0.0)]
    whole, pieces = (WindowTask(pipeline(window=Session(1))) for _ in range(2))
    cut = [output for i, row in enumerate(rows) for output in pieces.process(columns([row], i))]
    assert by_kind(cut) == by_kind(whole.process(columns(rows)))


def sessions(rows: list[Row], gap: int) -> list[tuple[int, int, float]]:
    outputs = WindowTask(pipeline(window=Session(gap))).process(columns(rows))
    return [(s.start, s.end, s.sum) for s in summaries(outputs)]


def test_a_row_bridges_two_sessions() -> None:
    assert sessions([("a", 10, 1.0), ("a", 16, 2.0), ("a", 13, 4.0), ("a", 90, 0.0)], 5) == [(10, 21, 7.0)]


def test_a_row_behind_the_watermark_joins_a_session_that_is_still_open() -> None:
    rows = [("a", 50, 1.0), ("b", 57, 0.0), ("a", 42, 2.0), ("a", 41, 4.0), ("a", 90, 0.0)]
    assert sessions(rows, 10) == [(41, 60, 7.0), (57, 67, 0.0)]


def test_rows_exactly_a_gap_apart_are_two_sessions() -> None:
    assert sessions([("a", 10, 1.0), ("a", 15, 2.0), ("a", 90, 0.0)], 5) == [(10, 15, 1.0), (15, 20, 2.0)]


def test_state_does_not_depend_on_the_numbers_sessions_had() -> None:
    rows = [("a", 10, 1.0), ("b", 12, 2.0), ("a", 40, 3.0), ("b", 41, 4.0), ("a", 43, 5.0)]
    whole, pieces = (WindowTask(pipeline(window=Session(5))) for _ in range(2))
    whole.process(columns(rows))
    for i in range(len(rows)):
        pieces.process(columns(rows[i : i + 1], i))
    assert whole.snapshot(full=True) == pieces.snapshot(full=True)


def test_many_sessions_at_once() -> None:
    rng = np.random.default_rng(5)
    times = np.sort(rng.integers(0, 200_000, 3_000)) + rng.integers(-2, 3, 3_000)
    rows = [
        (f"s{s}", int(t), float(v))
        for s, t, v in zip(rng.integers(0, 40, 3_000), times, rng.normal(size=3_000), strict=True)
    ]
    expected, late = recount(rows, 500)
    task = WindowTask(pipeline(window=Session(500)))
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000_000)
    assert len(expected) > 1_500
    assert {(s.labels["sensor_id"], s.start, s.end): s.count for s in summaries(outputs)} == {
        key: len(members) for key, members in expected.items()
    }
    assert len(by_kind(outputs)["late"]) == late


def test_allowed_lateness_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="raise out_of_orderness_ms"):
        pipeline(lateness=5, window=Session(5))
