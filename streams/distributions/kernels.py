"""Kernels of local regression and the weights of local linear fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from streams.distributions.errors import SingularCovarianceError
from streams.distributions.grid import Floats

KernelName = Literal["gauss", "epan", "rect", "quar", "gausvar"]


def _inside(z: Floats, values: Floats) -> Floats:
    return np.asarray(np.where(np.abs(z) <= 1, values, 0.0))


KERNELS: dict[str, Callable[[Floats], Floats]] = {
    "gauss": lambda z: np.asarray(np.exp(-z * z / 2) / np.sqrt(2 * np.pi)),
    "epan": lambda z: _inside(z, 0.75 * (1 - z * z)),
    "rect": lambda z: _inside(z, np.full(z.shape, 0.5)),
    "quar": lambda z: _inside(z, 15 / 16 * (1 - z * z) ** 2),
    "gausvar": lambda z: np.asarray(np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (1.25 - 0.25 * z * z)),
}


def local_linear_weights(x: Floats, at: Floats, bandwidth: Floats, kernel: KernelName) -> Floats:
    """Return for each point ``at`` (k, p) the weights (k, n), summing to 1, that a local linear fit gives to rows x (n, p).

    In one dimension s_i = K_h(x_i - x)(mu_2 - mu_1 (x_i - x)) over their sum; the kernel of several predictors is a product.

    Raises:
        SingularCovarianceError: too few rows are near a point for a line.
    """
    weights = np.empty((len(at), len(x)))
    for row, point in enumerate(at):
        off = x - point
        k = np.prod(KERNELS[kernel](off / bandwidth), axis=1)
        near = np.flatnonzero(k != 0)
        off = off / bandwidth
        mean = k @ off
        second = (off.T * k) @ off
        mass = float(k.sum())
        try:
            slopes = np.linalg.solve(second, mean)
            left = mass - mean @ slopes
        except np.linalg.LinAlgError:
            left = 0.0
        if len(near) <= x.shape[1] or abs(left) <= 1e-10 * abs(mass):
            raise SingularCovarianceError(
                f"too few predictors near {point.tolist()} for a local line; choose a larger bandwidth"
            )
        weights[row] = k * (1 - off @ slopes) / left
    return weights
