"""Session windows: the rows of a group with less than a gap between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.panes import PaneTable
from streams.blocks import Saved
from streams.frames import Bools, Firing, Ints
from streams.merging import merged
from streams.rules.segments import Segments
from streams.sketches.mapping import Codes, Floats
from streams.wheel import Wheel
from streams.windows import Window

_ONE = np.ones(1, np.int32)
_TICKS = 64  # of a gap: so large a part of the sessions is looked at to find those that have ended


class SessionFrames:
    """Sessions ``[first, last + gap)`` by group; a row joins those it is less than ``gap`` away from, and may bridge two.

    A session closes when the watermark passes its end. A row whose own ``[time, time + gap)`` has passed still counts if it
    touches a session that has not closed; else it is late. Rows are added to a session in record order; where a row bridges
    two, the earlier one is added to first.

    Most rows append to their group's newest session or begin the next; those are taken whole batches at a time. Groups with
    rows further out of order are taken row by row, with the same floating operations.
    """

    def __init__(self, gap: int) -> None:
        self._gap = gap
        self._live: dict[int, list[int]] = {}  # sessions of each group by number, in order of time
        self._cells = Window(0)  # aggregates by session number
        self._free: list[int] = []
        self._wheel = Wheel(gap // _TICKS)
        self._group = np.empty(0, np.int32)
        self._start = np.empty(0, np.int64)
        self._last = np.empty(0, np.int64)

    def stop(self, time: Ints, before: Ints, watermark: int, group: Callable[[int], int]) -> int:
        """Stop before the first row behind the watermark, which must find the sessions closed that have ended; take it alone."""
        behind = np.flatnonzero(time < before)
        for row in behind.tolist():
            when = int(time[row])
            if when + self._gap > watermark or self._touched(group(row), when):
                return max(row, 1)
        return len(time)

    def judge(self, time: Ints, before: Ints, group: Callable[[int], int]) -> tuple[Bools, Bools]:
        """A row behind the watermark is late unless its interval or a session it touches is still open."""
        late = time + self._gap <= before
        if len(time) == 1 and late[0] and self._touched(group(0), int(time[0])):
            late = np.zeros(1, bool)
        return late, ~late

    def add(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes, before: Ints) -> None:  # noqa: ARG002
        """Add rows to their sessions."""
        segments = Segments.of(group)
        order = segments.order
        number, simple = self._appended(segments, time[order])
        if simple.any():
            rows = order[simple]
            self._cells.update(number[simple], value[rows], time[rows], codes[rows])
            np.maximum.at(self._last, number[simple], time[rows])
        for at in np.flatnonzero(~simple).tolist():
            row = order[at : at + 1]
            self._insert(int(group[row[0]]), value[row], time[row], codes[row])

    def merge(
        self,
        group: NDArray[np.int32],  # noqa: ARG002
        table: PaneTable,  # noqa: ARG002
        panes: NDArray[np.intp],  # noqa: ARG002
        time: Ints,  # noqa: ARG002
        before: Ints,  # noqa: ARG002
    ) -> None:
        """Refuse panes: a gap may lie inside one."""
        raise TypeError("session windows are made of single rows")

    def due(self, watermark: int) -> Iterator[Firing]:
        """Fire the sessions whose end has passed, in order of (end, group)."""
        over = self._ended(watermark)
        if not len(over):
            return
        over = over[np.lexsort((self._group[over], self._last[over]))]
        numbers = over.astype(np.int32)
        closed = replace(self._cells.pick(numbers), group=self._group[over])
        start, end = self._start[over], self._last[over] + self._gap
        for number in over.tolist():
            self._close(number)
        self._cells.drop(numbers)
        yield Firing(
            end, start, end, np.zeros(len(over), np.int64), np.ones(len(over), bool), closed, lambda: closed
        )

    def _ended(self, watermark: int) -> Ints:
        """Return the sessions whose end has passed; a session is looked at about once a gap, however many rows it gets."""
        looked = self._wheel.take(watermark)
        looked = looked[self._group[looked] >= 0]
        end = self._last[looked] + self._gap
        self._wheel.put(looked[end > watermark], end[end > watermark])
        return looked[end <= watermark]

    def alive(self) -> Iterable[str]:
        """Return nothing: all is packed together."""
        return ()

    def save(self, *, full: bool) -> dict[str, Saved]:  # noqa: ARG002
        """Return nothing: all is packed together."""
        return {}

    def load(self, windows: Mapping[str, Sequence[bytes]], dropped: Iterable[str] = ()) -> None:
        """Take over nothing."""

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the aggregates of sessions take."""
        return self._cells.nbytes

    def pack(self) -> dict[str, bytes]:
        """Return the sessions renumbered in order of (group, time), so that their history leaves no trace."""
        numbers = [number for group in sorted(self._live) for number in self._live[group]]
        if not numbers:
            return {}
        at = np.array(numbers, np.int32)
        cells = Window(0)
        cells.put(replace(self._cells.pick(at), group=np.arange(len(at), dtype=np.int32)))
        table = [self._group[at].tobytes(), self._start[at].tobytes(), self._last[at].tobytes()]
        return {
            "cells": msgspec.msgpack.encode(cells.save(full=True).parts),
            "table": msgspec.msgpack.encode(table),
        }

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over the sessions."""
        if not parts:
            return
        group, start, last = msgspec.msgpack.decode(parts["table"])
        self._cells = Window(0)
        for part in msgspec.msgpack.decode(parts["cells"], type=list[bytes]):
            self._cells.load(part)
        self._group = np.frombuffer(group, np.int32).copy()
        self._start, self._last = np.frombuffer(start, np.int64).copy(), np.frombuffer(last, np.int64).copy()
        self._live = {}
        for number, code in enumerate(self._group.tolist()):
            self._live.setdefault(code, []).append(number)
        self._wheel.put(np.arange(len(self._group)), self._last + self._gap)

    # --- rows

    def _touched(self, group: int, time: int) -> list[int]:
        """Return the sessions of a group that a row at ``time`` belongs to, in order of time."""
        gap = self._gap
        return [n for n in self._live.get(group, ()) if self._start[n] - gap < time < self._last[n] + gap]

    def _appended(self, segments: Segments, time: Ints) -> tuple[NDArray[np.int32], Bools]:
        """Return a session number for each sorted position, and whether its group only appends; opens new sessions for those.

        A group only appends if each row begins a session after all others or falls into the newest one, not before its start.
        """
        newest = np.array([self._newest(group) for group in segments.groups.tolist()], np.int64)
        known = newest >= 0
        start, last = np.zeros(len(newest), np.int64), np.full(len(newest), np.iinfo(np.int64).min // 2)
        start[known], last[known] = self._start[newest[known]], self._last[newest[known]]
        latest = segments.before(segments.running_max(time, last), last)
        opens = time >= latest + self._gap
        opener = segments.latest(opens)
        since = np.where(opener >= 0, time[opener], start[segments.segment])
        simple = np.ones(len(newest), bool)
        simple[segments.segment[time < since]] = False
        opens &= simple[segments.segment]
        begun = np.flatnonzero(opens)
        number = np.full(len(time), -1, np.int64)
        number[begun] = self._open(segments.groups[segments.segment[begun]], time[begun])
        number = np.where(opener >= 0, number[opener], newest[segments.segment])
        return number.astype(np.int32), simple[segments.segment]

    def _insert(self, group: int, value: Floats, time: Ints, codes: Codes) -> None:
        """Add one row, merging the sessions that it bridges."""
        touched = self._touched(group, int(time[0]))
        if touched:
            first = touched[0]
            for other in touched[1:]:
                self._merge(first, other)
        else:
            (first,) = self._open(np.array([group], np.int32), time).tolist()
        self._cells.update(_ONE * first, value, time, codes)
        self._start[first] = min(self._start[first], time[0])
        self._last[first] = max(self._last[first], time[0])

    def _merge(self, first: int, other: int) -> None:
        one = _ONE * first
        both = self._cells.pick(one), replace(self._cells.pick(_ONE * other), group=one)
        self._cells.drop(np.array([first, other], np.int32))
        self._cells.put(merged(*both))
        self._last[first] = self._last[other]
        self._close(other)

    # --- the table of sessions

    def _newest(self, group: int) -> int:
        numbers = self._live.get(group)
        return numbers[-1] if numbers else -1

    def _open(self, groups: NDArray[np.int32], time: Ints) -> NDArray[np.int64]:
        """Begin a session at each time and return their numbers; those of a group come in order of time."""
        numbers = self._numbers(len(groups))
        self._group[numbers], self._start[numbers], self._last[numbers] = groups, time, time
        self._wheel.put(numbers, time + self._gap)
        for group, number in zip(groups.tolist(), numbers.tolist(), strict=True):
            mine = self._live.setdefault(group, [])
            mine.append(number)
            if len(mine) > 1 and self._start[mine[-2]] > self._start[number]:
                mine.sort(key=self._start.__getitem__)
        return numbers

    def _close(self, number: int) -> None:
        group = int(self._group[number])
        self._live[group].remove(number)
        if not self._live[group]:
            del self._live[group]
        self._group[number] = -1
        self._free.append(number)

    def _numbers(self, count: int) -> NDArray[np.int64]:
        missing = count - len(self._free)
        if missing > 0:
            used = len(self._group)
            more = max(missing, used)
            self._free += range(used + more - 1, used - 1, -1)
            self._group = np.concatenate([self._group, np.full(more, -1, np.int32)])
            self._start, self._last = (
                np.concatenate([c, np.zeros(more, np.int64)]) for c in (self._start, self._last)
            )
        return np.array([self._free.pop() for _ in range(count)], np.int64)
