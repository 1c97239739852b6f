"""Figures of distributions: quantile fans, ridgelines, modes of variation, distance matrices and forecasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from streams.distributions.tangent_pca import TangentPCA
from streams.distributions.war import WassersteinAutoregression
from tidewatch.shapes.series import NoShapesError, Shapes

Floats = NDArray[np.float64]

_BLUE, _DARK, _RED = "#2c6f9e", "#173a53", "#c0392b"
_FANS = ((0.01, 0.99), (0.05, 0.95), (0.25, 0.75))


def fan(series: Sequence[Shapes]) -> Figure:
    """Draw each series' quantiles over time: bands from 1 to 99%, 5 to 95% and 25 to 75%, and the median."""
    figure, axes = _panels(len(series), 2.4, 9.0)
    for axis, shapes in zip(axes, series, strict=True):
        x = np.arange(len(shapes))
        for low, high in _FANS:
            lower, upper = _at(shapes, low), _at(shapes, high)
            axis.fill_between(x, lower, upper, color=_BLUE, alpha=0.22, linewidth=0)
        axis.plot(x, _at(shapes, 0.5), color=_DARK, linewidth=1)
        _ticks(axis, shapes)
        _title(axis, shapes.name)
    axes[0].annotate(
        "bands: 1-99%, 5-95%, 25-75%; line: median",
        (1, 1.02),
        xycoords="axes fraction",
        ha="right",
        fontsize=8,
    )
    return figure


def ridgeline(series: Sequence[Shapes], rows: int = 24) -> Figure:
    """Draw the densities of the last rows of each series one above the other, the newest at the bottom."""
    figure, axes = _panels(len(series), 0.22 * rows + 0.8, 6.0)
    for axis, shapes in zip(axes, series, strict=True):
        shown = shapes.last(rows)
        curves = [_density(shown.levels, vector) for vector in shown.values]
        low, high = np.quantile(shown.values[:, 0], 0.05), np.quantile(shown.values[:, -1], 0.95)
        x = np.linspace(low, high, 400)
        heights = np.array([np.interp(x, at, density, left=0, right=0) for at, density in curves])
        scale = 2.5 / np.quantile(heights.max(axis=1), 0.9)
        for i, height in enumerate(heights):
            base = len(heights) - 1 - i
            colour = colormaps["viridis"](i / max(len(heights) - 1, 1))
            axis.fill_between(x, base, base + scale * height, color=colour, alpha=0.85, linewidth=0, zorder=i)
            axis.plot(x, base + scale * height, color="white", linewidth=0.8, zorder=i + 0.5)
        axis.set_yticks(np.arange(len(heights))[::-1], shown.labels, fontsize=7)
        axis.grid(axis="x", alpha=0.25)
        _title(axis, shapes.name)
    return figure


def modes(series: Sequence[Shapes], count: int = 3) -> Figure:
    """Draw the barycenter of all rows and what lies two standard deviations along each leading mode, as quantile functions."""
    levels, values = _together(series)
    pca = TangentPCA(levels, count).fit(values)
    shares = np.diff(pca.explained_, prepend=0)
    figure = Figure(figsize=(3.4 * len(shares), 3.2), layout="constrained")
    axes = figure.subplots(1, len(shares), squeeze=False, sharey=True)[0]
    for k, (axis, share) in enumerate(zip(axes, shares, strict=True)):
        multiples = np.linspace(-2, 2, 9)
        curves = pca.modes_of_variation(k, multiples.tolist())
        for multiple, curve in zip(multiples, curves, strict=True):
            colour = colormaps["coolwarm"]((multiple + 2) / 4)
            axis.plot(levels, curve, color=colour, linewidth=1, alpha=0.9)
        axis.plot(levels, pca.barycenter_, color="black", linewidth=1.6)
        axis.set_xlabel("level")
        _title(axis, f"mode {k + 1}: {share:.1%} of the variance")
    axes[0].set_ylabel("quantile")
    axes[-1].annotate(
        "blue: -2 sd, red: +2 sd, black: barycenter",
        (1, 0.02),
        xycoords="axes fraction",
        ha="right",
        fontsize=7,
    )
    return figure


def distances(series: Sequence[Shapes], rows: int = 60) -> Figure:
    """Draw W2 between all series' mean distributions, or between the last rows where there is one series."""
    if len(series) > 1:
        levels, _ = _together(series)
        values = np.array([shapes.values.mean(axis=0) for shapes in series])
        labels, title = [shapes.name for shapes in series], "W2 between barycenters"
    else:
        shown = series[0].last(rows)
        levels, values, labels = shown.levels, shown.values, list(shown.labels)
        title = f"{shown.name}: W2 between windows"
    apart = values[:, None, :] - values[None, :, :]
    matrix = np.sqrt(np.trapezoid(apart**2, levels, axis=2))
    size = max(4.0, 0.11 * len(labels) + 2)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(matrix, cmap="magma_r", interpolation="nearest")
    step = max(1, len(labels) // 30)
    ticks = np.arange(0, len(labels), step)
    axis.set_xticks(ticks, [labels[i] for i in ticks], rotation=90, fontsize=7)
    axis.set_yticks(ticks, [labels[i] for i in ticks], fontsize=7)
    figure.colorbar(image, ax=axis, shrink=0.8)
    _title(axis, title)
    return figure


def forecast(series: Sequence[Shapes], shown: int = 40) -> Figure:
    """Draw one-step forecasts of the last rows beside what came, and the next one with its 95% band."""
    figure = Figure(figsize=(10, 2.9 * len(series)), layout="constrained")
    axes = figure.subplots(len(series), 2, squeeze=False, width_ratios=[2, 1])
    for (left, right), shapes in zip(axes, series, strict=True):
        war = WassersteinAutoregression(shapes.levels, None).fit(shapes.values)
        order = len(war.coefficients_)
        first = max(len(shapes) - shown, order)
        expected = war.predict(shapes.values[first - order :])
        x = np.arange(first, len(shapes))
        ahead = war.forecast(shapes.values)
        for level, colour in ((0.05, "#7fb3d5"), (0.5, _BLUE), (0.95, _DARK)):
            j = int(np.abs(shapes.levels - level).argmin())
            left.plot(x, shapes.values[first:, j], "o", markersize=3, color=colour)
            left.plot(
                np.append(x, len(shapes)),
                expected[:, j],
                color=colour,
                linewidth=1.2,
                label=f"{shapes.levels[j]:.0%}",
            )
            reach = [[ahead.mean[0, j] - ahead.lower[0, j]], [ahead.upper[0, j] - ahead.mean[0, j]]]
            left.errorbar(
                [len(shapes)],
                [ahead.mean[0, j]],
                yerr=np.maximum(reach, 0),
                color=_RED,
                fmt="s",
                markersize=3,
            )
        _ticks(left, shapes, first)
        left.legend(loc="upper left", fontsize=7, title="quantile", title_fontsize=7)
        coefficients = ", ".join(f"{beta:.2f}" for beta in war.coefficients_) or "none"
        _title(left, f"{shapes.name}: WAR({order}), coefficients {coefficients}")
        right.fill_between(shapes.levels, ahead.lower[0], ahead.upper[0], color=_RED, alpha=0.2, linewidth=0)
        right.plot(shapes.levels, ahead.mean[0], color=_RED)
        right.plot(shapes.levels, war.mean_, color="black", linewidth=1, linestyle=":")
        right.set_xlabel("level")
        _title(right, "next window, 95% band; dotted: barycenter")
    return figure


KINDS: dict[str, Callable[[Sequence[Shapes]], Figure]] = {
    "fan": fan, "ridgeline": ridgeline, "modes": modes, "distances": distances, "forecast": forecast,
}  # fmt: skip


def _panels(count: int, height: float, width: float) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(width, height * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def _at(shapes: Shapes, level: float) -> Floats:
    return np.array([np.interp(level, shapes.levels, vector) for vector in shapes.values])


def _density(levels: Floats, vector: Floats) -> tuple[Floats, Floats]:
    """Return positions and a smoothed density: mass over width of neighbouring quantiles, whatever ties there are."""
    width = max(float(vector[-1] - vector[0]), 1e-12)
    x = np.linspace(vector[0] - 0.05 * width, vector[-1] + 0.05 * width, 300)
    spread = max(0.9 * min(_spread(vector, levels), width) * 30**-0.2, width / 200)
    weights = np.gradient(levels)
    kernels = np.exp(-0.5 * ((x[:, None] - vector) / spread) ** 2)
    return x, kernels @ weights / (spread * np.sqrt(2 * np.pi))


def _spread(vector: Floats, levels: Floats) -> float:
    quarter = np.interp([0.25, 0.75], levels, vector)
    return float(quarter[1] - quarter[0]) / 1.35


def _together(series: Sequence[Shapes]) -> tuple[Floats, Floats]:
    levels = series[0].levels
    if any(not np.array_equal(shapes.levels, levels) for shapes in series):
        raise NoShapesError("the series are on different levels; draw one at a time")
    return levels, np.concatenate([shapes.values for shapes in series])


def _ticks(axis: Any, shapes: Shapes, first: int = 0) -> None:
    step = max(1, (len(shapes) - first) // 8)
    at = np.arange(first, len(shapes), step)
    axis.set_xticks(at, [shapes.labels[i] for i in at], fontsize=7)
    axis.grid(alpha=0.25)


def _title(axis: Any, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
