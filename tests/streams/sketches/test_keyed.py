import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.errors import InfiniteValueError, MappingMismatchError, SketchError
from streams.sketches.keyed import KeyedSketches
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(0.0)), max_size=80
)


def alone(rows, key: int, scheme: Scheme) -> Sketch:
    sketch = Sketch(scheme)
    sketch.update([v for k, v in rows if k == key])
    return sketch


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([1.0, 1e-3, 1e-6]), st.integers(1, 40))
def test_each_key_has_the_sketch_of_its_own_values(rows, resolution: float, cut: int) -> None:
    scheme = Scheme(alpha=0.05, resolution=resolution)
    sketches = KeyedSketches(5, scheme)
    for begin in range(0, len(rows), cut):
        part = rows[begin : begin + cut]
        sketches.update([k for k, _ in part], [v for _, v in part])
    for key in range(5):
        assert sketches.sketch(key) == alone(rows, key, scheme)


def test_many_chunks_of_mixed_sizes_are_summed_exactly() -> None:
    rng = np.random.default_rng(0)
    scheme = Scheme(alpha=0.1, resolution=1e-6)
    sketches = KeyedSketches(3, scheme)
    whole = [Sketch(scheme) for _ in range(3)]
    for scale in [1.0, 1e-5, 4000.0, 1e9, 1.0]:
        keys, values = rng.integers(0, 3, 70_000), rng.normal(0, scale, 70_000)
        sketches.update(keys, values)
        for key in range(3):
            whole[key].update(values[keys == key])
    assert [sketches.sketch(key) for key in range(3)] == whole


def test_tables_merge_key_by_key() -> None:
    a, b = KeyedSketches(2), KeyedSketches(2)
    a.update([0, 1, 1], [1.0, 2.0, 3.0])
    b.update([1], [-4.0])
    a.merge(b)
    both = Sketch()
    both.update([2.0, 3.0, -4.0])
    assert a.sketch(1) == both
    indptr, codes, counts = a.rows()
    assert indptr.tolist() == [0, 1, 4]
    assert (codes[1:] == both.rows[0]).all()
    assert counts.sum() == 4


def test_bad_rows_have_typed_errors_and_change_nothing() -> None:
    sketches = KeyedSketches(2)
    for keys, values in (([0], [1.0, 2.0]), ([2], [1.0]), ([-1], [1.0])):
        with pytest.raises(SketchError):
            sketches.update(keys, values)
    with pytest.raises(InfiniteValueError):
        sketches.update([0, 1], [1.0, np.inf])
    assert sketches.sketch(0) == Sketch()
    sketches.update([], [])
    with pytest.raises(MappingMismatchError):
        sketches.merge(KeyedSketches(2, Scheme(alpha=0.1)))
    with pytest.raises(SketchError):
        sketches.merge(KeyedSketches(3))
    assert len(sketches) == 2
