"""One monitored pair from look to look: when it signals, and when its surveillance is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from streams.signals.alpha_spending import Shape, SpendingMonitor, spending
from streams.signals.calibration import Null, calibrated_critical_value
from streams.signals.evalues import poisson_log_e
from streams.signals.maxsprt import SLACK, Surveillance, critical_value, poisson_llr, signal_probability
from streams.signals.maxsprt_group import Looks

Method = Literal["maxsprt", "alpha-spending", "e-value"]
_GRID = 64
_NEAR = 0.02
"""Nulls whose mean and spread round to the same multiples of this share a critical value, which takes half a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How pairs are tested, each by itself with an error of at most ``alpha`` over its whole surveillance.

    ``maxsprt`` is Poisson MaxSPRT until ``horizon`` expected cases, with the exact critical value of continuous monitoring or,
    where ``looks`` says how many are planned, that of so many equal steps. ``alpha-spending`` has exact boundaries at whatever
    expected counts come, spending by ``spending``. ``e-value`` needs no horizon. A pair signals with at least ``minimum`` cases.
    With ``calibrated`` (MaxSPRT with planned looks) the critical value spends alpha under the bias that ``controls_from`` or
    more controls show.
    """

    method: Method = "maxsprt"
    alpha: float = 0.05
    horizon: float = 20.0
    minimum: int = 1
    looks: int | None = None
    spending: Shape = "power"
    calibrated: bool = False
    controls_from: int = 10

    def __post_init__(self) -> None:
        if not (0 < self.alpha < 1 and self.horizon > 0 and self.minimum >= 1):
            raise ValueError(
                "need an alpha within (0, 1), a positive horizon and a minimum of at least 1 case"
            )
        if self.calibrated and (self.method != "maxsprt" or self.looks is None):
            raise ValueError("calibrated critical values are those of MaxSPRT with planned looks: give looks")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. ``critical`` is the ratio to exceed, None where nothing was tested."""

    llr: float
    log_e: float
    critical: float | None
    alpha_spent: float | None
    signals: bool


@dataclass(slots=True)
class Watch:
    """The test of one pair; ``over`` once it has signalled or its horizon is passed, after which nothing is tested."""

    plan: Plan
    over: bool = False
    spent: float = 0.0
    _spending: SpendingMonitor | None = field(default=None)

    def look(self, observed: int, expected: float, null: Null | None = None) -> Look:
        """Take the cases by now and those expected, and test unless it is over.

        What was expected at an earlier look is not taken back where corrections make it less.
        """
        llr = float(poisson_llr(observed, expected)) if expected > 0 else 0.0
        log_e = float(poisson_log_e(observed, expected))
        if self.over or expected <= 0:
            return Look(llr, log_e, None, None, False)
        if self.plan.method == "e-value":
            limit = -float(np.log(self.plan.alpha))
            signals = log_e > limit and observed >= self.plan.minimum
            self.over = signals
            return Look(llr, log_e, None, None, signals)
        if expected > self.plan.horizon:
            self.over = True
            return Look(llr, log_e, None, None, False)
        critical, signals = self._tested(observed, expected, llr, null)
        self.over = signals
        return Look(llr, log_e, critical, self.spent, signals)

    def _tested(
        self, observed: int, expected: float, llr: float, null: Null | None
    ) -> tuple[float | None, bool]:
        plan = self.plan
        if plan.method == "maxsprt":
            critical = critical_of(plan, null)
            self.spent = max(self.spent, alpha_by(plan, critical, expected))
            return critical, llr > critical + SLACK and observed >= plan.minimum
        if self._spending is None:
            self._spending = SpendingMonitor(plan.horizon, spending(plan.spending, plan.alpha), plan.minimum)
        boundary = self._spending.look(max(expected, self._spending.expected))
        self.spent = self._spending.spent
        if boundary is None:
            return None, False
        return float(poisson_llr(boundary, expected)), observed >= boundary

    def pack(self) -> list[Any]:
        """Return the state in plain values."""
        held = self._spending
        return [
            self.over, self.spent, None if held is None else [held.spent, held.expected, held.alive.tolist()],
        ]  # fmt: skip

    @classmethod
    def unpacked(cls, plan: Plan, packed: list[Any]) -> Watch:
        """Return the test that was packed."""
        over, spent, held = packed
        watch = cls(plan, over, spent)
        if held is not None:
            used, expected, alive = held
            watch._spending = SpendingMonitor(
                plan.horizon,
                spending(plan.spending, plan.alpha),
                plan.minimum,
                used,
                expected,
                np.array(alive),
            )
        return watch


def critical_of(plan: Plan, null: Null | None) -> float:
    """Return the critical ratio of a MaxSPRT plan, under a null where controls have told one and the plan asks for it."""
    if null is None or not plan.calibrated:
        return _critical(plan, 0.0, 0.0)
    return _critical(plan, round(null.mean / _NEAR) * _NEAR, round(null.sd / _NEAR) * _NEAR)


@lru_cache(maxsize=256)
def _critical(plan: Plan, mean: float, sd: float) -> float:
    if plan.looks is None:
        return critical_value(Surveillance(plan.horizon, plan.minimum), plan.alpha)
    looks = _looks(plan, plan.looks)
    if mean == 0.0 and sd == 0.0:
        return looks.critical_value(plan.alpha)
    return calibrated_critical_value(looks, Null(mean, sd), plan.alpha)


def _looks(plan: Plan, count: int) -> Looks:
    return Looks((plan.horizon / count,) * count, plan.minimum)


def alpha_by(plan: Plan, critical: float, expected: float) -> float:
    """Return the probability of a false signal by so many expected cases, interpolated between those that are computed."""
    at, spent = _spent(plan, critical)
    return float(np.interp(expected, at, spent))


@lru_cache(maxsize=256)
def _spent(plan: Plan, critical: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if plan.looks is not None:
        looks = _looks(plan, plan.looks)
        by_look = looks.signals_by_look(looks.boundary(critical), np.ones(1))[0]
        return (0.0, *looks.totals.tolist()), (0.0, *np.cumsum(by_look).tolist())
    at = np.linspace(0.0, plan.horizon, _GRID + 1)[1:]
    spent = [signal_probability(Surveillance(float(mu), plan.minimum), critical) for mu in at]
    return (0.0, *at.tolist()), (0.0, *spent)
