"""Bins: settled by the edges, whatever guesses them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.mapping import LogMapping

MAPPINGS = [LogMapping(), LogMapping(0.001), LogMapping(0.05, 1.0, 1e3), LogMapping(0.3, 1e-3, 5.0)]


def by_search(mapping: LogMapping, value: float) -> int:
    """The definition: the last edge not above the size, found by search."""
    k = int(np.searchsorted(mapping.edges, abs(value), side="right")) - 1
    if k < 0:
        return mapping.n_side + 1
    return mapping.n_side - k if value < 0 else mapping.n_side + 2 + k


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_edges_and_their_neighbours_fall_where_the_edges_say(mapping: LogMapping) -> None:
    edges = mapping.edges
    values = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)])
    values = np.concatenate([values, -values, [0.0, -0.0, 5e-324, 1e308, np.inf, -np.inf]])
    assert mapping.index(values).tolist() == [by_search(mapping, value) for value in values.tolist()]


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False)), st.sampled_from(MAPPINGS))
def test_any_number_falls_where_the_edges_say(values: list[float], mapping: LogMapping) -> None:
    codes = mapping.index(np.array(values))
    assert codes.tolist() == [by_search(mapping, value) for value in values]
    lower, upper = mapping.bounds
    assert ((lower[codes] <= values) & (values <= upper[codes])).all()


def test_nan_has_no_bin() -> None:
    with pytest.raises(ValueError, match="NaN has no bin"):
        LogMapping().index(np.array([1.0, np.nan]))


def test_the_shape_is_kept() -> None:
    assert LogMapping().index(np.ones((2, 3))).shape == (2, 3)
    assert LogMapping().index(np.empty(0)).dtype == np.int32
