"""What the tests of windows share: small tables of rows as columns, outputs by kind, and cutting anywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from schemas.columns import Coded, Columns
from schemas.event_types import SENSOR_READING
from schemas.results import WindowSummary
from streams.pipeline import Pipeline, Tumbling, Windowing
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold
from streams.task import Output, Task
from streams.window_task import WindowTask

Row = tuple[str, int, float]
TEN = Tumbling(10)


def pipeline(lateness: int = 0, window: Windowing = TEN, **options: Any) -> Pipeline:
    return Pipeline(
        name="p",
        source="s",
        event=SENSOR_READING,
        group_by=("sensor_id", "quantity"),
        keep=("site",),
        window=window,
        out_of_orderness_ms=3,
        allowed_lateness_ms=lateness,
        rules=(
            Threshold(name="high", above=50.0, clear=40.0),
            Threshold(name="high-mean", source="mean", above=20.0),
            Silence(name="silent", duration_ms=25),
        ),
        **options,
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


def process_in_pieces(
    task: Task,
    fresh: Callable[[], Task],
    rows: list[Any],
    data: st.DataObject,
    as_columns: Callable[[list[Any], int], Columns] | None = None,
) -> tuple[Task, list[Output]]:
    """Process rows cut anywhere, saved and restored in between, from full snapshots and changes to them."""
    outputs: list[Output] = []
    begin, base = 0, dict[str, bytes]()
    while begin < len(rows):
        end = data.draw(st.integers(begin + 1, len(rows)))
        outputs += task.process((as_columns or columns)(rows[begin:end], begin))
        begin = end
        if data.draw(st.booleans()):
            full = data.draw(st.booleans()) or not base
            blocks = task.snapshot(full=full)
            base = {} if full else base
            for name, value in blocks.items():
                base.pop(name, None) if value is None else base.__setitem__(name, value)
            if data.draw(st.booleans()):
                task = fresh()
                task.restore(base)
    return task, outputs


def check_that_changes_add_up(
    fresh: Callable[[], Task], rows: list[Any], as_columns: Callable[[list[Any], int], Columns]
) -> None:
    """Save after every row: what was saved restores to a task of the same state."""
    task, held = fresh(), dict[str, bytes]()
    for i in range(len(rows)):
        task.process(as_columns(rows[i : i + 1], i))
        for name, block in task.snapshot(full=False).items():
            held.pop(name, None) if block is None else held.__setitem__(name, block)
    again = fresh()
    again.restore(held)
    assert again.snapshot(full=True) == task.snapshot(full=True)


def check_that_cuts_change_nothing(definition: Pipeline, rows: list[Row], data: st.DataObject) -> None:
    """Compare all outputs with those of one piece, byte for byte and kind by kind."""
    whole = WindowTask(definition)
    expected = whole.process(columns(rows)) + whole.advance(len(rows), 10_000)
    task, outputs = process_in_pieces(WindowTask(definition), lambda: WindowTask(definition), rows, data)
    outputs += task.advance(len(rows), 10_000)
    assert by_kind(outputs) == by_kind(expected)


def agree(summary: WindowSummary, members: list[tuple[int, int, float]], *, ends: bool = True) -> None:
    """Compare a summary with a recount of (time, arrival, value)."""
    values = np.array([v for _, _, v in members])
    assert summary.count == len(values)
    assert (summary.min, summary.max) == (values.min(), values.max())
    if ends:
        assert (summary.first, summary.last) == (min(members)[2], max(members)[2])
    assert math.isclose(summary.sum, math.fsum(values), rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(summary.mean, float(values.mean()), rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(summary.variance, float(values.var()), rel_tol=1e-9, abs_tol=1e-7)
    median = float(np.quantile(values, 0.5, method="inverted_cdf"))
    assert abs(summary.quantiles["0.5"] - median) <= 0.0203 * abs(median) + 2e-9
