"""What every estimator of distributions must do: parameters, clone, pickle, as scikit-learn expects."""

import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest
from sklearn.base import clone

from streams import distributions
from streams.distributions.estimator import Estimator

GRID = np.linspace(0.1, 0.9, 9)


def estimators():
    """Discover every public estimator in the package."""
    members = {}
    for module in pkgutil.iter_modules(distributions.__path__):
        members |= vars(importlib.import_module(f"{distributions.__name__}.{module.name}"))
    kinds = {
        member for member in members.values() if inspect.isclass(member) and issubclass(member, Estimator)
    }
    return sorted(kinds - {Estimator}, key=lambda kind: kind.__name__)


def build(kind):
    """Give the grid to whichever parameter asks for one, and nothing else."""
    parameters = inspect.signature(kind).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
    return kind(**dict.fromkeys(required, GRID))


def test_there_are_estimators():
    assert len(estimators()) >= 4


@pytest.mark.parametrize("kind", estimators())
def test_parameters_are_kept_cloned_and_set(kind):
    estimator = build(kind)
    parameters = estimator.get_params()
    copy = clone(estimator)
    assert type(copy) is kind
    assert copy.get_params().keys() == parameters.keys()
    assert repr(copy) == repr(estimator)
    name = next(name for name in parameters if name not in ("grid", "levels", "x"))
    assert getattr(copy.set_params(**{name: 4}), name) == 4
    with pytest.raises(ValueError, match="no parameter"):
        copy.set_params(nonsense=1)


@pytest.mark.parametrize("kind", [k for k in estimators() if hasattr(k, "partial_fit")])
def test_fitted_state_survives_pickling(kind):
    rng = np.random.default_rng(0)
    X = np.sort(rng.gamma(2, 1, (12, 9)), axis=1)
    fitted = build(kind).fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    answer = "transform" if hasattr(kind, "transform") else "predict"
    np.testing.assert_array_equal(getattr(again, answer)(X), getattr(fitted, answer)(X))
    assert again.score(X) == fitted.score(X)
