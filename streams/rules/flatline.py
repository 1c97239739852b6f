"""A stuck sensor: its value stays the same for too long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import BOOK_FIELDS, Book, Change, Marks
from streams.rules.segments import Bools, Segments
from streams.rules.state import GroupState

_FIELDS = {
    "anchor": ("<f8", np.nan),
    "since": ("<i8", 0),
    "until": ("<i8", 0),
    "length": ("<i8", 0),
    **BOOK_FIELDS,
}


@dataclass(frozen=True)
class FlatLine:
    """Alert when values stay within ``tolerance`` of a run's first value.

    Opens at the first row at which the run spans at least ``duration_ms`` of event time (latest minus earliest of its
    rows) and has at least ``min_samples`` of them; closes at the first row that leaves the run, which begins the next run.
    NaN is passed over.

    Raises ValueError for a duration below 0, fewer than two samples or a tolerance that is negative or not finite.
    """

    name: str
    duration_ms: int
    min_samples: int = 5
    tolerance: float = 0.0
    source: Source = "row"
    severity: Severity = "warning"
    kind = "flatline"

    def __post_init__(self) -> None:
        if self.duration_ms < 0 or self.min_samples < 2 or not 0 <= self.tolerance < np.inf:
            raise ValueError(
                f"rule {self.name!r}: duration and tolerance must not be negative, min_samples at least 2"
            )

    def build(self) -> FlatLineRule:
        """Return a rule in its empty state."""
        return FlatLineRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


@dataclass(frozen=True, slots=True)
class Runs:
    """For each sorted position the run it belongs to, up to and including it: anchor, times spanned, length."""

    leaves: Bools
    anchor: NDArray[np.float64]
    since: NDArray[np.int64]
    until: NDArray[np.int64]
    length: NDArray[np.int64]


class FlatLineRule:
    """A ``FlatLine`` over all groups of a partition."""

    def __init__(self, declared: FlatLine) -> None:
        self._declared = declared
        self._state = GroupState(1, _FIELDS)
        self._book = Book(self._state)

    @property
    def name(self) -> str:
        """The rule's name."""
        return self._declared.name

    @property
    def kind(self) -> str:
        """``flatline``."""
        return self._declared.kind

    @property
    def source(self) -> Source:
        """What it samples."""
        return self._declared.source

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        segments = Segments.of(samples.group, np.isfinite(samples.value))
        if not len(segments):
            return []
        self._state.cover(segments.groups)
        runs = self._runs(segments, samples)
        stuck = (runs.length >= self._declared.min_samples) & (
            runs.until - runs.since >= self._declared.duration_ms
        )
        never = np.zeros_like(stuck)
        changes = self._book.step(samples, segments, Marks(stuck, runs.leaves, never, never))
        closed = self._before(segments, runs, changes)
        for name, column in (("anchor", runs.anchor), ("since", runs.since), ("until", runs.until)):
            self._state[name][segments.groups] = column[segments.last]
        self._state["length"][segments.groups] = runs.length[segments.last]
        return [self._transition(samples, runs, change, closed) for change in changes]

    def _runs(self, segments: Segments, samples: Samples) -> Runs:
        value, time = samples.value[segments.order], samples.time[segments.order]
        anchor = self._state["anchor"][segments.groups]
        leaves = self._leaves(segments, value, anchor)
        began = segments.latest(leaves)
        carried = segments.segment, began < 0
        since = _running(np.minimum, segments, leaves, time, self._state["since"][segments.groups])
        until = _running(np.maximum, segments, leaves, time, self._state["until"][segments.groups])
        positions = np.arange(len(value))
        length = np.where(
            began < 0,
            positions - segments.first + 1 + self._state["length"][segments.groups][carried[0]],
            positions - began + 1,
        )
        held = np.where(began < 0, anchor[segments.segment], value[began])
        return Runs(leaves, held, since, until, length)
