"""The recount of the demo: right by hand and by brute force, and every kind of difference is seen."""

from __future__ import annotations

import json
import math
from collections import defaultdict

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event_types import SENSOR_READING
from schemas.results import WindowSummary
from streams.pipeline import Pipeline, Tumbling
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from tidewatch.demo.recount import Recount, recount
from tidewatch.demo.verdict import compare_places, compare_windows

PIPELINE = Pipeline(
    name="p", source="s", event=SENSOR_READING, group_by=("sensor_id", "quantity"), window=Tumbling(10_000)
)


def reading(sensor: str, time: int, value: object, unit: str = "degC") -> bytes:
    return json.dumps(
        {
            "sensor_id": sensor, "site": "x", "quantity": "temperature", "unit": unit, "value": value, "time": time,
        }
    ).encode()  # fmt: skip


def counted(values: list[bytes]) -> Recount:
    return recount([7 + 2 * i for i in range(len(values))], values, size_ms=10_000, out_of_orderness_ms=2_000)


def test_windows_late_rows_and_dead_letters_by_hand() -> None:
    found = counted(
        [
            reading("a", 1_000, 68.0, "degF"),
            reading("a", 500, 10.0),
            b"{",
            reading("a", 9_000, 500.0),
            reading("b", 12_000, 1.0),  # the watermark is 10,000 now
            reading("a", 9_999, 3.0),  # late
            reading("a", 13_000, 4.0, "parsec"),
            reading("b", 22_000, 2.0),
        ]
    )
    windows = found.windows
    assert (windows.group, windows.end.tolist()) == (
        ["a/temperature", "b/temperature"],
        [10_000, 20_000],
    )
    assert windows.values()[0].tolist() == [2, 30.0, 15.0, 25.0, 10.0, 20.0, 10.0, 20.0]
    assert found.late.tolist() == [17]
    assert found.dead.tolist() == [11, 13, 19]


def test_nothing_gives_nothing() -> None:
    assert len(counted([]).windows) == len(counted([b"x"]).windows) == 0
    assert counted([b"x"]).dead.tolist() == [7]


rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 60_000), st.floats(-50, 50)), min_size=1, max_size=60
)


@settings(deadline=None)
@given(rows)
def test_a_recount_agrees_with_a_plain_loop(rows: list[tuple[str, int, float]]) -> None:
    windows: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    largest, late = -math.inf, []
    for number, (sensor, time, value) in enumerate(rows):
        end = time - time % 10_000 + 10_000
        if end <= largest - 2_000:
            late.append(7 + 2 * number)
        else:
            windows[f"{sensor}/temperature", end].append((time, value))
        largest = max(largest, time)
    closed = {key: some for key, some in sorted(windows.items()) if key[1] <= largest - 2_000}
    found = counted([reading(*row) for row in rows])
    assert found.late.tolist() == late
    assert list(zip(found.windows.group, found.windows.end.tolist(), strict=True)) == list(closed)
    for values, some in zip(found.windows.values(), closed.values(), strict=True):
        column = np.array([value for _, value in some])
        first, last = min(some, key=lambda r: r[0])[1], sorted(some, key=lambda r: r[0])[-1][1]
        expected = [
            len(some),
            column.sum(),
            column.mean(),
            column.var(),
            column.min(),
            column.max(),
            first,
            last,
        ]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


def published(truth: Recount) -> list[WindowSummary]:
    """What a right pipeline would publish; the sketch holds as many values as there are."""
    mapping, windows = LogMapping(0.01), truth.windows
    found = []
    for group, end, values in zip(windows.group, windows.end.tolist(), windows.values(), strict=True):
        names = ("count", "sum", "mean", "variance", "min", "max", "first", "last")
        numbers = dict(zip(names, values.tolist(), strict=True)) | {"count": int(values[0])}
        codes, counts = mapping.index(np.array([5.0])), np.array([numbers["count"]])
        sketch = encode_many(mapping, np.array([0, 1]), codes, counts)[0]
        found.append(
            WindowSummary(
                id=f"p|{group}|{end - 10_000}|{end}|0",
                pipeline="p",
                group=group,
                labels={},
                start=end - 10_000,
                end=end,
                revision=0,
                quantiles={},
                alpha=0.01,
                sketch=sketch,
                **numbers,
            )
        )
    return found


TRUTH = counted([reading("a", 1_000 * i, i * 1.5) for i in range(40)])


def test_right_results_do_not_differ() -> None:
    verdict = compare_windows(PIPELINE, [TRUTH], published(TRUTH))
    assert (verdict.windows, verdict.right, verdict.differences) == (3, True, [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mean": 1.0}, "mean: 1.0, recounted"),
        ({"variance": 12.375 * (1 + 3e-9)}, "variance"),
        ({"count": 9}, "count"),
        ({"last": 0.0}, "last: 0.0"),
        ({"id": "p|b/temperature|0|10000|0"}, "that should not be there: p|b/temperature|0|10000|0"),
    ],
)
def test_one_wrong_field_is_found(change: dict[str, object], told: str) -> None:
    results = published(TRUTH)
    results[0] = msgspec.structs.replace(results[0], **change)
    verdict = compare_windows(PIPELINE, [TRUTH], results)
    assert not verdict.right
    assert any(told in text for text in verdict.differences), verdict.differences


def test_a_window_missing_doubled_or_with_a_wrong_sketch_is_found() -> None:
    results = published(TRUTH)
    assert compare_windows(PIPELINE, [TRUTH], results[1:]).differences == [f"window missing: {results[0].id}"]
    assert compare_windows(PIPELINE, [TRUTH], [*results, results[1]]).differences == [
        f"window published more than once: {results[1].id}"
    ]
    spoilt = msgspec.structs.replace(
        results[2], sketch=published(counted([reading("a", 0, 1), reading("a", 20_000, 1)]))[0].sketch
    )
    assert "sketch" in compare_windows(PIPELINE, [TRUTH], [*results[:2], spoilt]).differences[0]


def test_late_and_dead_records_are_compared_one_by_one() -> None:
    assert compare_places("late record", {(0, 1), (1, 5)}, [(1, 5), (0, 1)]) == []
    found = compare_places("late record", {(0, 1), (1, 5)}, [(1, 5), (1, 5), (2, 2)])
    assert found == [
        "late record missing: (0, 1)",
        "late record that should not be there: (2, 2)",
        "late record published more than once: (1, 5)",
    ]
    many = compare_places("late record", {(0, i) for i in range(9)}, [])
    assert (len(many), many[-1]) == (6, "late record missing: 4 more")
