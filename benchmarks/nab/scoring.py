"""NAB's scoring rules (Lavin and Ahmad 2015; the code of NAB 1.1): what each alarm is worth, by profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.nab.corpus import Series

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """The costs of a false alarm and of a missed window; a window found at its beginning is worth one."""

    false_alarm: float
    missed: float


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "reward_low_FP_rate": Profile(0.22, 1.0),
    "reward_low_FN_rate": Profile(0.11, 2.0),
}


def sigmoid(position: Floats) -> Floats:
    """Return 2 / (1 + exp(5 position)) - 1: nearly 1 at a window's beginning (-1), 0 at its end, -1 far behind it (from 3)."""
    value = 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1
    return np.asarray(np.where(position >= 3, -1.0, value))


def worths(series: Series, profile: Profile) -> tuple[Floats, NDArray[np.int64]]:
    """Return what an alarm at each row is worth, and the row's window or -1, both (n,).

    In a window, the first alarm counts. Outside, each is a false alarm: it costs less shortly after a window, and its full cost
    before the first one and far behind.
    """
    n = len(series.values)
    worth = np.full(n, -profile.false_alarm)
    window = np.full(n, -1, np.int64)
    for k, (first, last) in enumerate(series.windows):
        width = last - first + 1
        after = np.arange(last + 1, n)
        past = (after - last) / max(width - 1, 1)
        worth[after] = sigmoid(past) * profile.false_alarm
        inside = np.arange(first, last + 1)
        worth[inside] = sigmoid(-(last - inside + 1) / width) / sigmoid(np.array(-1.0))
        window[inside] = k
    return worth, window


def at_thresholds(series: Series, scores: Floats, thresholds: Floats, profile: Profile) -> Floats:
    """Return the raw score of a file at each threshold, shape of ``thresholds``: an alarm is a score that reaches it."""
    worth, window = worths(series, profile)
    open_rows = np.arange(len(scores)) >= series.probation
    outside = open_rows & (window < 0)
    order = np.argsort(-scores[outside], kind="stable")
    running = np.concatenate([[0.0], np.cumsum(worth[outside][order])])
    total = running[np.searchsorted(-scores[outside][order], -thresholds, side="right")]
    for k in range(len(series.windows)):
        rows = np.flatnonzero(open_rows & (window == k))
        if len(rows):
            # Worth falls inside a window, so the first row that reaches the threshold is the best.
            first = np.searchsorted(np.maximum.accumulate(scores[rows]), thresholds, side="left")
            found = first < len(rows)
            total = total + np.where(found, worth[rows[np.minimum(first, len(rows) - 1)]], -profile.missed)
    return np.asarray(total)


def of_alarms(series: Series, rows: Sequence[int], profile: Profile) -> float:
    """Return the raw score of a file for alarms at the given rows."""
    scores = np.zeros(len(series.values))
    scores[list(rows)] = 1.0
    return float(at_thresholds(series, scores, np.array([1.0]), profile)[0])


def normalised(raw: float, corpus: Sequence[Series], profile: Profile) -> float:
    """Return a raw score over a corpus on the scale where no alarm at all is 0 and every window found at once is 100."""
    windows = sum(len(series.windows) for series in corpus)
    worst = -profile.missed * windows
    return 100 * (raw - worst) / (windows - worst)
