"""Batches that a gateway sent again are left out: each counts once, whatever died in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from schemas.columns import Columns, Sent
from streams.blocks import Changes, cut, joined
from streams.task import Blocks, FollowingTask, Output, RuledTask, Task

_KIND = "sent"
KEPT_MS = 32 * 86_400_000
"""How long a stream that brings nothing is remembered, by the log's time: longer than sources are kept."""


class OnceTask:
    """Implements ``streams.task.Task``: another task that sees each numbered batch of a stream once.

    A stream's numbers rise on a partition, so a number that is not above the highest so far is a batch sent again; its rows and
    rejected rows are left out. Records without a number all go through. The highest numbers are part of the state.
    """

    def __init__(self, inner: Task) -> None:
        self.inner = inner
        self._seen: dict[str, tuple[int, int, int]] = {}  # number, offset, log time
        self._changes = Changes()
        self._followed: dict[str, bytes] = {}

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, before which nothing more is expected."""
        return self.inner.watermark

    @property
    def max_event_time(self) -> int:
        """The largest event time seen, in milliseconds."""
        return self.inner.max_event_time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return what they cause, in order."""
        if columns.sent:
            columns = self._first_time(columns)
        return self.inner.process(columns)

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the watermark because the partition was idle, as if just before the record at ``position``."""
        return self.inner.advance(position, watermark)

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        streams = [[name, *self._seen[name]] for name in sorted(self._seen)]
        own = cut(_KIND, {"streams": msgspec.msgpack.encode(streams)} if streams else {})
        return self.inner.snapshot(full=full) | self._changes.since(own, full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        own = {name: data for name, data in blocks.items() if _is_own(name)}
        self._take(own)
        self.inner.restore({name: data for name, data in blocks.items() if name not in own})

    @property
    def follows(self) -> bool:
        """Whether the other task can be kept as a copy."""
        return isinstance(self.inner, FollowingTask) and self.inner.follows

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the state takes."""
        return _following(self.inner).nbytes + sum(map(len, self._followed.values()))

    def follow(self, changed: Mapping[str, bytes], gone: Collection[str]) -> None:
        """Take over blocks that another task has saved since it was last followed, and let go of those that are gone."""
        self._followed = {name: data for name, data in self._followed.items() if name not in gone}
        self._followed |= {name: data for name, data in changed.items() if _is_own(name)}
        rest = {name: data for name, data in changed.items() if not _is_own(name)}
        _following(self.inner).follow(rest, [name for name in gone if not _is_own(name)])

    def arrive(self) -> None:
        """Go on from the state that was taken over."""
        self._take(self._followed)
        self._followed = {}
        _following(self.inner).arrive()

    def _take(self, own: Mapping[str, bytes]) -> None:
        for packed in joined(own, _KIND).values():
            streams = msgspec.msgpack.decode(packed, type=list[tuple[str, int, int, int]])
            self._seen = {name: (number, offset, time) for name, number, offset, time in streams}
        self._changes.begin(own)

    def _first_time(self, columns: Columns) -> Columns:
        """Note the batches that have rows here, rejected or not, and leave out those seen before."""
        bad = {rejected.offset for rejected in columns.rejected}
        at = np.searchsorted(columns.offset, [sent.offset for sent in columns.sent])
        there = at < len(columns)
        there[there] = columns.offset[at[there]] == np.array([sent.offset for sent in columns.sent])[there]
        times = {
            sent.offset: int(columns.log_time[row])
            for sent, row, found in zip(columns.sent, at.tolist(), there.tolist(), strict=True)
            if found
        }
        here = [sent for sent in columns.sent if sent.offset in times or sent.offset in bad]
        again = [sent.offset for sent in here if self._is_again(sent, times.get(sent.offset))]
        return without_records(columns, again) if again else columns

    def _is_again(self, sent: Sent, log_time: int | None) -> bool:
        number, offset, time = self._seen.get(sent.stream, (-1, -1, 0))
        if sent.number <= number:
            # A batch may come in parts when records are processed row by row.
            return sent.offset != offset
        time = time if log_time is None else log_time
        if number < 0:
            self._forget(time)
        self._seen[sent.stream] = sent.number, sent.offset, time
        return False

    def _forget(self, now: int) -> None:
        """Let go of streams that have long been silent, before another one begins."""
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen[2] <= KEPT_MS}


class RuledOnceTask(OnceTask):
    """Implements ``streams.task.RuledTask`` around a task whose rules change."""

    def __init__(self, inner: RuledTask) -> None:
        super().__init__(inner)
        self._ruled = inner

    @property
    def rules_text(self) -> str:
        """The specs, in force or announced, on top of the rules declared."""
        return self._ruled.rules_text

    def change_rules(self, text: str) -> None:
        """Announce other specs, as if just before the next record."""
        self._ruled.change_rules(text)


def _is_own(block: str) -> bool:
    return block.startswith(f"{_KIND}/")


def _following(task: Task) -> FollowingTask:
    assert isinstance(task, FollowingTask), "only a task that says so is followed"
    return task


def without_records(columns: Columns, offsets: Sequence[int]) -> Columns:
    """Leave out all rows of some records, rejected ones too."""
    gone = np.isin(columns.offset, offsets)
    kept = tuple(rejected for rejected in columns.rejected if rejected.offset not in set(offsets))
    rest = columns.take(np.flatnonzero(~gone), columns.start, columns.next, kept)
    return replace(rest, sent=tuple(sent for sent in columns.sent if sent.offset not in offsets))
