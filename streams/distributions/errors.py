"""What can be wrong with distributions given for analysis, each with what to do next."""

from __future__ import annotations


class DistributionError(ValueError):
    """The base of all errors of distributional analysis."""


class EmptyDistributionError(DistributionError):
    """A distribution holds no value, so it has no quantiles."""


class NotFiniteError(DistributionError):
    """A value, weight or density is NaN or infinite, or a weight or density is negative."""


class NonMonotoneError(DistributionError):
    """A quantile vector falls somewhere, so it is no quantile function."""


class GridMismatchError(DistributionError):
    """Arrays do not have the shape that the grid or each other ask for, or are on different grids."""


class TooFewDistributionsError(DistributionError):
    """The method needs more distributions than were given."""


class ZeroVariancePredictorError(DistributionError):
    """A predictor does not vary, so no slope can be estimated for it."""


class SingularCovarianceError(DistributionError):
    """Predictors are collinear, or a covariance matrix is not positive definite."""


class NeverAddedError(DistributionError):
    """What is taken away was never added."""


class NoVariationError(DistributionError):
    """All distributions are equal, so that there is nothing to decompose or to forecast."""


class NotFittedError(DistributionError):
    """The estimator has seen no data yet; call fit or partial_fit first."""
