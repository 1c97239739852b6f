"""Hopping windows out of shared panes, added up by two stacks whose turning points are fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import gcd

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.panes import PaneTable
from streams.blocks import Saved
from streams.frames import Bools, Firing, Ints, exact, load_into, saved
from streams.merging import merged, selected
from streams.sketches.mapping import Codes, Floats
from streams.watermark import BEGINNING
from streams.windows import Closed, Window


class HoppingFrames:
    """Windows ``[start, start + size)`` at every multiple of ``hop``, cut into panes of gcd(size, hop).

    A window is a front stack and a back stack of panes, as in the two-stacks queue, but the stacks turn at fixed places: every
    ``size`` since the epoch. The front holds sums from a pane to the next turning point, added from the right, the back sums
    from the turning point on, added from the left (van Herk 1992, Gil and Werman 1993). So nothing is ever subtracted, a
    pane is added three times however much windows overlap, and the order of floating additions depends on the panes alone.

    A row that comes too late for some of its windows counts in the others.
    """

    def __init__(self, size: int, hop: int, lateness: int, make: Callable[[int], Window] = Window) -> None:
        self._size, self._hop, self._lateness, self._make = size, hop, lateness, make
        self._pane = gcd(size, hop)
        self._panes_each = size // self._pane
        self._panes: dict[int, Window] = {}
        self._front: dict[int, Closed | None] = {}
        self._back: dict[int, Closed | None] = {}
        self._late: dict[tuple[int, int], int] = {}
        self._fired_to = BEGINNING

    def stop(self, time: Ints, before: Ints, watermark: int, group: Callable[[int], int]) -> int:  # noqa: ARG002
        """Stop at the first row that counts and belongs to a window fired or finished on the way."""
        first, last = self._ends(time)
        crossed = np.zeros(len(time), bool)
        for wait in {0, self._lateness}:
            hops = np.maximum(-((first + wait - watermark - 1) // self._hop), 0)
            crossed |= first + hops * self._hop <= np.minimum(before - wait, last)
        crossed &= last + self._lateness > before
        at = int(crossed.argmax())
        return at if crossed[at] else len(time)

    def judge(self, time: Ints, before: Ints, group: Callable[[int], int]) -> tuple[Bools, Bools]:  # noqa: ARG002
        """A row is too late for some window, in time for some window, or both."""
        first, last = self._ends(time)
        return first + self._lateness <= before, last + self._lateness > before

    def add(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes, before: Ints) -> None:
        """Add rows to their panes, and forget the sums that held what those were before."""
        for window, mine in self._panes_of(time):
            window.update(group[mine], value[mine], time[mine], codes[mine])
        self._note_late(group, time, before)

    def merge(
        self, group: NDArray[np.int32], table: PaneTable, panes: NDArray[np.intp], time: Ints, before: Ints
    ) -> None:
        """Add panes made elsewhere, and forget the sums that held what theirs were before."""
        for window, mine in self._panes_of(time):
            exact(window).merge(group[mine], table, panes[mine])
        self._note_late(group, time, before)

    def _panes_of(self, time: Ints) -> Iterator[tuple[Window, NDArray[np.intp]]]:
        start = time - time % self._pane
        for pane in np.unique(start).tolist():
            if pane not in self._panes:
                self._panes[pane] = self._make(pane)
            yield self._panes[pane], np.flatnonzero(start == pane)
            self._forget(pane // self._pane)

    def _note_late(self, group: NDArray[np.int32], time: Ints, before: Ints) -> None:
        if self._lateness:
            start = time - time % self._pane
            first, _ = self._ends(time)
            for row in np.flatnonzero(first <= before).tolist():
                entry = int(start[row]), int(group[row])
                self._late[entry] = max(self._late.get(entry, BEGINNING), int(before[row]))

    def due(self, watermark: int) -> Iterator[Firing]:
        """Fire revision 0 at a window's end, and revision 1 of late groups when the allowed lateness is over."""
        moments = [(start + self._size, 0, start) for start in self._starts(self._fired_to, watermark)]
        if self._late:
            wait = self._lateness
            over = self._starts(self._fired_to - wait, watermark - wait)
            moments += [(start + self._size + wait, 1, start) for start in over]
        self._fired_to = watermark
        for when, revision, start in sorted(moments):
            groups = None if revision == 0 else self._late_groups(start)
            if groups != []:
                yield self._firing(when, start, revision, groups)
        self._drop(watermark)

    def alive(self) -> Iterable[str]:
        """Return the starts of the panes."""
        return map(str, self._panes)

    def save(self, *, full: bool) -> dict[str, Saved]:
        """Return each pane, or what changed in it, by its start; sums are made anew from the panes."""
        return saved(self._panes, full=full)

    def load(self, windows: Mapping[str, Sequence[bytes]], dropped: Iterable[str] = ()) -> None:
        """Let go of some panes and take over parts of others."""
        load_into(self._panes, windows, dropped, self._make)

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the panes take."""
        return sum(window.nbytes for window in self._panes.values())

    def pack(self) -> dict[str, bytes]:
        """Return the late rows noted."""
        late = sorted([pane, group, before] for (pane, group), before in self._late.items())
        return {"late": msgspec.msgpack.encode([self._fired_to, late])}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over the late rows noted."""
        if parts:
            self._fired_to, late = msgspec.msgpack.decode(parts["late"])
            self._late = {(pane, group): before for pane, group, before in late}

    def _ends(self, time: Ints) -> tuple[Ints, Ints]:
        """Return the ends of the first and the last window that hold each time."""
        size, hop = self._size, self._hop
        return (time - size) // hop * hop + hop + size, time // hop * hop + size

    def _starts(self, after: int, until: int) -> set[int]:
        """Return the windows that hold a pane and end in ``(after, until]``."""
        starts: set[int] = set()
        size, hop = self._size, self._hop
        for pane in self._panes:
            low = max((pane - size) // hop + 1, (after - size) // hop + 1)
            high = min(pane // hop, (until - size) // hop)
            starts.update(range(low * hop, high * hop + 1, hop))
        return starts

    def _late_groups(self, start: int) -> list[int]:
        end = start + self._size
        return sorted({g for (pane, g), before in self._late.items() if start <= pane < end <= before})

    def _firing(self, when: int, start: int, revision: int, groups: list[int] | None) -> Firing:
        whole = self._window(start)
        closed = whole if groups is None else selected(whole, np.flatnonzero(np.isin(whole.group, groups)))
        return Firing.of(when, start, start + self._size, revision, closed, lambda: whole)

    def _window(self, start: int) -> Closed:
        n = self._panes_each
        begin = start // self._pane
        turn = -(-begin // n) * n
        front = self._front_sum(begin, turn) if begin < turn else None
        whole = _plus(front, self._back_sum(turn, begin + n) if turn < begin + n else None)
        assert whole is not None, "a window that is due holds a pane"
        return whole

    def _front_sum(self, begin: int, turn: int) -> Closed | None:
        """Return panes ``begin`` to ``turn``, added from the right; keeps the sums that later windows begin with."""
        if begin not in self._front:
            total: Closed | None = None
            for pane in range(turn - 1, begin - 1, -1):
                total = _plus(self._closed(pane), total)
                if pane * self._pane % self._hop == 0:
                    self._front[pane] = total
        return self._front[begin]

    def _back_sum(self, turn: int, end: int) -> Closed | None:
        """Return panes ``turn`` to ``end``, added from the left, going on from the longest sum kept."""
        known = end
        while known > turn and known not in self._back:
            known -= 1
        total = self._back[known] if known > turn else None
        for pane in range(known, end):
            total = _plus(total, self._closed(pane))
        self._back[end] = total
        return total

    def _closed(self, pane: int) -> Closed | None:
        window = self._panes.get(pane * self._pane)
        return None if window is None else window.closed()

    def _forget(self, pane: int) -> None:
        """Forget the sums that hold a pane: front sums that begin at or before it, back sums that end after it."""
        if not (self._front or self._back):
            return
        turn = pane // self._panes_each * self._panes_each
        for begin in [b for b in self._front if turn <= b <= pane]:
            del self._front[begin]
        for end in [e for e in self._back if pane < e <= turn + self._panes_each]:
            del self._back[end]

    def _drop(self, watermark: int) -> None:
        """Let go of panes whose last window is over."""
        over = watermark - self._lateness - self._size
        for pane in [p for p in self._panes if p // self._hop * self._hop <= over]:
            del self._panes[pane]
        oldest = min(self._panes, default=watermark) // self._pane
        self._front = {begin: total for begin, total in self._front.items() if begin >= oldest}
        self._back = {end: total for end, total in self._back.items() if end >= oldest}
        if self._late:
            self._late = {entry: before for entry, before in self._late.items() if entry[0] in self._panes}


def _plus(a: Closed | None, b: Closed | None) -> Closed | None:
    if a is None or b is None:
        return b if a is None else a
    return merged(a, b)
