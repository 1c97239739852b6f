import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sketches.errors import (
    CorruptSketchError,
    EmptySketchError,
    InfiniteValueError,
    MappingMismatchError,
    NeverAddedError,
    SketchError,
)
from streams.sketches.hdr import HdrHistogram


def filled(values, lowest: int = 1, highest: int = 10**9, digits: int = 3) -> HdrHistogram:
    histogram = HdrHistogram(lowest, highest, digits)
    histogram.update(values)
    return histogram


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 100))
def test_percentiles_are_right_to_the_digits(values: list[int], digits: int, percent: int) -> None:
    histogram = filled(values, highest=10**15, digits=digits)
    rank = max(int(percent / 100 * len(values) + 0.5), 1)
    exact = sorted(values)[rank - 1]
    assert abs(histogram.percentile(percent) - exact) <= exact * 10**-digits
    assert HdrHistogram.decode(histogram.encode()).counts.tolist() == histogram.counts.tolist()


def test_every_bin_begins_where_the_one_before_ends() -> None:
    histogram = HdrHistogram(4, 10**6, 2)
    low, width = histogram._bins(np.arange(len(histogram.counts)))
    assert (low[1:] == low[:-1] + width[:-1]).all()
    assert (histogram._index(low) == np.arange(len(low))).all()
    assert (histogram._index(low + width - 1) == np.arange(len(low))).all()


def test_histograms_add_and_subtract() -> None:
    a, b = filled([1, 50, 50]), filled([50, 7000])
    a.merge(b)
    a.subtract(b)
    assert a.counts.tolist() == filled([1, 50, 50]).counts.tolist()
    with pytest.raises(NeverAddedError):
        a.subtract(b)
    with pytest.raises(MappingMismatchError):
        a.merge(filled([1], digits=2))


def test_bad_input_has_typed_errors() -> None:
    with pytest.raises(EmptySketchError):
        filled([]).percentile(50)
    with pytest.raises(InfiniteValueError):
        filled([-1])
    with pytest.raises(InfiniteValueError):
        filled([10**9 + 1])
    with pytest.raises(SketchError):
        HdrHistogram(1, 1, 3)
    with pytest.raises(SketchError):
        filled([1]).percentile(101)
    good = filled([1, 2, 3]).encode()
    for bad in ("", "no base64!", good[:-8], base64.b64encode(b"x" * 40).decode()):
        with pytest.raises(CorruptSketchError):
            HdrHistogram.decode(bad)


@pytest.mark.reference
def test_percentiles_and_encoding(refdata) -> None:
    case = json.loads((refdata / "stats/cases/P17_hdr_histogram.json").read_text())
    given_, known = case["input"], case["expected"]
    built = filled(given_["values"], given_["lowest"], given_["highest"], given_["sig"])
    for histogram in (built, HdrHistogram.decode(known["encoded"])):
        found = [histogram.percentile(p) for p in given_["percentiles"]]
        assert found == known["values_at_percentile"]
        assert histogram.count == known["total"]
        assert histogram.mean == pytest.approx(known["mean"], rel=1e-12)
        assert histogram.standard_deviation == pytest.approx(known["stddev"], rel=1e-12)
    # Compressors may differ, what they compress may not.
    ours, theirs = (
        zlib.decompress(base64.b64decode(text)[8:]) for text in (built.encode(), known["encoded"])
    )
    assert ours == theirs
