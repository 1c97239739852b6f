"""Late rows folded in: every window ends up as if nothing had been late, in however many steps."""

from __future__ import annotations

import ast
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import WindowSummary
from streams.late import LateRow, Place, by_window, folded, late_rows, views_of
from streams.pipeline import Hopping, Pipeline, RollUp, Session, Tumbling
from streams.task import Output
from streams.window_task import WindowTask
from tests.streams.windowing import Row, agree, columns, pipeline, rows_strategy, summaries

WINDOWS = st.sampled_from([Tumbling(10), Hopping(12, 4)])
Published = dict[Place, list[WindowSummary]]


def run(definition: Pipeline, rows: list[Row]) -> tuple[Published, list[LateRow]]:
    task = WindowTask(definition)
    outputs = task.process(columns(rows)) + task.advance(len(rows), 10_000)
    published: Published = defaultdict(list)
    for summary in summaries(outputs):
        published[summary.group, summary.start, summary.end].append(summary)
    return published, letters(definition, [output for output in outputs if output.kind == "late"])


def letters(definition: Pipeline, late: list[Output]) -> list[LateRow]:
    headers = [{name.rsplit(".", 1)[1]: int(value) for name, value in output.headers} for output in late]
    rows = columns([ast.literal_eval((output.value or b"").decode()) for output in late])
    places = [(h["partition"], h["offset"], h["row"]) for h in headers]
    return late_rows(definition, rows, [h["watermark"] for h in headers], places)


def fold(definition: Pipeline, published: Published, rows: list[LateRow]) -> int:
    """Publish what folding gives, and return how many revisions that were."""
    (view, *_) = views_of(definition)
    count = 0
    for place, members in by_window(view, rows, definition.window.size_ms).items():  # type: ignore[union-attr]
        output = folded(view, definition, place, members, published[place])
        if output is not None:
            summary = msgspec.json.decode(output.value or b"", type=WindowSummary)
            assert summary.id not in {known.id for known in published[place]}
            published[place].append(summary)
            count += 1
    return count


def newest(published: Published) -> dict[Place, WindowSummary]:
    return {place: max(found, key=lambda s: s.revision) for place, found in published.items() if found}


@settings(max_examples=80, deadline=None)
@given(rows=rows_strategy, window=WINDOWS, lateness=st.sampled_from([0, 6]), data=st.data())
def test_windows_end_up_complete_in_however_many_steps(
    rows: list[Row], window: Tumbling | Hopping, lateness: int, data: st.DataObject
) -> None:
    definition = pipeline(lateness, window)
    members: dict[Place, list[tuple[int, int, float]]] = defaultdict(list)
    for i, (sensor, time, value) in enumerate(rows):
        name = sensor.replace("/", "%2F") + "/x"
        for start in range(time - time % window.every_ms, time - window.size_ms, -window.every_ms):
            members[name, start, start + window.size_ms].append((time, i, value))
    published, late = run(definition, rows)
    stepwise = {place: list(found) for place, found in published.items()}
    fold(definition, published, late)
    assert fold(definition, published, late) == 0, "a second replay changes nothing"
    complete = newest(published)
    assert complete.keys() == members.keys()
    for place, expected in members.items():
        agree(complete[place], expected)
    cut = data.draw(st.integers(0, len(late)))
    in_steps: Published = defaultdict(list, stepwise)
    fold(definition, in_steps, late[:cut])
    fold(definition, in_steps, late)
    without_revision = [
        {place: msgspec.structs.replace(s, id="", revision=0) for place, s in newest(p).items()}
        for p in (published, in_steps)
    ]
    assert without_revision[0] == without_revision[1]


def test_letters_read_twice_count_once() -> None:
    definition = pipeline()
    published, late = run(definition, [("a", 1, 1.0), ("a", 30, 1.0), ("a", 2, 5.0)])
    fold(definition, published, [*late, *late])
    (revision,) = [s for found in published.values() for s in found if s.late]
    assert (revision.count, revision.sum, revision.late, revision.revision, revision.last) == (
        2,
        6.0,
        1,
        1,
        5.0,
    )


def test_a_window_of_late_rows_alone_is_published_for_the_first_time() -> None:
    definition = pipeline()
    published, late = run(definition, [("a", 30, 1.0), ("b", 2, 5.0)])
    fold(definition, published, late)
    (first,) = [s for found in published.values() for s in found if s.late]
    assert (first.id, first.labels, first.count) == (
        "p|b/x|0|10|0",
        {"sensor_id": "b", "quantity": "x", "site": "x"},
        1,
    )


def test_late_rows_reach_the_windows_of_roll_ups() -> None:
    definition = pipeline(rollups=(RollUp(),))
    _, late = run(definition, [("a", 30, 1.0), ("b", 2, 5.0), ("a", 3, 7.0)])
    _, total = views_of(definition)
    ((place, members),) = by_window(total, late, 10).items()
    output = folded(total, definition, place, members, [])
    summary = msgspec.json.decode(output.value or b"", type=WindowSummary)  # type: ignore[union-attr]
    assert (place, summary.pipeline, summary.group, summary.sum) == (("all", 0, 10), "p:all", "all", 12.0)


def test_session_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="sessions already published"):
        late_rows(pipeline(window=Session(5)), columns([("a", 1, 1.0)]), [9], [(0, 0, 0)])
