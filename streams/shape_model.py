"""What a shape pipeline knows of one family: references, modes, and each site's chart, history and forecast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.detectors.tangent_chart import TangentChart
from streams.distributions.errors import DistributionError
from streams.distributions.fpca import FunctionalPCA
from streams.distributions.grid import Grid
from streams.distributions.lagged import LaggedMoments
from streams.distributions.moments import Moments
from streams.distributions.monotone import projected
from streams.distributions.war import Forecast, WassersteinAutoregression
from streams.shape import ShapePipeline

Floats = NDArray[np.float64]
HOUR_MS = 3_600_000
# 1970-01-01 was a Thursday; hours are counted from Monday.
_MONDAY = 3 * 24


@dataclass(frozen=True, slots=True)
class Observed:
    """One site's distribution in a window: a quantile vector (m,), the bounds of each, and of its W2 error as a whole."""

    quantiles: Floats
    low: Floats
    high: Floats
    error: float
    count: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a window says of one site; ``moved`` (m,) is how its quantiles depart from the reference, ``sd`` (m,) its own spread.

    ``p_value`` and ``missed`` (m,) say how the window departs from its forecast, if there was one; ``next`` is the next forecast.
    """

    distance: float
    error: float
    unusual: float
    drift: float
    scores: Floats
    moved: Floats
    sd: Floats
    p_value: float | None
    missed: Floats
    next: Forecast | None
    coefficients: Floats


@dataclass(frozen=True, slots=True)
class View:
    """What a window says of the family as a whole."""

    barycenter: Floats
    error: float
    variance: float
    reference: Floats
    modes: Floats
    eigenvalues: Floats
    sites: dict[str, Judged] = field(default_factory=dict)


class Family:
    """Takes the windows of all sites of a family in order; plain sums throughout, no distribution is kept but the last few."""

    def __init__(self, pipeline: ShapePipeline) -> None:
        self._pipeline = pipeline
        self.grid = Grid.midpoints(pipeline.resolution)
        self._slots: dict[int, _Slot] = {}
        self._tangents = Moments(len(self.grid))
        self._sites: dict[str, _Site] = {}

    def take(self, start: int, observed: dict[str, Observed]) -> View:
        """Judge a window by earlier ones, then learn from it; ``observed`` has at least one site."""
        names = sorted(observed)
        values = np.stack([observed[name].quantiles for name in names])
        barycenter = values.mean(axis=0)
        error = float(np.mean([observed[name].error for name in names]))
        distances = self.grid.norm(values - barycenter)
        # From the sites' median, which one odd site hardly moves: else all others would seem odd beside it.
        apart = self.grid.norm(values - np.median(values, axis=0))
        slot = self._slots.setdefault(self._slot_of(start), _Slot(len(self.grid)))
        known = slot.count >= (self._pipeline.learn_slot if self._pipeline.condition != "none" else 1)
        reference = slot.mean.copy()
        modes = self._modes()
        judged = {}
        if known:
            for name, vector, *far in zip(names, values, distances.tolist(), apart.tolist(), strict=True):
                site = self._sites.setdefault(name, _Site(self._pipeline, self.grid))
                away = error + observed[name].error
                judged[name] = site.take(start, vector, reference, (far[0], far[1]), away, modes)
            self._tangents.update(values - reference)
        slot.add(barycenter)
        variance = float((distances**2).mean())
        if modes is None:
            return View(
                barycenter,
                error,
                variance,
                reference if known else np.empty(0),
                np.empty((0, 0)),
                np.empty(0),
                judged,
            )
        return View(barycenter, error, variance, reference, modes.modes_, modes.eigenvalues_, judged)

    def _modes(self) -> FunctionalPCA | None:
        """Return the modes of the windows before, once there are enough of them."""
        if self._tangents.count < self._pipeline.reference:
            return None
        pca = FunctionalPCA(self.grid.levels, self._pipeline.modes)
        pca.moments_, pca._decomposition = self._tangents, None
        try:
            pca.eigenvalues_  # noqa: B018
        except DistributionError:
            return None
        return pca

    def _slot_of(self, start: int) -> int:
        hour = start // HOUR_MS
        if self._pipeline.condition == "hour":
            return int(hour % 24)
        return int((hour + _MONDAY) % 168) if self._pipeline.condition == "weekday-hour" else 0

    def state(self) -> list[Any]:
        """Return everything as numbers, text and bytes."""
        slots = [[number, *slot.state()] for number, slot in sorted(self._slots.items())]
        sites = [[name, *site.state()] for name, site in sorted(self._sites.items())]
        return [slots, self._tangents.state(), sites]

    @classmethod
    def of(cls, pipeline: ShapePipeline, state: list[Any]) -> Family:
        """Return the family of a state."""
        family = cls(pipeline)
        slots, tangents, sites = state
        family._slots = {number: _Slot.of(rest) for number, *rest in slots}
        family._tangents.restore(tangents)
        family._sites = {name: _Site.of(pipeline, family.grid, rest) for name, *rest in sites}
        return family


class _Slot:
    """The mean barycenter of the windows of one hour."""

    def __init__(self, width: int) -> None:
        self.count, self.mean = 0, np.zeros(width)

    def add(self, barycenter: Floats) -> None:
        self.count += 1
        self.mean += (barycenter - self.mean) / self.count

    def state(self) -> list[Any]:
        return [self.count, self.mean.tobytes()]

    @classmethod
    def of(cls, state: list[Any]) -> _Slot:
        slot = cls(0)
        slot.count, slot.mean = state[0], np.frombuffer(state[1]).copy()
        return slot


class _Site:
    """One site: the history of its distance, its chart, and its autoregression."""

    def __init__(self, pipeline: ShapePipeline, grid: Grid) -> None:
        self._pipeline, self._grid = pipeline, grid
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._last = -1  # where the last window began
        self._chart = TangentChart(
            reference=pipeline.reference, modes=pipeline.modes, limit=pipeline.drift_at
        )
        self._war = WassersteinAutoregression(
            grid.levels, pipeline.order, max_order=pipeline.order, tangents=True
        )
        self._war.moments_ = LaggedMoments(len(grid), pipeline.order)
        self._war._solution = None

    def take(
        self,
        start: int,
        vector: Floats,
        reference: Floats,
        far: tuple[float, float],
        error: float,
        modes: FunctionalPCA | None,
    ) -> Judged:
        moved = vector - reference
        if self._last != start - self._pipeline.window_ms:
            self._war.gap()
        self._last = start
        ready = self._war.moments_.count >= self._pipeline.reference
        p_value, missed = self._surprise(moved) if ready else (None, np.empty(0))
        sd = np.sqrt(np.maximum(np.diag(self._war.noise_covariance_), 0)) if ready else np.empty(0)
        distance, apart = far
        unusual = self._unusual(apart)
        drift = float(self._chart.update(moved[None, :])[0])
        scores = np.empty(0) if modes is None else modes.transform(moved)[0]
        self._war.partial_fit(moved)
        forecast, coefficients = self._forecast(reference)
        return Judged(
            distance, error, unusual, drift, scores, moved, sd, p_value, missed, forecast, coefficients
        )

    def _unusual(self, distance: float) -> float:
        """Return how many standard deviations the log distance is above its mean, then add it, clipped, to the history."""
        log = float(np.log(max(distance, 1e-12)))
        sd = max((self._squares / max(self._count - 1, 1)) ** 0.5, 0.05)
        known = self._count >= self._pipeline.reference
        unusual = (log - self._mean) / sd if known else 0.0
        taken = self._mean + float(np.clip(unusual, -3, 3)) * sd if known else log
        self._count += 1
        step = taken - self._mean
        self._mean += step / self._count
        self._squares += step * (taken - self._mean)
        return unusual

    def _surprise(self, moved: Floats) -> tuple[float | None, Floats]:
        """Return the p-value of a window after the ones before, and its residual; None after a gap or without any variation."""
        tail = self._war.moments_.tail
        try:
            if len(tail) < self._pipeline.order:
                return None, np.empty(0)
            found = self._war.surprise(np.concatenate([tail[-self._pipeline.order :], moved[None, :]]))
        except DistributionError:
            return None, np.empty(0)
        return float(found.p_value[0]), found.residual[0]

    def _forecast(self, reference: Floats) -> tuple[Forecast | None, Floats]:
        if self._war.moments_.count < self._pipeline.reference:
            return None, np.empty(0)
        try:
            ahead = self._war.forecast(coverage=self._pipeline.coverage)
        except DistributionError:
            return None, np.empty(0)
        mean, lower, upper = (projected(reference + part) for part in (ahead.mean, ahead.lower, ahead.upper))
        return Forecast(mean, lower, upper, ahead.gap), self._war.coefficients_

    def state(self) -> list[Any]:
        history = [self._count, self._mean, self._squares, self._last]
        return [history, self._chart.snapshot(), self._war.moments_.state()]

    @classmethod
    def of(cls, pipeline: ShapePipeline, grid: Grid, state: list[Any]) -> _Site:
        site = cls(pipeline, grid)
        (site._count, site._mean, site._squares, site._last), chart, moments = state
        site._chart.restore(chart)
        site._war.moments_.restore(moments)
        return site
