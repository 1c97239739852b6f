"""One topic takes over from another at a window boundary: every row counts once or is late, on one side or the other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import Hopping, RollUp
from streams.task import Output
from streams.window_task import WindowTask
from tests.streams.windowing import Row, columns, pipeline, rows_strategy, summaries

CUT = 60


@settings(max_examples=60, deadline=None)
@given(rows=rows_strategy, switch=st.integers(0, 40), lateness=st.sampled_from([0, 8]))
def test_rows_count_once_whenever_producers_switch(rows: list[Row], switch: int, lateness: int) -> None:
    old_rows, new_rows = rows[:switch], [row for row in rows[:switch] if row[1] >= CUT] + rows[switch:]
    old, new = pipeline(lateness, ends_ms=CUT), pipeline(lateness, begins_ms=CUT)
    outputs = [*run(WindowTask(old), old_rows), *run(WindowTask(new), new_rows)]
    newest: dict[tuple[str, int], tuple[int, int]] = {}
    for summary in summaries(outputs):
        place = summary.group, summary.start
        newest[place] = max(newest.get(place, (-1, 0)), (summary.revision, summary.count))
    late = sum(output.kind == "late" for output in outputs)
    assert sum(count for _, count in newest.values()) + late == len(rows)
    assert not {s.id for s in summaries(run(WindowTask(old), old_rows)) if s.end > CUT}
    assert not {s.id for s in summaries(run(WindowTask(new), new_rows)) if s.start < CUT}


def test_lateness_allowed_does_not_reach_into_the_windows_of_the_topic_before() -> None:
    outputs = run(WindowTask(pipeline(8, begins_ms=CUT)), [("a", 50, 0.0), ("a", 61, 1.0)])
    assert [s.start for s in summaries(outputs)] == [60]
    assert [output.kind for output in outputs].count("late") == 1


def run(task: WindowTask, rows: list[Row]) -> list[Output]:
    return (task.process(columns(rows)) if rows else []) + task.advance(len(rows), 10_000)


def test_a_pipeline_that_runs_takes_its_end_unless_rows_behind_it_have_been_counted() -> None:
    rows: list[Row] = [("a", 41, 1.0), ("a", 55, 2.0)]
    running = WindowTask(pipeline())
    running.process(columns(rows))
    state = {name: value or b"" for name, value in running.snapshot(full=True).items()}
    assert pipeline(ends_ms=CUT).hash == pipeline().hash
    assert pipeline(begins_ms=CUT).hash != pipeline().hash
    ended = WindowTask(pipeline(ends_ms=CUT))
    ended.restore(state)
    assert [s.start for s in summaries(ended.process(columns([("a", 80, 4.0)], 2)))] == [50]
    with pytest.raises(ValueError, match="counted already"):
        WindowTask(pipeline(ends_ms=50)).restore(state)


def test_cuts_inside_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="where a tumbling window begins"):
        pipeline(ends_ms=CUT + 1)
    with pytest.raises(ValueError, match="where a tumbling window begins"):
        pipeline(window=Hopping(10, 5), begins_ms=CUT)
    with pytest.raises(ValueError, match="no roll-ups"):
        pipeline(begins_ms=CUT, rollups=(RollUp(),))
