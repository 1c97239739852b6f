"""A sensor that stopped: none of its events for too long, by the watermark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import NEVER
from streams.rules.grouped import GroupedRule
from streams.rules.segments import Bools, Ints, Segments

_FIELDS = {
    "last_seen": ("<i8", NEVER),
    "level": ("i1", 0),
    "opened_at": ("<i8", NEVER),
    "revision": ("<i4", -1),
}
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Silence:
    """Alert when the watermark is ``duration_ms`` or more past a group's latest event time.

    Opens at the first row, of any group, after which that holds, or when the watermark moves without a row;
    the time of the transition is that of the deadline. Closes at the group's next event (one so old that
    the watermark is still past its deadline is no sign of life and closes nothing). A group is known from
    its first event on.

    Raises ValueError unless the duration is positive.
    """

    name: str
    duration_ms: int
    severity: Severity = "warning"
    kind = "silence"
    source: Source = "row"

    def __post_init__(self) -> None:
        if self.duration_ms <= 0:
            raise ValueError(f"rule {self.name!r}: duration_ms must be positive")

    def build(self) -> SilenceRule:
        """Return a rule in its empty state."""
        return SilenceRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of a batch in which a group's last event is the same, in (group, row) order.

    A span begins at sample ``begin`` and ends before ``end``; ``own`` says whether its beginning is an
    event of the group or the beginning of the batch. ``before`` is the last event time before the span.
    """

    group: NDArray[np.int32]
    begin: Ints
    end: Ints
    own: Bools
    last_seen: NDArray[np.int64]
    before: NDArray[np.int64]


class SilenceRule(GroupedRule[Silence]):
    """A ``Silence`` over all groups of a partition.

    ``_due`` is a lower bound of the next deadline of a group that is not silent, so a batch looks at all
    groups only when one of them may be due.
    """

    def __init__(self, declared: Silence) -> None:
        super().__init__(declared, 1, _FIELDS)
        self._due = _FAR
        self._silent = 0

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""
        if not len(samples.group):
            return []
        self._state.cover(samples.group)
        level, last_seen = self._state["level"], self._state["last_seen"]
        due = min(self._due, int(samples.time.min()) + self._declared.duration_ms)
        quiet = int(samples.watermark[-1]) < due
        if quiet and not (self._silent and level[samples.group].any()):
            self._due = due
            np.maximum.at(last_seen, samples.group, samples.time)
            return []
        found = self._judge(samples, self._spans(samples))
        np.maximum.at(last_seen, samples.group, samples.time)
        self._refresh()
        return found

    def advance(self, watermark: int, cause: int) -> list[Transition]:
        """Take a watermark that moved without a row and return the groups it finds silent."""
        if watermark < self._due:
            return []
        last_seen = self._state["last_seen"]
        overdue = self._alive() & (last_seen <= watermark - self._declared.duration_ms)
        groups = np.flatnonzero(overdue).tolist()
        found = [self._open(group, int(last_seen[group]), watermark, cause) for group in groups]
        self._refresh()
        return found

    def restore(self, state: bytes) -> None:
        """Take over a snapshot."""
        self._state.unpack(state)
        self._refresh()

    def _alive(self) -> Bools:
        alive: Bools = (self._state["level"] == 0) & (self._state["last_seen"] != NEVER)
        return alive

    def _refresh(self) -> None:
        alive = self._state["last_seen"][self._alive()]
        self._due = int(alive.min()) + self._declared.duration_ms if len(alive) else _FAR
        self._silent = int((self._state["level"] > 0).sum())

    def _spans(self, samples: Samples) -> Spans:
        """Cut the batch at the events of each group that has any or was due before its end."""
        n, known = len(samples.group), self._state["last_seen"]
        segments = Segments.of(samples.group)
        overdue = self._alive() & (known <= int(samples.watermark[-1]) - self._declared.duration_ms)
        concerned = overdue.copy()
        concerned[segments.groups] = known[segments.groups] != NEVER
        waiting = np.flatnonzero(concerned)
        group = np.concatenate((waiting, samples.group[segments.order])).astype(np.int32)
        begin = np.concatenate((np.zeros(len(waiting), dtype=np.intp), segments.order))
        own = np.arange(len(group)) >= len(waiting)
        seen = np.concatenate((known[waiting], samples.time[segments.order]))
        # Stable, so that a group's carried span comes before its events, which are in row order already.
        laid = np.argsort(group, kind="stable")
        group, begin, own, seen = group[laid], begin[laid], own[laid], seen[laid]
        end = np.append(begin[1:], n)
        end[np.append(group[1:] != group[:-1], True)] = n
        last_seen = _running_max(group, seen)
        before = np.append(np.int64(NEVER), last_seen[:-1])
        before[np.append(True, group[1:] != group[:-1])] = NEVER
        return Spans(group, begin, end, own, last_seen, before)

    def _judge(self, samples: Samples, spans: Spans) -> list[Transition]:
        """Open and close along the spans: silent is a group at a row whose watermark is past its deadline."""
        passed = np.searchsorted(samples.watermark, spans.last_seen + self._declared.duration_ms)
        opens = np.maximum(spans.begin, passed)
        before = self._state["level"][spans.group] > 0
        # A group silent before the batch stays so until its first event, even where that is the first row.
        silent = (opens < spans.end) | (~spans.own & before)
        fresh = np.append(True, spans.group[1:] != spans.group[:-1])
        was = np.append(False, silent[:-1])
        was[fresh] = before[fresh]
        at_once = opens == spans.begin
        closing = was & spans.own & ~at_once
        opening = silent & ~(was & (at_once | ~spans.own))
        rows = np.concatenate((spans.begin[closing], opens[opening]))
        which = np.concatenate((np.flatnonzero(closing), np.flatnonzero(opening)))
        is_open = np.arange(len(rows)) >= int(closing.sum())
        ranked = np.lexsort((rows, spans.group[which], samples.cause[rows]))
        found = []
        for k in ranked.tolist():
            row, span = int(rows[k]), int(which[k])
            group, seen, cause = int(spans.group[span]), int(spans.last_seen[span]), int(samples.cause[row])
            if is_open[k]:
                found.append(self._open(group, seen, int(samples.watermark[row]), cause))
            else:
                found.append(self._close(group, int(spans.before[span]), int(samples.time[row]), cause))
        return found

    def _open(self, group: int, last_seen: int, watermark: int, cause: int) -> Transition:
        deadline = last_seen + self._declared.duration_ms
        message = f"silent for {self._declared.duration_ms / 1000:g} s"
        return self._transition(group, 1, deadline, cause, watermark - last_seen, last_seen, message)

    def _close(self, group: int, last_seen: int, time: int, cause: int) -> Transition:
        gap = time - last_seen
        message = f"back after {gap / 1000:g} s of silence"
        return self._transition(group, 0, time, cause, gap, last_seen, message)

    def _transition(
        self, group: int, level: int, time: int, cause: int, gap: int, last_seen: int, message: str
    ) -> Transition:
        change = self._book.move(-1, -1, group, level, time)
        return Transition(
            cause=cause,
            group=group,
            state=change.state,
            severity=self._declared.severity,
            revision=change.revision,
            opened_at=change.opened_at,
            time=time,
            value=float(gap),
            threshold=float(self._declared.duration_ms),
            message=message,
            evidence={"last_seen": last_seen, "gap_ms": gap, "duration_ms": self._declared.duration_ms},
        )


def _running_max(group: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest time up to each position among those of its group; groups are contiguous."""
    # Ranks instead of times keep group * n + rank far from overflow whatever the times are.
    distinct, rank = np.unique(time, return_inverse=True)
    lifted = group.astype(np.int64) * len(distinct) + rank
    running: NDArray[np.int64] = distinct[np.maximum.accumulate(lifted) % len(distinct)]
    return running
