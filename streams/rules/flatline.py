"""A stuck sensor: its value stays the same for too long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import BOOK_FIELDS, Change, Marks
from streams.rules.grouped import GroupedRule
from streams.rules.segments import Bools, Segments

_FIELDS = {
    "anchor": ("<f8", np.nan),
    "since": ("<i8", 0),
    "length": ("<i8", 0),
    **BOOK_FIELDS,
}


@dataclass(frozen=True)
class FlatLine:
    """Alert when values stay within ``tolerance`` of a run's first value.

    Opens at the first row whose event time is at least ``duration_ms`` after that of the run's first row,
    when the run has at least ``min_samples`` rows; closes at the first row that leaves the run, which
    begins the next one. Values that are not finite are passed over.

    Raises ValueError for a duration below 0, fewer than two samples or a tolerance that is negative or not
    finite.
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
    """For each sorted position its run: first value, first event time, rows up to and including it."""

    leaves: Bools
    anchor: NDArray[np.float64]
    since: NDArray[np.int64]
    length: NDArray[np.int64]


class FlatLineRule(GroupedRule[FlatLine]):
    """A ``FlatLine`` over all groups of a partition."""

    def __init__(self, declared: FlatLine) -> None:
        super().__init__(declared, 1, _FIELDS)

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        segments = Segments.of(samples.group, np.isfinite(samples.value))
        if not len(segments):
            return []
        self._state.cover(segments.groups)
        value, time = samples.value[segments.order], samples.time[segments.order]
        runs, before = self._runs(segments, value, time)
        stuck = runs.length >= self._declared.min_samples
        stuck &= time - runs.since >= self._declared.duration_ms
        never = np.zeros_like(stuck)
        changes = self._book.step(samples, segments, Marks(stuck, runs.leaves, never, never))
        return [
            self._transition(samples, before if change.state == "close" else runs, change)
            for change in changes
        ]

    def _runs(
        self, segments: Segments, value: NDArray[np.float64], time: NDArray[np.int64]
    ) -> tuple[Runs, Runs]:
        """Continue the runs of all groups; return them as they are after and were before each position."""
        names = ("anchor", "since", "length")
        carried = {name: self._state[name][segments.groups] for name in names}
        leaves = departures(segments, value, carried["anchor"], self._declared.tolerance)
        began = segments.latest(leaves)
        inside = began >= 0
        anchor = np.where(inside, value[began], carried["anchor"][segments.segment])
        since = np.where(inside, time[began], carried["since"][segments.segment])
        length = segments.run_length(~leaves, carried["length"] - 1) + 1
        after = {"anchor": anchor, "since": since, "length": length}
        before = {name: segments.before(after[name], carried[name]) for name in names}
        for name in names:
            self._state[name][segments.groups] = after[name][segments.last]
        return Runs(leaves, anchor, since, length), Runs(leaves, **before)

    def _transition(self, samples: Samples, runs: Runs, change: Change) -> Transition:
        declared, value = self._declared, float(samples.value[change.sample])
        anchor, since, length = (
            float(runs.anchor[change.at]),
            int(runs.since[change.at]),
            int(runs.length[change.at]),
        )
        time = int(samples.time[change.sample])
        message = (
            f"{declared.source} moves again: {value:g} after {length} samples at {anchor:g}"
            if change.state == "close"
            else f"{declared.source} is stuck at {anchor:g} for {(time - since) / 1000:g} s, {length} samples"
        )
        return Transition(
            cause=int(samples.cause[change.sample]),
            group=change.group,
            state=change.state,
            severity=declared.severity,
            revision=change.revision,
            opened_at=change.opened_at,
            time=time,
            value=value,
            threshold=None,
            message=message,
            evidence={
                "value": value,
                "run_value": anchor,
                "run_since": since,
                "run_samples": length,
                "tolerance": declared.tolerance,
                "duration_ms": declared.duration_ms,
            },
        )


def departures(
    segments: Segments, value: NDArray[np.float64], anchor: NDArray[np.float64], tolerance: float
) -> Bools:
    """Return which sorted positions leave the run they find, each beginning the next.

    ``anchor`` (one a segment, NaN for none) is the first value of the run carried into the batch. A step of
    nothing never leaves and one beyond twice the tolerance always does; only steps in between need the run's
    own first value, one after the other.
    """
    step = np.abs(value - segments.before(value, anchor))
    leaves = ~(step <= 2.001 * tolerance)
    leaves[segments.start] = ~(step[segments.start] <= tolerance)
    unsure = (step > 0) & ~leaves
    unsure[segments.start] = False
    latest, began = segments.latest(leaves), -1
    for at in np.flatnonzero(unsure).tolist():
        if began < segments.first[at]:
            began = -1
        run = max(began, int(latest[at]))
        first = value[run] if run >= 0 else anchor[segments.segment[at]]
        if abs(value[at] - first) > tolerance:
            leaves[at], began = True, at
    return leaves
