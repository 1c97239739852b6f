"""Safety signals as they stand, each with the course of its measure against the boundary of its preset."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from schemas.safety import SignalChange, SignalState, SignalStep
from streams.signals.presets import PRESETS, Criterion

MAX_SIGNALS = 2_000
MAX_PAIRS = 5_000
MAX_POINTS = 40
SHOWN = 40


_UNKNOWN = Criterion("ic025", 0.0)
"""By what signals of a preset are followed that this version does not know."""


class Point(NamedTuple):
    """A measure of a pair at one time (ms), ``n`` reports; None where the measure is not defined."""

    time: int
    n: int
    value: float | None


class SignalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A signal at its latest step. ``course`` is its ``measure`` over time, ``boundary`` what the preset asks of it."""

    signal_id: str
    pipeline: str
    preset: str
    drug: str
    event: str
    step: SignalStep
    opened_at: int
    first_report: int
    time: int
    measure: str
    boundary: float
    course: tuple[Point, ...]
    evidence: dict[str, float | int | str | None]


class Signals:
    """Fold states and steps of signals, bounded in memory: the latest signals, the pairs that changed last, the latest points.

    A pair's points are ordered by how many rows had been counted, whichever topic they came on.
    """

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        self._signals: OrderedDict[str, SignalChange] = OrderedDict()
        self._courses: OrderedDict[str, dict[int, SignalState]] = OrderedDict()

    def take_state(self, state: SignalState) -> None:
        """Take a state of a pair."""
        self.states[state.pipeline] += 1
        self._note(state)

    def take_change(self, change: SignalChange) -> None:
        """Take a step of a signal."""
        known = self._signals.get(change.signal_id)
        if known is not None and known.revision >= change.revision:
            return
        if known is None:
            self.opened[change.pipeline] += 1
        self._signals[change.signal_id] = change
        self._signals.move_to_end(change.signal_id)
        while len(self._signals) > MAX_SIGNALS:
            self._signals.popitem(last=False)
        self._note(change.state)

    def rows(self, most: int = SHOWN) -> tuple[SignalRow, ...]:
        """Return the signals, open ones first, among equals the one that changed last."""
        newest = list(reversed(self._signals.values()))
        newest.sort(key=lambda change: change.step == "closed")
        return tuple(self._row(change) for change in newest[:most])

    def open(self) -> int:
        """Return how many signals are open."""
        return sum(change.step != "closed" for change in self._signals.values())

    def _note(self, state: SignalState) -> None:
        course = self._courses.setdefault(state.id, {})
        self._courses.move_to_end(state.id)
        course[state.received] = state
        if len(course) > MAX_POINTS:
            del course[min(course)]
        while len(self._courses) > MAX_PAIRS:
            self._courses.popitem(last=False)

    def _row(self, change: SignalChange) -> SignalRow:
        preset = PRESETS.get(change.preset)
        leading = _UNKNOWN if preset is None else preset.leading
        measure, boundary = str(leading.statistic), leading.value
        states = self._courses.get(change.state.id, {change.state.received: change.state})
        latest = states[max(states)]
        if (
            latest.llr is not None and latest.critical is not None
        ):  # a sequential test, whose boundary each look sets
            measure, boundary = "llr", latest.critical
        return SignalRow(
            signal_id=change.signal_id, pipeline=change.pipeline, preset=change.preset, drug=change.drug, event=change.event,
            step=change.step, opened_at=change.opened_at, first_report=change.first_report, time=change.time,
            measure=measure, boundary=boundary, course=tuple(_points(states, measure)),
            evidence={name: given for name in _EVIDENCE if (given := getattr(latest, name)) is not None},
        )  # fmt: skip


_EVIDENCE = (
    "n",
    "serious",
    "expected",
    "drug_total",
    "event_total",
    "total",
    "prr",
    "ror",
    "chi2_yates",
    "ic",
    "ic025",
    "ebgm",
    "eb05",
    "llr",
    "critical",
    "log_e",
    "alpha_spent",
    "p_calibrated",
)


def _points(states: dict[int, SignalState], measure: str) -> Iterable[Point]:
    for received in sorted(states):
        state = states[received]
        yield Point(state.time, state.n, getattr(state, measure))
