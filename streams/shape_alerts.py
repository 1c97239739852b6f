"""The alerts of a shape pipeline: which are open, when they close, and the evidence of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.results import Alert, AlertState, Severity
from streams.shape import ShapePipeline
from streams.shape_model import Judged, Observed

Floats = NDArray[np.float64]
Evidence = dict[str, float | int | str | None]

DRIFT, OUTLIER, MISS = "shape.drift", "shape.outlier", "shape.forecast-miss"


class ShapeAlerts:
    """Opens an alert when a score reaches its limit, and closes it when it is well below: one alert a rule and site.

    A drift closes when the chart has learned its new reference; an outlier at half its limit; a missed forecast with the next
    one that is not missed.
    """

    def __init__(self, pipeline: ShapePipeline, levels: Floats) -> None:
        self._pipeline, self._levels = pipeline, levels
        self._open: dict[tuple[str, str], list[int]] = {}  # opened at, revision

    def of(
        self,
        group: str,
        labels: dict[str, str],
        start: int,
        judged: Judged,
        seen: Observed,
        place: tuple[int, int],
    ) -> list[Alert]:
        """Return what a window of one site opens and closes; ``place`` is the partition and offset that caused it."""
        pipeline, end = self._pipeline, start + self._pipeline.window_ms
        found: list[tuple[str, bool, bool, float, float, str]] = []
        opened = self._open.get((DRIFT, group))
        learned = opened is not None and end - opened[0] >= pipeline.reference * pipeline.window_ms
        drift = judged.drift * pipeline.drift_at
        found.append(
            (DRIFT, judged.drift >= 1, learned, drift, pipeline.drift_at, "its distribution has drifted")
        )
        unusual, limit = judged.unusual, pipeline.outlier_at
        words = f"it is {judged.distance:.4g} ± {judged.error:.2g} from the barycenter"
        found.append((OUTLIER, unusual >= limit, unusual < limit / 2, unusual, limit, words))
        if judged.p_value is not None:
            miss = judged.p_value <= pipeline.miss_at
            found.append(
                (MISS, miss, not miss, judged.p_value, pipeline.miss_at, "it is not what its past let expect")
            )
        alerts = []
        for rule, hit, over, value, threshold, words in found:
            key = (rule, group)
            if hit and key not in self._open:
                self._open[key] = [end, 0]
                evidence = self._evidence(rule, judged, seen)
                message = f"{group}: {words}; {self._most(evidence)}"
                alerts.append(
                    self._alert(key, labels, "open", end, value, threshold, message, evidence, place)
                )
            elif over and not hit and key in self._open:
                self._open[key][1] += 1
                message = f"{group}: {rule} is over"
                alerts.append(self._alert(key, labels, "close", end, value, threshold, message, {}, place))
                del self._open[key]
        return alerts

    def _evidence(self, rule: str, judged: Judged, seen: Observed) -> Evidence:
        """Say which quantiles moved, by how much, within which error of the sketch, and how much they vary by themselves."""
        moved = judged.missed if rule == MISS else judged.moved
        largest = int(np.abs(moved).argmax())
        evidence: Evidence = {
            "distance": judged.distance, "distance_error": judged.error, "count": seen.count,
            "compared_with": "forecast" if rule == MISS else "reference",
        }  # fmt: skip
        middle = len(moved) // 2
        for at in sorted({0, len(moved) // 4, middle, 3 * len(moved) // 4, len(moved) - 1, largest}):
            name = f"q{self._levels[at]:.3f}"
            evidence[f"{name}_moved"] = float(moved[at])
            evidence[f"{name}_error"] = float(
                max(seen.high[at] - seen.quantiles[at], seen.quantiles[at] - seen.low[at])
            )
            evidence[f"{name}_sd"] = float(judged.sd[at]) if len(judged.sd) else None
        evidence["most_moved_level"] = float(self._levels[largest])
        evidence["most_moved_by"] = float(moved[largest])
        return evidence

    @staticmethod
    def _most(evidence: Evidence) -> str:
        level, shift = evidence["most_moved_level"], evidence["most_moved_by"]
        return f"its {float(level or 0):.1%} quantile moved most, by {float(shift or 0):+.4g}"

    def _alert(
        self, key: tuple[str, str], labels: dict[str, str], state: AlertState, end: int, value: float, threshold: float,
        message: str, evidence: Evidence, place: tuple[int, int],
    ) -> Alert:  # fmt: skip
        (rule, group), (opened_at, revision) = key, self._open[key]
        alert_id = f"{self._pipeline.name}|{rule}|{group}|{opened_at}"
        severity: Severity = "warning"
        return Alert(
            id=f"{alert_id}|{revision}", alert_id=alert_id, pipeline=self._pipeline.name, rule=rule, kind=rule, group=group,
            labels=labels, state=state, severity=severity, revision=revision, opened_at=opened_at, time=end,
            partition=place[0], offset=place[1], value=value, threshold=threshold, message=message, evidence=evidence,
        )  # fmt: skip

    def state(self) -> list[Any]:
        """Return the open alerts."""
        return [[*key, *held] for key, held in sorted(self._open.items())]

    def restore(self, state: list[Any]) -> None:
        """Take over open alerts."""
        self._open = {(rule, group): [opened, revision] for rule, group, opened, revision in state}
