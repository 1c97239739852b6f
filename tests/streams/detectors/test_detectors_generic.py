"""What every registered detector must do, whatever it detects."""

import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from streams import detectors
from streams.detectors.base import Detector, StateError
from streams.detectors.registry import DETECTORS, build

SMALL = {"cusum": {"warmup": 40}, "frozen-reference": {"reference": 60}, "tangent-chart": {"reference": 20}}
START = 1_700_000_000_000


def new(name):
    return build(name, **SMALL.get(name, {}))


def observations(name, n=260, seed=1):
    """Return observations that change in level and spread half way."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(size=n // 2), rng.normal(8, 3, n - n // 2)])
    if DETECTORS[name].takes == "distributions":
        values = values[:, None] + np.sort(rng.normal(size=(n, 7)), axis=1)
    return values, START + np.arange(n) * 1_800_000


def test_every_detector_is_registered():
    members = {}
    for module in pkgutil.iter_modules(detectors.__path__):
        members |= vars(importlib.import_module(f"{detectors.__name__}.{module.name}"))
    kinds = {m for m in members.values() if inspect.isclass(m) and issubclass(m, Detector)}
    concrete = {kind for kind in kinds if hasattr(kind, "kind")}
    assert concrete == set(DETECTORS.values())


def test_unknown_detector_and_parameter_are_told():
    with pytest.raises(ValueError, match="there are adwin"):
        build("nonsense")
    with pytest.raises(ValueError, match="unexpected"):
        build("cusum", nonsense=1)


@pytest.mark.parametrize("name", DETECTORS)
class TestEveryDetector:
    def test_nothing_gives_nothing(self, name):
        shape = (0,) if DETECTORS[name].takes == "values" else (0, 7)
        detector = new(name)
        assert detector.update(np.empty(shape)).shape == (0,)
        assert detector.snapshot() == new(name).snapshot()

    def test_shapes_are_checked(self, name):
        wrong = (3, 7) if DETECTORS[name].takes == "values" else (3,)
        with pytest.raises(ValueError, match="takes"):
            new(name).update(np.zeros(wrong))
        x, times = observations(name, 6)
        with pytest.raises(ValueError, match="as many times"):
            new(name).update(x, times[:2])

    def test_missing_values_leave_no_trace(self, name):
        x, times = observations(name)
        holed = np.insert(x, [3, 70, 200, 200], np.nan, axis=0)
        holed[4 if x.ndim == 1 else 71] = np.nan if x.ndim == 1 else np.inf
        holed = np.insert(x, [3, 70, 200, 200], [[np.nan], [np.inf], [-np.inf], [np.nan]] if x.ndim > 1 else
                          [np.nan, np.inf, -np.inf, np.nan], axis=0)  # fmt: skip
        late = np.insert(times, [3, 70, 200, 200], times[[3, 70, 200, 200]])
        with_holes, without = new(name), new(name)
        scores = with_holes.update(holed, late)
        present = np.isfinite(holed) if x.ndim == 1 else np.isfinite(holed).all(axis=1)
        np.testing.assert_array_equal(scores[present], without.update(x, times))
        assert (scores[~present] == 0).all()
        assert with_holes.snapshot() == without.snapshot()

    def test_scores_are_finite_and_not_negative(self, name):
        x, times = observations(name)
        scores = new(name).update(x, times)
        assert scores.shape == (len(x),)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()

    def test_constants_and_huge_values_are_survived(self, name):
        x, times = observations(name)
        for values in (np.zeros_like(x), x * 1e300, x * 1e-300):
            with np.errstate(over="ignore"):
                assert not np.isnan(new(name).update(values, times)).any()

    @settings(deadline=None, max_examples=10)
    @given(cuts=st.lists(st.integers(0, 260), max_size=4))
    def test_cuts_and_restores_change_nothing(self, name, cuts):
        x, times = observations(name)
        whole = new(name)
        expected = whole.update(x, times)
        scores, state = [], new(name).snapshot()
        for rows in np.split(np.arange(len(x)), sorted(cuts)):
            detector = new(name)
            detector.restore(state)
            assert detector.snapshot() == state
            scores.append(detector.update(x[rows], times[rows]))
            state = pickle.loads(pickle.dumps(detector)).snapshot()
        assert np.concatenate(scores).tobytes() == expected.tobytes()
        assert state == whole.snapshot()

    def test_clone_is_new(self, name):
        used = new(name)
        used.update(*observations(name))
        assert clone(used).snapshot() == new(name).snapshot()
        assert repr(clone(used)) == repr(used)

    def test_foreign_and_damaged_snapshots_are_refused(self, name):
        other = build("dummy", seed=5) if name != "dummy" else build("adwin")
        with pytest.raises(StateError, match="not of"):
            new(name).restore(other.snapshot())
        with pytest.raises(StateError, match="no snapshot"):
            new(name).restore(b"damaged")

    def test_a_gross_change_is_found(self, name):
        if name == "dummy":
            pytest.skip("it knows nothing")
        rng = np.random.default_rng(2)
        x = np.concatenate([rng.normal(size=400), rng.normal(60, 25, 200)])
        if DETECTORS[name].takes == "distributions":
            x = x[:, None] + np.linspace(-1, 1, 7)
        alarms = np.flatnonzero(new(name).update(x) >= 1)
        assert ((alarms >= 400) & (alarms < 520)).any()
