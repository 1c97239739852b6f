"""The open alerts of a rule over all groups: their levels, times of opening and revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.results import AlertState, Severity
from streams.rules.base import Samples
from streams.rules.segments import Bools, Segments
from streams.rules.state import GroupState

NEVER = np.iinfo(np.int64).min
BOOK_FIELDS: Mapping[str, tuple[str, float]] = {
    "level": ("i1", 0),
    "run": ("<i8", 0),
    "latched": ("i1", 0),
    "opened_at": ("<i8", NEVER),
    "revision": ("<i4", -1),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A group's alert goes to another level; ``at`` is the sorted position of the sample that did it."""

    at: int
    sample: int
    group: int
    state: AlertState
    level: int
    revision: int
    opened_at: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What each sorted position says about its group's alert, arrays of shape (n,).

    ``breach`` asks for the alert, ``clear`` ends it; ``severe`` and ``calm`` do the same for its critical
    level. A position with neither leaves things as they are, which is what hysteresis means.
    """

    breach: Bools
    clear: Bools
    severe: Bools
    calm: Bools

    @classmethod
    def by_score(cls, score: NDArray[np.float64], limits: Limits) -> Marks:
        """Judge scores of shape (n,) against the limits; larger is worse."""
        gap = limits.raise_above - limits.clear_at
        return cls(
            score > limits.raise_above,
            score <= limits.clear_at,
            score > limits.critical_above,
            score <= limits.critical_above - gap,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an alert opens, becomes critical and closes, on a scale on which larger is worse.

    The gap between ``raise_above`` and ``clear_at`` is the hysteresis; the critical level steps down with
    the same gap.
    """

    raise_above: float
    clear_at: float
    critical_above: float = np.inf

    def __post_init__(self) -> None:
        if not np.isfinite([self.raise_above, self.clear_at]).all():
            raise ValueError("levels must be finite")
        if not self.clear_at <= self.raise_above < self.critical_above:
            raise ValueError("levels must be in order: clear, raise, critical")


class Book:
    """Alert levels of all groups (0 closed, 1 open, 2 critical), kept in a state with ``BOOK_FIELDS``."""

    def __init__(self, state: GroupState) -> None:
        self._state = state

    def step(self, samples: Samples, segments: Segments, marks: Marks, for_samples: int = 1) -> list[Change]:
        """Judge the samples and return the changes in order of (cause, group).

        An alert opens at the ``for_samples``-th breach in a row.
        """
        state, groups = self._state, segments.groups
        run = segments.run_length(marks.breach, state["run"][groups])
        opened = segments.latch(marks.breach & (run >= for_samples), marks.clear, state["level"][groups] > 0)
        severe = segments.latch(marks.severe, marks.calm, state["latched"][groups] > 0)
        level = np.where(opened, np.where(severe, 2, 1), 0).astype(np.int8)
        changed = np.flatnonzero(level != segments.before(level, state["level"][groups]))
        state["run"][groups] = run[segments.last]
        state["latched"][groups] = severe[segments.last]
        return self._changes(samples, segments, level, changed)

    def _changes(
        self, samples: Samples, segments: Segments, level: NDArray[np.int8], changed: NDArray[Any]
    ) -> list[Change]:
        # A stable sort keeps two changes of a group by one cause in the order of its samples.
        origin = segments.order[changed]
        ranked = np.lexsort((samples.group[origin], samples.cause[origin]))
        found = []
        for at in changed[ranked].tolist():
            sample = int(segments.order[at])
            found.append(
                self.move(at, sample, int(samples.group[sample]), int(level[at]), int(samples.time[sample]))
            )
        return found

    def move(self, at: int, sample: int, group: int, level: int, time: int) -> Change:
        """Set a group's level at an event time.

        ``opened_at`` names the alert, so it is the time of the opening sample made strictly larger than
        that of the group's alert before, which a row out of order could otherwise repeat.
        """
        levels, opened_at, revision = self._state["level"], self._state["opened_at"], self._state["revision"]
        change: AlertState
        if levels[group] == 0:
            change = "open"
            opened_at[group] = max(time, int(opened_at[group]) + 1) if opened_at[group] != NEVER else time
            revision[group] = 0
        else:
            change = "update" if level else "close"
            revision[group] += 1
        levels[group] = level
        return Change(at, sample, group, change, level, int(revision[group]), int(opened_at[group]))


def severity_of(level: int, usual: Severity) -> Severity:
    """Return the severity of a level; a closed alert has the usual one."""
    return "critical" if level == 2 else usual
