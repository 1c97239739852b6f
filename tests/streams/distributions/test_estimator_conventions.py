"""What every estimator of distributions must do: parameters, clone, pickle, as scikit-learn expects."""

import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from streams import distributions
from streams.distributions.estimator import Estimator
from streams.distributions.global_regression import GlobalFrechetRegression
from streams.distributions.grid import Grid
from streams.distributions.local_regression import LocalFrechetRegression

LEVELS = np.linspace(0.1, 0.9, 9)
GRID = Grid.midpoints(9)
REQUIRED = {"grid": GRID, "levels": LEVELS, "x": LEVELS, "at": [0.3, 0.7], "bandwidth": 0.3}


def estimators():
    """Discover every public estimator in the package."""
    members = {}
    for module in pkgutil.iter_modules(distributions.__path__):
        members |= vars(importlib.import_module(f"{distributions.__name__}.{module.name}"))
    kinds = {
        member for member in members.values() if inspect.isclass(member) and issubclass(member, Estimator)
    }
    return sorted(
        {kind for kind in kinds if kind is not Estimator and not kind.__name__.startswith("_")},
        key=lambda kind: kind.__name__,
    )


def build(kind):
    """Give what is required, and nothing else."""
    parameters = inspect.signature(kind).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
    # Functional PCA is of functions on any grid, the others of quantile functions.
    given = REQUIRED | ({"grid": LEVELS} if kind.__name__ == "FunctionalPCA" else {})
    return kind(**{name: given[name] for name in required})


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


def rows():
    return np.sort(np.random.default_rng(0).gamma(2, 1, (12, 9)), axis=1)


def training(kind):
    """What the estimator learns from: distributions alone, or predictors and responses."""
    predictors, numbers = np.linspace(0, 1, 12), np.arange(12.0)
    given = {
        "ScalarOnDistribution": (rows(), numbers),
        "DistributionOnDistribution": (rows(), rows() ** 2),
        "GlobalFrechetRegression": (predictors, rows()),
        "LocalFrechetRegression": (predictors, rows()),
        "LocalGridRegression": (predictors, rows()),
        "SphereRegression": (predictors, rows()),
        "FisherRaoRegression": (predictors, rows()),
        "FrechetAnova": (rows(), np.arange(12) % 2),
    }
    return given.get(kind.__name__, (rows(),))


@pytest.mark.parametrize("kind", estimators())
def test_fitted_state_survives_pickling(kind):
    data = training(kind)
    fitted = build(kind).fit(*data)
    again = pickle.loads(pickle.dumps(fitted))
    if kind.__name__ == "FrechetAnova":
        assert again.test() == fitted.test()
        return
    asked = [0.3, 0.7] if kind.__name__ == "LocalGridRegression" else data[0]
    answer = "transform" if hasattr(kind, "transform") else "predict"
    np.testing.assert_array_equal(getattr(again, answer)(asked), getattr(fitted, answer)(asked))
    if kind.__name__ != "LocalGridRegression":
        assert again.score(*data) == fitted.score(*data)


def test_scikit_learn_can_search_and_cross_validate():
    x = np.linspace(0, 1, 30)
    q = np.sin(5 * x)[:, None] + np.linspace(0, 1, 9)
    search = GridSearchCV(LocalFrechetRegression(GRID), {"bandwidth": [0.05, 5.0]}, cv=3).fit(x[:, None], q)
    assert search.best_params_ == {"bandwidth": 0.05}
    scores = cross_val_score(GlobalFrechetRegression(GRID), x[:, None], x[:, None] + GRID.levels, cv=3)
    np.testing.assert_allclose(scores, 1.0)
