"""A sketch of keys: bounds of equal load, and the load of any table."""

from __future__ import annotations

import numpy as np
import pytest

from producers.key_sketch import KeySketch
from schemas.ranges import RangeTable


def sketch(keys: list[bytes]) -> KeySketch:
    made = KeySketch()
    made.add(keys)
    return made


def test_bounds_of_many_keys_share_the_rows_evenly() -> None:
    numbers = np.random.default_rng(1).lognormal(0, 1, 40_000)
    keys = [b"%012.6f" % number for number in numbers.tolist()]
    made = sketch(keys)
    table = RangeTable("new", "old", 0, made.bounds(4))
    share = np.bincount(table.partition_of(keys), minlength=4) / len(keys)
    assert np.abs(share - 0.25).max() < 0.02
    assert np.abs(made.loads(table) - share).max() < 0.02
    assert made.rows == len(keys)


def test_few_keys_are_counted_exactly() -> None:
    made = sketch([b"a"] * 10 + [b"b"] * 10 + [b"c"] * 20)
    assert made.bounds(2) == ("c",)
    assert made.loads(RangeTable("new", "old", 0, ("b", "c"))).tolist() == [0.25, 0.25, 0.5]


def test_fewer_keys_than_partitions_are_refused() -> None:
    with pytest.raises(ValueError, match="1 different keys"):
        sketch([b"a"]).bounds(2)
