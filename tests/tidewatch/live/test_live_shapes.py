"""Distributions by site: merged exactly, whatever the order, and drawn truly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import WindowSummary
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from tidewatch.live.blocks import density, ridge, sparkline
from tidewatch.live.shapes import LEVELS, Shapes

MAPPING = LogMapping(0.01)
KEY = ("p", "north", "temperature")


def summary(sensor: str, end: int, values: list[float], site: str = "north") -> WindowSummary:
    codes, counts = np.unique(MAPPING.index(np.array(values)), return_counts=True)
    return WindowSummary(
        id=f"p|{sensor}|{end}", pipeline="p", group=sensor, labels={"site": site, "quantity": "temperature"},
        start=end - 10, end=end, revision=0, count=len(values), sum=0.0, mean=0.0, variance=0.0, min=min(values),
        max=max(values), first=0.0, last=0.0, quantiles={}, alpha=0.01,
        sketch=encode_many(MAPPING, np.array([0, len(codes)]), codes, counts)[0],
    )  # fmt: skip


values = st.lists(st.floats(-100, 100), min_size=1, max_size=20)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([10, 20, 30]), values), min_size=1, max_size=8))
def test_merging_is_exact_in_any_order(windows: list[tuple[int, list[float]]]) -> None:
    summaries = [summary(f"s{i}", end, some) for i, (end, some) in enumerate(windows)]
    forth, back = Shapes(), Shapes()
    forth.take(summaries)
    for one in reversed(summaries):
        back.take([one])
    shape = forth.shape(KEY, 3)
    assert shape == back.shape(KEY, 3)
    assert shape is not None
    everything = np.sort(np.concatenate([some for _, some in windows]))
    assert (shape.count, shape.edges[0][0], shape.edges[-1][1]) == (
        len(everything),
        everything[0],
        everything[-1],
    )
    exact = np.quantile(everything, LEVELS, method="inverted_cdf")
    # Near zero one bin holds all, from -1e-9 to 1e-9.
    assert np.all(np.abs(np.array(shape.quantiles) - exact) <= 2 * 0.01 / 0.99 * np.abs(exact) + 2e-9)


def test_a_shape_stays_the_same_object_until_a_window_changes_it() -> None:
    shapes = Shapes()
    shapes.take([summary("a", 10, [1.0])])
    shape = shapes.shape(KEY, 2)
    shapes.take([summary("a", 10, [1.0], site="south")])
    assert shapes.shape(KEY, 2) is shape
    shapes.take([summary("a", 20, [2.0])])
    changed = shapes.shape(KEY, 2)
    assert changed is not None
    assert changed.count == 2


def test_the_reference_is_what_came_before() -> None:
    shapes = Shapes(keep=4)
    for end in range(10, 70, 10):
        shapes.take([summary("a", end, [float(end)])])
    now, before = shapes.shape(KEY, 2), shapes.shape(KEY, 5, skip=2)
    assert now is not None
    assert before is not None
    assert (now.start, now.end, now.count) == (40, 60, 2)
    assert (before.start, before.end, before.count) == (20, 40, 2), "older windows than four are forgotten"
    assert shapes.shape(("p", "south", "temperature"), 1) is None
    assert shapes.shape(KEY, 1, skip=4) is None


def test_sites_are_kept_apart() -> None:
    shapes = Shapes()
    shapes.take([summary("a", 10, [1.0]), summary("b", 10, [2.0], "south"), summary("c", 10, [3.0])])
    assert [key[1] for key in shapes.keys] == ["north", "south"]
    north = shapes.shape(KEY, 1)
    assert north is not None
    assert (north.count, north.unit) == (2, "degC")


def test_a_density_holds_every_reading_once() -> None:
    shapes = Shapes()
    shapes.take([summary("a", 10, [10.0] * 30 + [20.0] * 10 + [-5.0])])
    shape = shapes.shape(KEY, 1)
    assert shape is not None
    share = density(shape, np.linspace(-10, 30, 41))
    assert share.sum() == pytest.approx(1.0)
    assert share[19:21].sum() == pytest.approx(30 / 41)
    row = ridge(shape, np.array([-10, 0, 15, 30]))
    assert (row[1], row[0] < row[2]) == ("█", True)


def test_a_sparkline_shows_the_last_values() -> None:
    assert sparkline([9, 0, 4, 8], 3) == " ▄█"
    assert sparkline([0, 0], 5) == "  "
    assert sparkline([], 5) == ""
