"""History through the runner: what a worker publishes, wherever its batches were cut, whatever influenced it."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from streams.checkpoint import Control, Restored
from streams.config import Stage
from streams.errors import HandlerError
from streams.history import completed, lag_of, replayed, slack_of
from streams.pipeline import Hopping, Pipeline, RollUp, Session, Tumbling, Windowing
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold
from streams.runner import StageRunner
from streams.stages import stage_of
from streams.task import Output
from tests.streams.counting import stage as counting
from tests.streams.windowing import TEN, by_kind, summaries

START = 1_750_000_000_000
Row = tuple[str, int, float]

rows_strategy = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 120), st.floats(-90, 90).map(lambda v: round(v, 2))),
    min_size=1, max_size=40,
)  # fmt: skip


def pipeline(window: Windowing = TEN, **options: object) -> Pipeline:
    return Pipeline(
        name="p", source="s", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
        window=window, out_of_orderness_ms=3,
        rules=(Threshold(name="high", above=50.0, clear=40.0), Silence(name="silent", duration_ms=25)),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def batch(values: list[bytes], start: int = 0) -> RawBatch:
    """Return records whose offsets have gaps, as transactions leave them."""
    n = len(values)
    offsets = start + 2 * np.arange(n, dtype=np.int64)
    times = np.full(n, START + 10**6, np.int64)
    return RawBatch("s", 0, start, start + 2 * n, offsets, times, [b"k"] * n, values)


def encoded(row: Row) -> bytes:
    sensor, time, value = row
    reading = {"sensor_id": sensor, "site": "x", "quantity": "temperature", "unit": "degC", "value": value}
    return msgspec.json.encode(reading | {"time": START + time})


def pieces(values: list[bytes], data: st.DataObject) -> list[RawBatch]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(values)), max_size=4)) | {0, len(values)})
    return [batch(values[a:b], 2 * a) for a, b in itertools.pairwise(cuts)]


def outputs_of(stage: Stage, batches: list[RawBatch], *more: object) -> list[Output]:
    return [o for step in replayed(stage, 0, lambda: batches, *more) for o in step.outputs]  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([Tumbling(10), Hopping(12, 4), Session(8)]),
    influences=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 200), st.booleans()), max_size=3),
    data=st.data(),
)
def test_history_is_what_a_worker_publishes_wherever_its_batches_were_cut(
    rows: list[Row], window: Windowing, influences: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    stage, values = stage_of(pipeline(window)), [encoded(row) for row in rows]
    values.insert(data.draw(st.integers(0, len(values))), b"not json")
    text = '{"high":{"name":"high","kind":"threshold","above":20.0,"clear":10.0}}'
    controls = [
        Control("s", at, "rules", text=text) if rules else Control("s", at, "idle", START + time)
        for at, time, rules in sorted(influences)
    ]
    # A worker gets batches that end where it is influenced, and then is.
    worker = StageRunner.restored(stage, 0, Restored(), 0)
    expected: list[Output] = []
    waiting = list(controls)
    for offset, value in zip(range(0, 2 * len(values), 2), values, strict=True):
        while waiting and waiting[0].position <= offset:
            expected += influenced(worker, waiting.pop(0))
        expected += worker.take(batch([value], offset))
    for control in waiting:
        expected += influenced(worker, control)
    found = outputs_of(stage, pieces(values, data), controls)
    assert by_kind(found) == by_kind(expected)
    assert len(by_kind(found)["dead"]) == 1


def influenced(worker: StageRunner, control: Control) -> list[Output]:
    worker.position = control.position
    if control.kind == "rules":
        worker.follow_rules(control.text)
        return []
    return worker.advance(control.watermark)


@settings(max_examples=25, deadline=None)
@given(rows=rows_strategy, window=st.sampled_from([Tumbling(10), Hopping(12, 4)]), data=st.data())
def test_complete_history_counts_every_row_and_keeps_the_bytes_of_windows_without_late_ones(
    rows: list[Row], window: Tumbling | Hopping, data: st.DataObject
) -> None:
    made, batches = pipeline(window), pieces([encoded(row) for row in rows], data)
    plain = stage_of(made)
    stage = stage_of(completed(made, lag_of(plain, lambda: batches)))
    found = outputs_of(stage, batches, (), slack_of(made))
    assert not by_kind(found)["late"]
    members = defaultdict(list)
    for sensor, time, value in rows:
        moment = START + time
        for begin in range(moment - moment % window.every_ms, moment - window.size_ms, -window.every_ms):
            members[f"{sensor}/temperature", begin].append(value)
    results = {(s.group, s.start): s for s in summaries(found)}
    assert results.keys() == members.keys()
    for place, values in members.items():
        assert results[place].count == len(values)
        assert math.isclose(results[place].sum, math.fsum(values), rel_tol=1e-12, abs_tol=1e-12)
    for summary in summaries(outputs_of(plain, batches)):
        if summary.count == len(members[summary.group, summary.start]):
            assert results[summary.group, summary.start] == summary


def test_rows_that_are_late_on_the_stream_are_late_in_history() -> None:
    rows = [("a", 1, 1.0), ("a", 15, 2.0), ("a", 2, 4.0), ("a", 30, 8.0)]
    found = outputs_of(stage_of(pipeline()), [batch([encoded(row) for row in rows])])
    (late,) = by_kind(found)["late"]
    assert dict(late[2])["tidewatch.late.offset"] == b"4"
    assert [(s.start - START, s.sum) for s in summaries(found)] == [(0, 1.0), (10, 2.0)]


def test_a_poisonous_row_is_dead_lettered_as_by_a_worker_and_nothing_is_told_twice() -> None:
    batches = [batch([b"1", b"2"], 0), batch([b"3", b"-666", b"4"], 4), batch([b"5"], 10)]
    found = by_kind(outputs_of(counting("s"), batches))
    assert [value for _, value, _ in found["result"]] == [b"1 1", b"2 3", b"3 6", b"4 10", b"5 15"]
    ((_, value, headers),) = found["dead"]
    assert value == b"-666"
    assert dict(headers)["__connect.errors.offset"] == b"6"


def test_a_task_that_no_row_explains_ends_history() -> None:
    with pytest.raises((HandlerError, RuntimeError)):
        outputs_of(counting("s"), [batch([b"1"], 0), batch([b"broken"], 2)])


def test_a_partition_without_an_event_keeps_no_roll_up_waiting() -> None:
    rolled = pipeline(rollups=(RollUp(),))
    (output,) = outputs_of(stage_of(rolled), [])
    assert b'"idle":true' in (output.value or b"")
    assert outputs_of(stage_of(pipeline()), []) == []
