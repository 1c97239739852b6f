"""Exact sums: with a resolution, roll-ups have the same bytes however the rows of a key are spread over partitions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import Hopping, Pipeline, RollUp, Tumbling, Windowing
from streams.placing import Placed, records_of
from streams.rollup_task import RollUpTask
from streams.sketches.fixed_point import Resolution
from streams.task import Output
from streams.watermark import SILENT
from streams.window_task import WindowTask
from tests.streams.test_rollups import batch
from tests.streams.windowing import Row, columns, pipeline, summaries

PARTITIONS, RESOLUTION = 3, 0.01

rows_strategy = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 30), st.floats(-1e4, 1e4) | st.just(1e4) | st.floats(999, 1000)
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def spread_pipeline(window: Windowing) -> Pipeline:
    by = ("sensor_id", "quantity")
    return pipeline(0, window, rollups=(RollUp(by=by), RollUp()), resolution=RESOLUTION)


def rolled_up(made: Pipeline, spread: list[list[Row]]) -> list[Output]:
    """Run each partition's rows and then the roll-up, whose records come partition after partition."""
    logs: list[list[tuple[bytes | None, bytes]]] = [[] for _ in range(PARTITIONS)]
    for number, rows in enumerate(spread):
        task = WindowTask(made, number)
        sent = task.process(columns(rows)) if rows else []
        sent += task.advance(len(rows), 10_000 if rows else SILENT)
        for output in sent:
            if output.kind == "partial":
                for record in records_of([Placed("t", output)], number, PARTITIONS):
                    logs[record.partition].append((record.key, record.value or b""))
    outputs = [RollUpTask(made, PARTITIONS, number).process(batch(log)) for number, log in enumerate(logs)]
    return [output for group in outputs for output in group if output.kind == "result"]


@settings(max_examples=80, deadline=None)
@given(
    rows=rows_strategy,
    where=st.lists(st.integers(0, PARTITIONS - 1), min_size=40, max_size=40),
    window=st.sampled_from([Tumbling(10), Hopping(12, 4)]),
)
def test_roll_ups_have_the_same_bytes_however_rows_are_spread(
    rows: list[Row], where: list[int], window: Tumbling | Hopping
) -> None:
    made = spread_pipeline(window)
    rows = sorted(rows, key=lambda row: row[1])  # none is late, wherever it goes
    whole: list[list[Row]] = [[row for row in rows if (row[0] == "b") == number] for number in range(2)]
    spread = [
        [row for row, at in zip(rows, where, strict=False) if at == number] for number in range(PARTITIONS)
    ]
    expected = rolled_up(made, [*whole, []])
    assert rolled_up(made, spread) == expected
    for summary in summaries(expected):
        exact = [
            Fraction(int(Resolution(RESOLUTION).steps(np.array([v]))[0]), 100)
            for sensor, t, v in rows
            if summary.start <= t < summary.end
            and (summary.group == "all" or summary.group.startswith(sensor))
        ]
        mean = sum(exact, Fraction()) / len(exact)
        assert summary.sum == float(sum(exact, Fraction()))
        variance = sum(((v - mean) ** 2 for v in exact), Fraction()) / len(exact)
        assert math.isclose(summary.variance, variance, rel_tol=1e-15)


def test_without_a_resolution_the_bits_depend_on_the_partitions() -> None:
    made = pipeline(0, Tumbling(10), rollups=(RollUp(),))
    rows: list[Row] = [("a", i, v) for i, v in enumerate([0.1, 0.2, 0.3])]
    one = summaries(rolled_up(made, [rows, [], []]))
    other = summaries(rolled_up(made, [rows[:1], rows[1:], []]))
    assert [s.count for s in one] == [s.count for s in other]
    assert [s.sum for s in one] != [s.sum for s in other]
