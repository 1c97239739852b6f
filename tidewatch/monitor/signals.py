"""Shows safety signals by preset and seriousness, never by drug or event."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry

from schemas.metrics import (
    SIGNAL_PAIRS,
    SIGNAL_REPORTS,
    SIGNAL_STATE_TIME,
    SIGNAL_STEPS,
    SIGNALS_OPEN,
    TIME_TO_SIGNAL,
)
from schemas.safety import SignalChange, SignalState
from tidewatch.monitor.exposition import Family

LEVELS: Final = (0.5, 0.9)
REMEMBERED: Final = 10_000
"""Openings of a preset over which the quantiles of the time to signal are taken, the latest ones."""

Preset = tuple[str, str]


class SignalsExporter:
    """Folds states and steps of signals, read from the beginning of their topics; ``take_*`` and ``show`` are of one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open: dict[str, tuple[str, str, str]] = {}
        self._steps: Counter[tuple[str, str, str]] = Counter()
        self._waits: defaultdict[Preset, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._seen: dict[str, int] = {}
        self._pairs: dict[str, str] = {}
        self._newest: dict[str, SignalState] = {}
        self._open_family = Family(SIGNALS_OPEN, registry)
        self._steps_family = Family(SIGNAL_STEPS, registry)
        self._waits_family = Family(TIME_TO_SIGNAL, registry)
        self._pairs_family = Family(SIGNAL_PAIRS, registry)
        self._reports_family = Family(SIGNAL_REPORTS, registry)
        self._time_family = Family(SIGNAL_STATE_TIME, registry)

    def take_state(self, key: str, state: SignalState | None) -> None:
        """Take the latest state of a pair, or that it was taken back."""
        if state is None:
            self._pairs.pop(key, None)
            return
        self._pairs[state.id] = state.pipeline
        newest = self._newest.get(state.pipeline)
        if newest is None or newest.received <= state.received:
            self._newest[state.pipeline] = state

    def take_change(self, change: SignalChange) -> None:
        """Take a step of a signal; one that was taken before counts once."""
        if self._seen.get(change.signal_id, -1) >= change.revision:
            return
        self._seen[change.signal_id] = change.revision
        preset = change.pipeline, change.preset
        self._steps[(*preset, change.step)] += 1
        if change.step == "closed":
            self._open.pop(change.signal_id, None)
            return
        self._open[change.signal_id] = (*preset, "serious" if change.state.serious else "not-serious")
        if change.step == "open":
            self._waits[preset].append((change.opened_at - change.first_report) / 1000)

    def show(self) -> None:
        """Show what has been taken so far; kinds that may be open but are not show 0."""
        known = Counter(
            {(*preset, grave): 0 for preset in self._waits for grave in ("serious", "not-serious")}
        )
        known.update(self._open.values())
        self._open_family.show(known.items())
        self._steps_family.show(self._steps.items())
        self._waits_family.show(
            ((*preset, f"{level:g}"), float(np.quantile(waits, level)))
            for preset, waits in self._waits.items()
            for level in LEVELS
        )
        self._pairs_family.show(((name,), count) for name, count in Counter(self._pairs.values()).items())
        self._reports_family.show(((name,), state.total) for name, state in self._newest.items())
        self._time_family.show(((name,), state.time / 1000) for name, state in self._newest.items())
