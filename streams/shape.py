"""The declaration of a shape pipeline: whose windows it compares, and when it raises an alert."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Literal

from streams.task import OutputKind

Condition = Literal["none", "hour", "weekday-hour"]


@dataclass(frozen=True, kw_only=True)
class ShapePipeline:
    """Watch the distributions of sites, window by window: their barycenter, who departs from it, and what was to be expected.

    ``source`` is a topic of window summaries, of which those of the pipeline or roll-up ``upstream`` count. Summaries that agree
    in the labels ``by`` are a family, within which the values of the label ``site`` are compared. All of a family must be on one
    partition: roll up with ``RollUp(by=(site, *by), together=by)``. Windows are of ``window_ms`` and close, in order, once one that
    ends more than ``out_of_orderness_ms`` later has come, or the source is idle.

    ``condition`` compares with earlier windows of the same hour of day, or of the same weekday and hour (UTC), each after
    ``learn_slot`` of them. Nothing alarms in a site's first ``reference`` windows. ``outlier_at`` is in standard deviations of the
    site's log distance from the sites' median, ``miss_at`` the p-value of the forecast, ``drift_at`` the limit of the chart.
    """

    name: str
    upstream: str
    source: str = "iot.sensor.rollup.v1"
    by: tuple[str, ...] = ("quantity",)
    site: str = "site"
    window_ms: int = 10_000
    out_of_orderness_ms: int = 0
    idle_timeout_ms: int | None = 10_000
    alpha: float = 0.01
    resolution: int = 32
    modes: int = 3
    order: int = 2
    reference: int = 60
    condition: Condition = "none"
    learn_slot: int = 3
    outlier_at: float = 5.0
    miss_at: float = 1e-5
    drift_at: float = 60.0
    coverage: float = 0.95
    sites: str = "shape.site.v1"
    barycenters: str = "shape.barycenter.v1"
    forecasts: str = "shape.forecast.v1"
    alerts: str = "shape.alert.v1"
    late: str = "shape.late.v1"
    dead: str = "shape.dlq.v1"
    version: int = 1

    def __post_init__(self) -> None:
        if self.window_ms < 1 or self.reference < 10 or self.resolution < 8 or self.order < 1:
            raise ValueError(
                "a shape pipeline needs windows of at least 1 ms, a reference of at least 10 windows, 8 levels and order 1"
            )
        if self.condition != "none" and 3_600_000 % self.window_ms:
            raise ValueError("windows must divide the hour for a reference by hour of day")

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output."""
        return {
            "result": self.sites,
            "barycenter": self.barycenters,
            "forecast": self.forecasts,
            "alert": self.alerts,
            "late": self.late,
            "dead": self.dead,
        }

    @property
    def hash(self) -> str:
        """A digest of everything that decides results; raise ``version`` when a method behind it changes."""
        stated = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return hashlib.sha256(repr(stated).encode()).hexdigest()
