"""The window task against a plain recount, cut and restored anywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import WindowSummary
from streams.pipeline import Hopping, Windowing
from streams.window_task import WindowTask
from tests.streams.windowing import (
    TEN,
    Row,
    by_kind,
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


def held_after(task: WindowTask, held: dict[str, bytes], *, full: bool = False) -> int:
    """Write a snapshot over the blocks held, and return the bytes written."""
    blocks = task.snapshot(full=full)
    if full:
        held.clear()
    for name, value in blocks.items():
        held.pop(name, None) if value is None else held.__setitem__(name, value)
    return sum(len(value) for value in blocks.values() if value is not None)


@settings(max_examples=60, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([TEN, Hopping(20, 10)]),
    resolution=st.sampled_from([None, 0.001]),
    rows_a_group=st.sampled_from([0, 1, 4]),
    data=st.data(),
)
def test_changes_add_up_to_the_state(
    rows: list[Row],
    window: Windowing,
    resolution: float | None,
    rows_a_group: int,
    data: st.DataObject,
) -> None:
    """A task that saves now and then goes on from what it saved as it would have gone on itself.

    What it saves is rows or groups, whichever are less by ``rows_a_group``.
    """
    definition = replace(pipeline(15, window=window), resolution=resolution)
    task, held = WindowTask(definition), dict[str, bytes]()
    fulls = data.draw(st.sets(st.integers(0, len(rows)), max_size=2))
    misses = data.draw(st.sets(st.integers(0, len(rows) - 2), max_size=20)) if len(rows) > 1 else set()
    with (
        patch("streams.windows.ROWS_A_GROUP", rows_a_group),
        patch("streams.added.ROWS_A_GROUP", rows_a_group),
    ):
        for i in range(len(rows)):
            task.process(columns(rows[i : i + 1], i))
            if i not in misses:
                held_after(task, held, full=i in fulls)
    again = WindowTask(definition)
    again.restore(held)
    assert again.snapshot(full=True) == task.snapshot(full=True)
    assert by_kind(again.advance(len(rows), 10_000)) == by_kind(task.advance(len(rows), 10_000))


def test_a_change_costs_what_it_changes_whatever_else_is_held() -> None:
    """With a hundred times the groups a row's change is not larger; bytes stand in for time, as nothing else is packed."""
    sizes = []
    for groups in (100, 10_000):
        definition = replace(pipeline(), rules=())
        task, held = WindowTask(definition), dict[str, bytes]()
        task.process(columns([(f"g{i:05d}", 5, 1.0) for i in range(groups)]))
        whole = held_after(task, held, full=True)
        task.process(columns([("g00050", 6, 2.0)], groups))
        sizes.append(held_after(task, held))
    assert sizes[0] == sizes[1]
    assert sizes[1] < whole / 1_000


def test_few_rows_a_group_are_saved_as_rows_and_many_as_groups() -> None:
    """So a change takes at most some 20 bytes a row and 100 a group, whichever are fewer."""
    definition = replace(pipeline(), rules=())
    for per_group, most in ((1, 20 * 5_000), (50, 100 * 5_000)):
        task, held = WindowTask(definition), dict[str, bytes]()
        task.process(columns([(f"g{i:05d}", 5, 0.5) for i in range(5_000)]))
        held_after(task, held, full=True)
        for turn in range(per_group):
            task.process(columns([(f"g{i:05d}", 6, i / 7) for i in range(5_000)], 5_000 * (turn + 1)))
        assert held_after(task, held) < most
        again = WindowTask(definition)
        again.restore(held)
        assert again.snapshot(full=True) == task.snapshot(full=True)


def test_state_of_the_format_before_is_read() -> None:
    task = WindowTask(pipeline())
    task.process(columns([("a", 1, 1.0), ("b", 2, 2.0)]))
    blocks = {name: block for name, block in task.snapshot(full=True).items() if block is not None}
    old = dict(blocks)
    old["header"] = msgspec.msgpack.encode([3, *msgspec.msgpack.decode(blocks["header"])[1:]])
    again = WindowTask(pipeline())
    again.restore(old)
    assert again.snapshot(full=True) == blocks


def test_state_of_another_format_is_refused() -> None:
    task = WindowTask(pipeline())
    task.process(columns([("a", 1, 1.0)]))
    blocks = {name: block for name, block in task.snapshot(full=True).items() if block is not None}
    blocks["header"] = msgspec.msgpack.encode([2, 0, 0, False])
    with pytest.raises(ValueError, match="format 2, not 4"):
        WindowTask(pipeline()).restore(blocks)
