"""What is published of a window does not depend on the windows that are published with it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.frames import Firing
from streams.groups import Groups
from streams.merging import merged, reduced, selected
from streams.sketches.mapping import LogMapping
from streams.summaries import Summaries
from streams.windows import Closed, Window

MAPPING = LogMapping(0.01)
LEVELS = (0.01, 0.25, 0.5, 0.99)
NAMES = 5
VALUES = st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e-12, 1e100])
ROWS = st.lists(st.tuples(st.integers(0, NAMES - 1), VALUES, st.integers(0, 9)), min_size=1, max_size=60)


def window(rows: list[tuple[int, float, int]]) -> Closed:
    group, value, time = (np.array(column) for column in zip(*rows, strict=True))
    held = Window(0)
    value = value.astype(np.float64)
    held.update(group.astype(np.int32), value, time.astype(np.int64), MAPPING.index(value))
    return held.closed()


def published(closed: Closed) -> list[bytes]:
    groups = Groups(("name",), ())
    groups.add([(f"s{i}",) for i in range(NAMES)])
    outputs = Summaries("p", groups, MAPPING, LEVELS).of(Firing.of(10, 0, 10, 0, closed))
    return [output.value or b"" for output in outputs]


@settings(deadline=None, max_examples=150)
@given(ROWS)
def test_a_summary_has_the_same_bytes_whatever_is_published_with_it(
    rows: list[tuple[int, float, int]],
) -> None:
    closed = window(rows)
    whole = published(closed)
    assert len(whole) == len(closed.group)
    for i, code in enumerate(closed.group.tolist()):
        assert published(selected(closed, np.array([i]))) == [whole[i]]
        assert published(window([row for row in rows if row[0] == code])) == [whole[i]]
    backwards = published(selected(closed, np.arange(len(whole))[::-1]))
    assert backwards[::-1] == whole


@settings(deadline=None, max_examples=100)
@given(ROWS, ROWS)
def test_merging_two_windows_merges_each_group_as_if_alone(
    first: list[tuple[int, float, int]], second: list[tuple[int, float, int]]
) -> None:
    total = merged(window(first), window(second))
    whole = published(total)
    for i, code in enumerate(total.group.tolist()):
        parts = [[row for row in rows if row[0] == code] for rows in (first, second)]
        windows = [window(part) for part in parts if part]
        single = windows[0] if len(windows) == 1 else merged(*windows)
        assert published(single) == [whole[i]]


@settings(deadline=None, max_examples=100)
@given(ROWS, st.lists(st.integers(0, 2), min_size=NAMES, max_size=NAMES))
def test_adding_up_rows_adds_up_each_group_as_if_alone(
    rows: list[tuple[int, float, int]], owner: list[int]
) -> None:
    closed = window(rows)
    group = np.array([owner[code] for code in closed.group.tolist()], np.int32)
    total = reduced(closed, group)
    whole = published(total)
    for i, code in enumerate(total.group.tolist()):
        mine = np.flatnonzero(group == code)
        assert published(reduced(selected(closed, mine), group[mine])) == [whole[i]]
