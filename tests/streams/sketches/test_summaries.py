import hashlib
import json

import numpy as np
import pytest

from streams.sketches import accuracy
from streams.sketches.errors import CorruptSketchError, EmptySketchError, SketchError
from streams.sketches.summaries import DistinctHLL, DistinctTheta, FrequentItems, QuantilesKLL, QuantilesREQ

KINDS = [DistinctHLL, DistinctTheta, QuantilesKLL, QuantilesREQ, FrequentItems]


def fed(kind, values):
    summary = kind()
    summary.update([str(v) for v in values] if kind is FrequentItems else values)
    return summary


def answer(summary):
    if isinstance(summary, QuantilesKLL | QuantilesREQ):
        return summary.query([0.1, 0.5, 0.9]).values.tolist()
    return summary.query()


@pytest.mark.parametrize("kind", KINDS)
def test_every_summary_updates_merges_and_survives_its_bytes(kind) -> None:
    # Few enough values for each kind to be exact, so that merged must equal whole.
    whole, part, rest = fed(kind, range(40)), fed(kind, range(25)), fed(kind, range(25, 40))
    part.merge(rest)
    assert answer(part) == answer(whole)
    read = kind.from_bytes(part.to_bytes())
    assert answer(read) == answer(whole)
    read.merge(fed(kind, range(40)))
    read.update(["x"] if kind is FrequentItems else [1])


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_no_image_have_a_typed_error(kind) -> None:
    for bad in (b"", b"xx", bytes(50)):
        with pytest.raises(CorruptSketchError):
            kind.from_bytes(bad)


def test_distinct_counts_are_as_near_as_they_say() -> None:
    for kind in (DistinctHLL, DistinctTheta):
        a, b = fed(kind, range(30_000)), fed(kind, range(20_000, 50_000))
        a.merge(b)
        found = a.query()
        assert found.lower < found.value < found.upper
        # Four standard errors of the coarser kind; the bounds are at two.
        assert found.value == pytest.approx(50_000, rel=0.065)


def test_theta_tells_intersections_and_differences() -> None:
    a, b = fed(DistinctTheta, range(3000)), fed(DistinctTheta, range(2000, 5000))
    assert a.shared(b).value == pytest.approx(1000, rel=0.05)
    assert a.only_here(b).value == pytest.approx(2000, rel=0.05)


def test_quantiles_by_rank_are_within_their_rank_error() -> None:
    x = np.random.default_rng(0).normal(size=50_000)
    for kind in (QuantilesKLL, QuantilesREQ):
        summary = fed(kind, np.append(x, np.nan))
        found = summary.query([0.05, 0.5, 0.95])
        ranks = np.searchsorted(np.sort(x), found.values) / len(x)
        assert np.abs(ranks - [0.05, 0.5, 0.95]).max() <= found.rank_error
        assert summary.rank(0.0) == pytest.approx(0.5, abs=found.rank_error)


def test_frequent_items_are_ordered_and_bounded() -> None:
    summary = FrequentItems()
    summary.add("b", 5)
    summary.add("a", 5)
    summary.update(["c"])
    assert [(f.item, f.lower, f.upper) for f in summary.query()] == [("a", 5, 5), ("b", 5, 5), ("c", 1, 1)]
    noisy = FrequentItems(6)
    noisy.update([f"rare{i}" for i in range(500)] + ["often"] * 400)
    top = noisy.query(all_candidates=True)[0]
    assert top.item == "often"
    assert top.lower <= 400 <= top.upper
    assert top.upper - top.lower <= noisy.epsilon * 900


def test_bad_input_has_typed_errors() -> None:
    for kind in (QuantilesKLL, QuantilesREQ):
        with pytest.raises(EmptySketchError):
            kind().query([0.5])
        with pytest.raises(SketchError):
            fed(kind, [1.0]).query([2.0])
        with pytest.raises(SketchError):
            kind(1)
    for kind in (DistinctHLL, DistinctTheta, FrequentItems):
        with pytest.raises(SketchError):
            kind(40)
    with pytest.raises(SketchError):
        FrequentItems().add("a", -1)


def load(refdata, name: str) -> dict:
    return json.loads((refdata / "stats" / "cases" / f"{name}.json").read_text())


@pytest.mark.reference
def test_images_of_fixed_streams(refdata) -> None:
    case = load(refdata, "P08_datasketches_interop")
    given, known = case["input"], case["expected"]
    probs = given["probs"]
    kll = fed(QuantilesKLL, given["quantile_stream"])
    assert kll.to_bytes().hex() == known["kll_doubles"]["hex"]
    read = QuantilesKLL.from_bytes(bytes.fromhex(known["kll_doubles"]["hex"]))
    assert read.query(probs).values.tolist() == known["kll_doubles"]["quantiles_incl"]
    assert read.query(probs, inclusive=False).values.tolist() == known["kll_doubles"]["quantiles_excl"]
    assert read.rank(50.0) == pytest.approx(known["kll_doubles"]["rank_50_incl"], abs=1e-9)
    req = QuantilesREQ.from_bytes(bytes.fromhex(known["req_floats_hra"]["hex"]))
    assert req.query(probs).values.tolist() == known["req_floats_hra"]["quantiles_incl"]
    hll = fed(DistinctHLL, range(5000))
    image = known["hll8_lgk12"]
    assert hll.to_bytes().hex() == image["hex"]
    for summary in (hll, DistinctHLL.from_bytes(bytes.fromhex(image["hex"]))):
        found = summary.query()
        assert (found.value, found.lower, found.upper) == pytest.approx(
            (image["estimate"], image["lb2"], image["ub2"]), rel=1e-9
        )
    theta = fed(DistinctTheta, range(5000))
    assert hashlib.sha256(theta.to_bytes()).hexdigest() == known["theta_lgk12"]["hex_sha256"]
    assert DistinctTheta.from_bytes(theta.to_bytes()).query().value == known["theta_lgk12"]["estimate"]
    items = FrequentItems(6)
    items.update(f"item{i % 7 if i % 3 else i}" for i in range(400))
    assert items.to_bytes().hex() == known["frequent_strings_lgmax6"]["hex"]
    read_items = FrequentItems.from_bytes(items.to_bytes())
    expected = {tuple(row) for row in known["frequent_strings_lgmax6"]["top"]}
    assert {(f.item, f.estimate, f.lower, f.upper) for f in read_items.query()} >= expected
    assert items.epsilon == known["frequent_strings_lgmax6"]["epsilon"]


@pytest.mark.reference
def test_error_tables(refdata) -> None:
    known = load(refdata, "P12_sketch_error_tables")["expected"]
    for table, function in (("kll", accuracy.kll_rank_error), ("quantiles", accuracy.classic_rank_error)):
        for k, errors in known[table].items():
            assert function(int(k)) == pytest.approx(errors["single"], abs=1e-12)
            assert function(int(k), pmf=True) == pytest.approx(errors["pmf"], abs=1e-12)
    for k, bounds in known["req_lower_bounds"].items():
        for rank, bound in bounds.items():
            error = accuracy.req_standard_error(int(k), float(rank))
            assert float(rank) - error == pytest.approx(bound, abs=1e-12)
    for table, function in (
        ("hll_rse", accuracy.hll_standard_error),
        ("theta_rse", accuracy.theta_standard_error),
        ("cpc_rse", accuracy.cpc_standard_error),
        ("freq_eps", accuracy.frequent_items_error),
    ):
        for lg_k, error in known[table].items():
            assert function(int(lg_k)) == pytest.approx(error, abs=1e-12), (table, lg_k)
