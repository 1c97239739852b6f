"""Sketches read and judged together: each as it would be by itself, and a damaged one refused wherever it stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.codes import decode_many, encode_many, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.sketches.sketch import Sketch

MAPPING = LogMapping(0.01)
LEVELS = np.array([0.0, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0])
ROW = st.dictionaries(
    st.integers(0, MAPPING.n_bins - 1), st.integers(1, 5) | st.integers(1, 1 << 40), min_size=1, max_size=12
)
ROWS = st.lists(ROW, min_size=1, max_size=6)


def together(rows):
    """Return rows of counts by code as one matrix (indptr, codes, counts)."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    codes = np.array([code for row in rows for code in sorted(row)], np.int32)
    counts = np.array([row[code] for row in rows for code in sorted(row)], np.int64)
    return indptr, codes, counts


def extremes(rows):
    """Return a minimum and a maximum in the outermost bins of each row."""
    lower, upper = MAPPING.bounds
    low = np.array([np.clip(upper[min(row)], -1e300, 1e300) for row in rows])
    return low, np.maximum(low, np.array([np.clip(lower[max(row)], -1e300, 1e300) for row in rows]))


@settings(deadline=None, max_examples=150)
@given(ROWS)
def test_a_row_has_the_same_bytes_and_quantiles_whatever_rows_it_is_among(rows):
    low, high = extremes(rows)
    encoded = encode_many(MAPPING, *together(rows))
    quantiles = quantiles_many(MAPPING, *together(rows), low, high, LEVELS)
    indptr, codes, counts = decode_many(MAPPING, encoded)
    for i, row in enumerate(rows):
        single = together([row])
        assert encode_many(MAPPING, *single) == [encoded[i]]
        alone = quantiles_many(MAPPING, *single, low[i : i + 1], high[i : i + 1], LEVELS)
        assert alone[0].tobytes() == quantiles[i].tobytes()
        here = slice(indptr[i], indptr[i + 1])
        for found, expected, read in zip(
            (codes[here], counts[here]), single[1:], decode_many(MAPPING, [encoded[i]])[1:], strict=True
        ):
            assert found.tolist() == expected.tolist() == read.tolist()


def readable(sketch: bytes) -> bool:
    try:
        decode_many(MAPPING, [sketch])
    except ValueError:
        return False
    return True


@settings(deadline=None, max_examples=300)
@given(ROWS, st.integers(0, 5), st.data())
def test_bytes_are_read_among_others_as_they_are_alone(rows, place, data):
    """A damaged sketch neither takes from its neighbours nor is completed by them."""
    encoded = encode_many(MAPPING, *together(rows))
    header, body = encoded[0][:9], encoded[place % len(rows)][9:]
    damaged = header + data.draw(
        st.binary(max_size=12)
        | st.just(body[:-1])
        | st.just(body + b"\x80")
        | st.just(body + b"\x01")
        | st.just(body + b"\x00\x01")
    )
    mixed = [*encoded, damaged, *encoded, damaged]
    if not readable(damaged):
        with pytest.raises(ValueError, match="a sketch"):
            decode_many(MAPPING, mixed)
        return
    indptr, codes, counts = decode_many(MAPPING, mixed)
    for i, sketch in enumerate(mixed):
        here = slice(indptr[i], indptr[i + 1])
        _, own_codes, own_counts = decode_many(MAPPING, [sketch])
        assert codes[here].tolist() == own_codes.tolist()
        assert counts[here].tolist() == own_counts.tolist()
        assert (own_codes < MAPPING.n_bins).all()
        assert (np.diff(own_codes) > 0).all()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x05", "cut short"),
        (b"\x05\x81", "cut short"),
        (b"\x05\x00", "without values"),
        (b"\x05\x01\x00\x01", "not in order"),
        (b"\xff\xff\x03\x01", "does not have"),
        (b"\x05" + b"\xff" * 9 + b"\x01", "63 bits"),
    ],
)
def test_a_damaged_sketch_is_refused_with_its_reason(body, reason):
    header = encode_many(MAPPING, *together([{7: 1}]))[0][:9]
    for sketches in ([header + body], [header + body] * 2, [header + b"\x07\x01", header + body]):
        with pytest.raises(ValueError, match=reason):
            decode_many(MAPPING, sketches)


def test_rows_without_bins_are_read_as_such():
    header = encode_many(MAPPING, *together([{7: 1}]))[0][:9]
    indptr, codes, counts = decode_many(MAPPING, [header, header + b"\x07\x02", header])
    assert (indptr.tolist(), codes.tolist(), counts.tolist()) == ([0, 0, 1, 1], [7], [2])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_quantiles_in_a_matrix_of_rows_lie_between_the_bounds_of_a_sketch(values):
    sketch = Sketch()
    sketch.update(values)
    codes, counts = sketch.rows
    indptr = np.array([0, len(codes)])
    low, high = np.array([sketch.minimum]), np.array([sketch.maximum])
    found = quantiles_many(
        sketch.scheme.mapping, indptr, codes.astype(np.int32), counts, low, high, np.array([0.25, 0.5, 1.0])
    )[0]
    bounds = sketch.quantiles([0.25, 0.5, 1.0])
    assert (bounds.lower <= found).all()
    assert (found <= bounds.upper).all()
