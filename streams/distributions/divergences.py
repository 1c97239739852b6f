"""Divergences between histograms: Fisher-Rao, Hellinger, Kullback-Leibler, Jensen-Shannon, PSI and Bhattacharyya.

Convention: the Fisher-Rao distance of two distributions is arccos of their Bhattacharyya coefficient, the integral of
sqrt(fg): the great-circle distance on the unit sphere of square-root densities, at most pi / 2. The Fisher information
metric gives twice that.

Binning can only lose difference (data processing inequality): the value for the bins is exact, and a lower bound for what was
binned. The interval says so: it reaches up to the divergence's largest value. ``densities`` has the same for densities on points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from streams.distributions.certified import Certified
from streams.distributions.errors import EmptyDistributionError, GridMismatchError, NotFiniteError
from streams.distributions.grid import Floats
from streams.distributions.quantile_function import EPS


@dataclass(frozen=True, slots=True)
class Divergence:
    """A divergence as an integrand over both densities, what becomes of the integral, and its largest value.

    ``convex`` integrands are jointly convex in both densities, the other one (Bhattacharyya's) is jointly concave.
    """

    integrand: Callable[[Floats, Floats], Floats]
    of: Callable[[float], float]
    largest: float
    convex: bool


def _js(p: Floats, q: Floats) -> Floats:
    middle = (p + q) / 2
    return np.asarray((rel_entr(p, middle) + rel_entr(q, middle)) / 2)


def _bhattacharyya(p: Floats, q: Floats) -> Floats:
    return np.asarray(np.sqrt(p * q))


# These integrals vanish where the densities are equal, term by term, so that close distributions keep their digits.
def _hellinger_squared(p: Floats, q: Floats) -> Floats:
    return np.asarray((np.sqrt(p) - np.sqrt(q)) ** 2 / 2)


def _kl(p: Floats, q: Floats) -> Floats:
    return np.asarray(rel_entr(p, q) - p + q)


def _psi(p: Floats, q: Floats) -> Floats:
    return np.asarray(rel_entr(p, q) + rel_entr(q, p))


def _clipped(largest: float) -> Callable[[float], float]:
    return lambda total: min(max(total, 0.0), largest)


LOG2 = float(np.log(2))
_unit = _clipped(1.0)
# 1 - cos(d) = h, so d = 2 arcsin(sqrt(h / 2)).
FISHER_RAO = Divergence(
    _hellinger_squared, lambda h: float(2 * np.arcsin(np.sqrt(_unit(h) / 2))), np.pi / 2, True
)
HELLINGER = Divergence(_hellinger_squared, lambda h: float(np.sqrt(_unit(h))), 1.0, True)
KL = Divergence(_kl, _clipped(np.inf), np.inf, True)
JS = Divergence(_js, _clipped(LOG2), LOG2, True)
PSI = Divergence(_psi, _clipped(np.inf), np.inf, True)
BHATTACHARYYA = Divergence(_bhattacharyya, _unit, 1.0, False)


def fisher_rao(p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return arccos(sum of sqrt(p q)); twice it is the distance of the Fisher information metric."""
    return between_histograms(FISHER_RAO, p, q, pseudocount)


def hellinger(p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return (1 - sum of sqrt(p q))^(1/2), in [0, 1]."""
    return between_histograms(HELLINGER, p, q, pseudocount)


def kullback_leibler(p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return the sum of p log(p / q) in nats: infinite where q is 0 and p is not, which a pseudocount avoids."""
    return between_histograms(KL, p, q, pseudocount)


def jensen_shannon(p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return the Jensen-Shannon divergence in nats, at most log 2; its square root is a metric."""
    return between_histograms(JS, p, q, pseudocount)


def psi(p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return the population stability index, the sum of (p - q) log(p / q): the symmetrised Kullback-Leibler divergence."""
    return between_histograms(PSI, p, q, pseudocount)


def between_histograms(kind: Divergence, p: ArrayLike, q: ArrayLike, pseudocount: float = 0.0) -> Certified:
    """Return a divergence of counts or probabilities in the same bins, shape (k,), after adding a pseudocount to every bin.

    Raises:
        GridMismatchError: the histograms do not have the same bins.
        NotFiniteError: a count is negative or not finite.
        EmptyDistributionError: a histogram is empty.
    """
    a, b = _probabilities(p, pseudocount), _probabilities(q, pseudocount)
    if a.shape != b.shape:
        raise GridMismatchError("both histograms must have the same bins")
    terms = kind.integrand(a, b)
    total = float(terms.sum())
    if not np.isfinite(total):
        return Certified(total, total, total)
    # A term is a difference of numbers as large as the probabilities times a logarithm.
    slack = 16 * EPS * (1.0 + float(np.abs(terms).sum()))
    value, low = kind.of(total), kind.of(max(total - slack, 0.0))
    if kind.convex:
        return Certified(value, low, kind.largest)
    return Certified(value, 0.0, kind.of(total + slack))


def _probabilities(counts: ArrayLike, pseudocount: float) -> Floats:
    c = np.asarray(counts, np.float64)
    if c.ndim != 1:
        raise GridMismatchError("a histogram has one dimension")
    if not (np.isfinite(c).all() and (c >= 0).all() and np.isfinite(pseudocount) and pseudocount >= 0):
        raise NotFiniteError("counts and pseudocounts must be finite and not negative")
    c = c + pseudocount
    if not c.sum() > 0:
        raise EmptyDistributionError("an empty histogram has no divergence; give it counts or a pseudocount")
    return np.asarray(c / c.sum())
