"""A multivariate control chart of distributions, by their log maps at the barycenter."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.detectors.base import Detector, Floats, Ints


class TangentChart(Detector):
    """Alarm when distributions drift away from their barycenter: MEWMA of tangent scores, and of what they leave over.

    The first ``reference`` quantile vectors, shape (n, m), give barycenter and principal modes (equal weights for the levels;
    for the line the log map is the difference of quantile functions). Each later one gives ``modes`` standardised scores and
    the standardised size of its residual, which together are smoothed with ``weight`` into Lowry's T-squared (Lowry et al. 1992);
    it alarms at ``limit`` and then learns a new reference. The limit is for the run length measured in docs/detectors.md.
    """

    kind = "tangent-chart"
    takes = "distributions"

    def __init__(
        self, *, reference: int = 60, modes: int = 3, weight: float = 0.2, limit: float = 30.0
    ) -> None:
        self.reference, self.modes, self.weight, self.limit = reference, modes, weight, limit
        self._start()

    def _start(self) -> None:
        self._held: list[list[float]] = []
        self._phase_two = False
        self._barycenter, self._axes = np.empty(0), np.empty((0, 0))
        self._residual = np.array([0.0, 1.0])
        self._smooth = np.zeros(self.modes + 1)
        self._n = 0

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        return np.array([self._step(vector) for vector in values])

    def _step(self, vector: Floats) -> float:
        if not self._phase_two:
            self._held.append(vector.tolist())
            if len(self._held) == self.reference:
                self._learn(np.array(self._held))
            return 0.0
        if len(vector) != len(self._barycenter):
            raise ValueError(
                f"the reference has vectors of {len(self._barycenter)} values, not {len(vector)}"
            )
        self._n += 1
        self._smooth = (1 - self.weight) * self._smooth + self.weight * self._coordinates(vector)
        shrunk = self.weight / (2 - self.weight) * (1 - (1 - self.weight) ** (2 * self._n))
        score = float(self._smooth @ self._smooth) / shrunk / self.limit
        if score >= 1:
            self._start()
        return score

    def _learn(self, vectors: Floats) -> None:
        """Take barycenter and modes; only these and the residual's mean and spread are kept on."""
        self._barycenter = vectors.mean(axis=0)
        tangents = vectors - self._barycenter
        _, sizes, axes = np.linalg.svd(tangents, full_matrices=False)
        spread = sizes[: self.modes] / np.sqrt(len(vectors) - 1)
        real = spread > max(float(spread[0]) * 1e-9, 1e-100)
        self._axes = axes[: self.modes][real] / spread[real, None]
        logs = np.log(np.maximum(self._left(tangents), 1e-300))
        self._residual = np.array([logs.mean(), max(logs.std(ddof=1), 1e-9)])
        self._phase_two, self._held = True, []

    def _left(self, tangents: Floats) -> Floats:
        norms = (self._axes**2).sum(axis=1)[:, None]
        return np.asarray(((tangents - tangents @ self._axes.T / norms.T @ self._axes) ** 2).mean(axis=-1))

    def _coordinates(self, vector: Floats) -> Floats:
        tangent = vector - self._barycenter
        scores = np.zeros(self.modes + 1)
        scores[: len(self._axes)] = self._axes @ tangent
        left = np.log(max(float(self._left(tangent[None, :])[0]), 1e-300))
        scores[-1] = np.clip((left - self._residual[0]) / self._residual[1], -6, 6)
        return scores

    def _state(self) -> dict[str, Any]:
        return {
            "held": self._held, "two": self._phase_two, "barycenter": self._barycenter, "axes": self._axes,
            "residual": self._residual, "smooth": self._smooth, "n": self._n,
        }  # fmt: skip

    def _load(self, state: dict[str, Any]) -> None:
        self._held, self._phase_two = state["held"], state["two"]
        self._barycenter, self._axes = state["barycenter"], state["axes"]
        self._residual, self._smooth, self._n = state["residual"], state["smooth"], state["n"]
