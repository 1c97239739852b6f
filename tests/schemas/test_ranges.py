"""Range tables: each key on one partition, and bounds that make the heaviest part as light as it can be."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ranges import RangeTable, even_bounds


def heaviest(weights: list[int], cuts: tuple[int, ...]) -> int:
    return max(sum(weights[a:b]) for a, b in itertools.pairwise([0, *cuts, len(weights)]))


@settings(max_examples=200, deadline=None)
@given(weights=st.lists(st.integers(0, 50), min_size=1, max_size=9), partitions=st.integers(1, 4))
def test_no_other_cuts_have_a_lighter_heaviest_part(weights: list[int], partitions: int) -> None:
    cuts = even_bounds(np.array(weights, np.int64), partitions)
    parts = min(partitions, len(weights))
    assert len(cuts) == parts - 1
    assert cuts == sorted(set(cuts) - {0, len(weights)})
    best = min(heaviest(weights, c) for c in itertools.combinations(range(1, len(weights)), parts - 1))
    assert heaviest(weights, tuple(cuts)) == best


def test_a_heavy_key_gets_a_part_of_its_own() -> None:
    assert even_bounds(np.array([1, 1, 90, 1, 1, 6]), 3) == [2, 3]


@settings(max_examples=100, deadline=None)
@given(
    bounds=st.lists(st.text(st.characters(codec="utf-8"), max_size=3), unique=True, max_size=5),
    keys=st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=20),
)
def test_keys_lie_between_the_bounds_of_their_partition_in_the_order_of_their_bytes(
    bounds: list[str], keys: list[str]
) -> None:
    table = RangeTable("new", "old", 0, tuple(sorted(bounds, key=str.encode)))
    encoded = [key.encode() for key in keys]
    for key, partition in zip(encoded, table.partition_of(encoded).tolist(), strict=True):
        assert partition == 0 or table.bounds[partition - 1].encode() <= key
        assert partition == len(bounds) or key < table.bounds[partition].encode()
    assert msgspec.json.decode(msgspec.json.encode(table), type=RangeTable) == table


def test_bounds_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValueError, match="must ascend"):
        RangeTable("new", "old", 0, ("b", "a"))
