import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.errors import CorruptSketchError, MappingMismatchError, SketchError
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch
from streams.sketches.wire import from_bytes, merge_bytes, to_bytes

SCHEME = Scheme(alpha=0.01, resolution=1e-3)


def sketched(values, budget: int | None = None) -> Sketch:
    sketch = Sketch(SCHEME, budget)
    sketch.update(values)
    return sketch


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e9, 1e9) | st.just(0.0) | st.just(float("nan")), max_size=50))
def test_a_sketch_survives_its_bytes(values: list[float]) -> None:
    sketch = sketched(values)
    assert from_bytes(to_bytes(sketch)) == sketch
    assert to_bytes(from_bytes(to_bytes(sketch))) == to_bytes(sketch)


def test_large_counts_budgets_collapses_and_loose_ranges_survive() -> None:
    sketch = sketched(np.repeat([1.0, 2.0, -5.0], [300, 70_000, 3]), budget=64)
    for _ in range(18):
        sketch.merge(sketch.copy())
    sketch.subtract(sketched([1.0]))
    sketch.collapse()
    again = from_bytes(to_bytes(sketch))
    assert again == sketch
    assert (again.budget, again.level, again.exact_range) == (64, 1, False)
    assert sketch.counts.max() > 1 << 32


def test_a_sketch_of_one_per_cent_is_about_a_kilobyte() -> None:
    x = np.random.default_rng(0).lognormal(1, 1, 100_000)
    assert len(to_bytes(sketched(x))) < 1200


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.floats(-1e5, 1e5), max_size=30), min_size=1, max_size=6))
def test_merging_bytes_is_merging_sketches(parts: list[list[float]]) -> None:
    merged = Sketch(SCHEME)
    for part in parts:
        merged.merge(sketched(part))
    assert merge_bytes([to_bytes(sketched(part)) for part in parts]) == merged


def test_sketches_of_different_collapse_merge_from_bytes_too() -> None:
    first, second = sketched([1.0, 2.0]), sketched([3.0])
    second.collapse()
    assert merge_bytes([to_bytes(first), to_bytes(second)]).level == 1
    assert merge_bytes([to_bytes(second), to_bytes(first)]).count == 3


def test_bytes_that_are_no_sketch_have_typed_errors() -> None:
    good = to_bytes(sketched([1.0, -2.0, 1e6]))
    for bad in (
        b"",
        b"\x02",
        good[:-1],
        good[:60],
        good + b"x",
        b"\x07" + good[1:],
        b"\x02" + bytes(len(good) - 1),
    ):
        with pytest.raises(CorruptSketchError):
            from_bytes(bad)
    with pytest.raises(MappingMismatchError):
        merge_bytes([good, to_bytes(Sketch(Scheme(alpha=0.02)))])
    with pytest.raises(SketchError):
        merge_bytes([])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_to_bytes_raises_anything_else(data) -> None:
    good = bytearray(to_bytes(sketched([1.0, 2.0, -3.0])))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    # A damaged maximum or alpha could ask for tables without end: such fields are kept.
    good[12:44] = to_bytes(sketched([]))[12:44]
    with contextlib.suppress(SketchError):
        from_bytes(bytes(good))
