import json
import math

import numpy as np
import pytest
from ddsketch import ddsketch as theirs
from ddsketch.pb import ddsketch_pb2
from ddsketch.pb.proto import DDSketchProto

from streams.sketches.codes import encode_many
from streams.sketches.datadog import DDSketch, to_datadog, to_rows
from streams.sketches.errors import (
    CorruptSketchError,
    EmptySketchError,
    InfiniteValueError,
    MappingMismatchError,
    SketchError,
)
from streams.sketches.mapping import LogMapping
from streams.sketches.scheme import Scheme
from streams.sketches.sketch import Sketch

LEVELS = np.linspace(0, 1, 41)


def data(n: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.lognormal(0, 2, n) * np.where(rng.random(n) < 0.4, -1, 1)
    x[::50] = 0.0
    return x


def their_sketch(x: np.ndarray) -> theirs.DDSketch:
    sketch = theirs.DDSketch(0.01)
    for value in x.tolist():
        sketch.add(value)
    return sketch


def their_bytes(sketch: theirs.DDSketch) -> bytes:
    return DDSketchProto.to_proto(sketch).SerializeToString()


def read_by_them(message: bytes) -> theirs.BaseDDSketch:
    parsed = ddsketch_pb2.DDSketch()
    parsed.ParseFromString(message)
    return DDSketchProto.from_proto(parsed)


def test_the_same_values_give_the_same_answers_as_theirs() -> None:
    ours, known = DDSketch.of_accuracy(0.01), their_sketch(data())
    ours.update(data())
    assert ours.count == known.count
    for level in LEVELS:
        assert ours.quantile(level) == pytest.approx(known.get_quantile_value(level), rel=1e-12)


def test_messages_are_read_by_either_side() -> None:
    known = their_sketch(data())
    read = DDSketch.from_bytes(their_bytes(known))
    again = read_by_them(read.to_bytes())
    assert DDSketch.from_bytes(read.to_bytes()) == read
    for level in LEVELS:
        expected = known.get_quantile_value(level)
        assert read.quantile(level) == pytest.approx(expected, rel=1e-12)
        assert again.get_quantile_value(level) == pytest.approx(expected, rel=1e-12)


def test_counts_by_index_are_read_too() -> None:
    message = ddsketch_pb2.DDSketch(
        mapping=ddsketch_pb2.IndexMapping(gamma=1.5, indexOffset=0.5),
        positiveValues=ddsketch_pb2.Store(binCounts={-3: 2.0, 7: 1.0}),
        negativeValues=ddsketch_pb2.Store(
            binCounts={2: 4.0}, contiguousBinCounts=[1.0, 0.0, 2.0], contiguousBinIndexOffset=2
        ),
    )
    read = DDSketch.from_bytes(message.SerializeToString())
    assert (read.gamma, read.offset) == (1.5, 0.5)
    assert (read.positive, read.negative) == ({-3: 2.0, 7: 1.0}, {2: 5.0, 4: 2.0})


def test_own_sketches_are_answered_by_theirs_within_both_accuracies() -> None:
    x = data()
    sketch = Sketch(Scheme(alpha=0.01))
    sketch.update(x)
    read = read_by_them(to_datadog(sketch).to_bytes())
    exact = np.quantile(x, LEVELS, method="lower")
    found = np.array([read.get_quantile_value(level) for level in LEVELS])
    assert read.count == len(x)
    assert (np.abs(found - exact) <= 0.01 * np.abs(exact) * (1 + 1e-9)).all()


def test_own_sketches_come_back_from_their_form_bin_for_bin() -> None:
    sketch = Sketch(Scheme(alpha=0.01))
    sketch.update(data())
    message = to_datadog(sketch).to_bytes()
    codes, counts = to_rows(DDSketch.from_bytes(message), sketch.scheme.mapping)
    assert (codes == sketch.rows[0]).all()
    assert (counts == sketch.rows[1]).all()
    assert encode_many(sketch.scheme.mapping, np.array([0, len(codes)]), codes.astype(np.int32), counts)


def test_their_bins_fit_a_mapping_that_begins_on_an_edge() -> None:
    read = DDSketch.from_bytes(their_bytes(their_sketch(data())))
    _, counts = to_rows(read, LogMapping(0.01, min_value=read.gamma**-1000))
    assert counts.sum() == read.count
    with pytest.raises(MappingMismatchError):
        to_rows(read, LogMapping(0.01))
    with pytest.raises(MappingMismatchError):
        to_rows(read, LogMapping(0.02, min_value=read.gamma**-1000))


def test_bins_bound_the_values_in_them() -> None:
    ours = DDSketch.of_accuracy(0.05)
    ours.update([-3.0, 0.0, 2.0, 2.0])
    lower, upper, counts = ours.bins()
    assert counts.tolist() == [1, 1, 2]
    assert (lower < [-3, 0, 2]).all()
    assert (upper >= [-3, 0, 2]).all()


def test_sketches_merge_and_refuse_other_bins() -> None:
    a, b, both = (DDSketch.of_accuracy(0.01) for _ in range(3))
    x = data()
    a.update(x[:900])
    b.update(x[900:])
    both.update(x)
    a.merge(b)
    assert a == both
    with pytest.raises(MappingMismatchError):
        a.merge(DDSketch.of_accuracy(0.02))


def test_bad_input_has_typed_errors() -> None:
    with pytest.raises(EmptySketchError):
        DDSketch.of_accuracy(0.01).quantile(0.5)
    with pytest.raises(InfiniteValueError):
        DDSketch.of_accuracy(0.01).update([np.inf])
    with pytest.raises(SketchError):
        DDSketch.of_accuracy(2.0)
    good = their_bytes(their_sketch(data(50)))
    for bad in (b"", good[:7], good[:40], good[:-3], b"\xff" * 9, b"\x0a\x02\x09\x00"):
        with pytest.raises(CorruptSketchError):
            DDSketch.from_bytes(bad)
    collapsed = Sketch()
    collapsed.collapse()
    with pytest.raises(MappingMismatchError):
        to_datadog(collapsed)
    interpolated = ddsketch_pb2.DDSketch(mapping=ddsketch_pb2.IndexMapping(gamma=1.5, interpolation=3))
    with pytest.raises(CorruptSketchError, match="logarithmic"):
        DDSketch.from_bytes(interpolated.SerializeToString())


@pytest.mark.reference
def test_datadog_reference(refdata) -> None:
    case = json.loads((refdata / "stats/cases/P10_ddsketch_reference.json").read_text())
    given, known = case["input"], case["expected"]
    read = DDSketch.from_bytes(bytes.fromhex(known["protobuf_hex"]))
    built = DDSketch.of_accuracy(given["alpha"])
    built.update(given["data"])
    assert built == read
    assert (read.gamma, read.count, read.zeros) == (known["gamma"], known["count"], known["zero_count"])
    for level, expected, exact in zip(
        given["probs"], known["quantiles"], known["exact_lower_quantiles"], strict=True
    ):
        assert built.quantile(level) == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert abs(built.quantile(level) - exact) <= given["alpha"] * abs(exact) * (1 + 1e-9)
    one, ten = DDSketch.of_accuracy(given["alpha"]), DDSketch.of_accuracy(given["alpha"])
    one.update([1.0])
    ten.update([10.0])
    assert list(one.positive) == [known["positive_bin_of_1_0"]]
    assert list(ten.positive) == [known["positive_bin_of_10"]]
    sketch = Sketch(Scheme(alpha=given["alpha"]))
    sketch.update(given["data"])
    assert math.isclose(sketch.sum, known["sum"], rel_tol=1e-12)
