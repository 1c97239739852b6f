"""How rows are gathered into windows: the contract, and tumbling windows as its simplest case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.panes import PaneTable
from streams.blocks import Saved
from streams.exact import ExactWindow
from streams.sketches.mapping import Codes, Floats
from streams.windows import Closed, Window

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


_FEW = 8


@dataclass(frozen=True, slots=True)
class Firing:
    """Windows to publish, arrays of shape (k,) parallel to the groups of ``closed``.

    ``when`` is the watermark that made each due. ``sampled`` says which are shown to the rules. ``whole`` gives the same
    windows with all of their groups, where ``closed`` has only those that changed.
    """

    when: Ints
    start: Ints
    end: Ints
    revision: Ints
    sampled: Bools
    closed: Closed
    whole: Callable[[], Closed]

    @classmethod
    def of(
        cls,
        when: int,
        start: int,
        end: int,
        revision: int,
        closed: Closed,
        whole: Callable[[], Closed] | None = None,
    ) -> Firing:
        """Return one window over all groups of ``closed``."""
        n = len(closed.group)
        due, starts, ends, revisions = (np.full(n, x, np.int64) for x in (when, start, end, revision))
        return cls(due, starts, ends, revisions, np.full(n, revision == 0), closed, whole or (lambda: closed))


class Frames(Protocol):
    """The open windows of one task; deterministic in the sequence of rows and watermarks."""

    def stop(self, time: Ints, before: Ints, watermark: int, group: Callable[[int], int]) -> int:
        """Return how many rows may be added before the windows that they pass must fire.

        ``before`` is the watermark before each row, ``watermark`` the one up to which windows have fired.
        ``group(row)`` is the code of a row's group, -1 if it has none yet. At least 1.
        """

    def judge(self, time: Ints, before: Ints, group: Callable[[int], int]) -> tuple[Bools, Bools]:
        """Return which rows come too late for a window, and which rows count in at least one."""

    def add(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes, before: Ints) -> None:
        """Add rows that count, in record order."""

    def merge(
        self, group: NDArray[np.int32], table: PaneTable, panes: NDArray[np.intp], time: Ints, before: Ints
    ) -> None:
        """Add panes that count, in record order; ``time`` is the latest of each.

        Raises:
            TypeError: these windows are not exact, so nothing but rows can be added to them.
        """

    def due(self, watermark: int) -> Iterator[Firing]:
        """Give what a watermark makes due, in order of (due, revision, window, group), and let go of what is over."""

    def alive(self) -> Iterable[str]:
        """Return the names of the windows that are open."""

    def save(self, *, full: bool) -> dict[str, Saved]:
        """Return the content of each window, or what has changed since the last call; names have no slash."""

    def load(self, windows: Mapping[str, Sequence[bytes]], dropped: Iterable[str] = ()) -> None:
        """Let go of the windows ``dropped``, then take over the parts of windows, in the order in which they were saved."""

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the windows take."""

    def pack(self) -> dict[str, bytes]:
        """Return what there is beside the windows as named parts, the same bytes for the same content."""

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over packed parts; none at all is the empty state."""


class TumblingFrames:
    """Windows ``[start, start + size)``, each with a revision 1 for groups whose rows came late but were allowed."""

    def __init__(self, size: int, lateness: int, make: Callable[[int], Window] = Window) -> None:
        self._size, self._lateness, self._make = size, lateness, make
        self._windows: dict[int, Window] = {}

    def stop(self, time: Ints, before: Ints, watermark: int, group: Callable[[int], int]) -> int:  # noqa: ARG002
        """Stop at the first row that belongs to a window fired on the way."""
        if not self._lateness:
            return len(time)
        end = time - time % self._size + self._size
        reopened = (end <= before) & (end > watermark) & (end + self._lateness > before)
        at = int(reopened.argmax())
        return at if reopened[at] else len(time)

    def judge(self, time: Ints, before: Ints, group: Callable[[int], int]) -> tuple[Bools, Bools]:  # noqa: ARG002
        """A row belongs to one window, and counts in it or comes too late."""
        if not (time < before).any():  # a row that the watermark has not passed is never late
            return np.zeros(len(time), bool), np.ones(len(time), bool)
        late = time - time % self._size + self._size + self._lateness <= before
        return late, ~late

    def add(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes, before: Ints) -> None:
        """Add rows to their windows."""
        for window, mine in self._windows_of(time, before):
            window.update(group[mine], value[mine], time[mine], codes[mine])

    def merge(
        self, group: NDArray[np.int32], table: PaneTable, panes: NDArray[np.intp], time: Ints, before: Ints
    ) -> None:
        """Add panes to their windows."""
        for window, mine in self._windows_of(time, before):
            exact(window).merge(group[mine], table, panes[mine])

    def _windows_of(self, time: Ints, before: Ints) -> Iterator[tuple[Window, slice | NDArray[np.intp]]]:
        """Yield the windows of rows, opened where needed, with the rows of each."""
        for opening, mine in _by_window(time, self._size):
            window = self._windows.get(opening)
            if window is None:
                window = self._windows[opening] = self._make(opening)
                # Its end has passed without a row: there is no revision 0, all of it is late but allowed.
                window.fired = opening + self._size <= int(before[mine][0])
            yield window, mine

    def due(self, watermark: int) -> Iterator[Firing]:
        """Fire revision 0 at a window's end, and revision 1 when the allowed lateness is over."""
        due: list[tuple[int, int, int]] = []
        for start, window in self._windows.items():
            if not window.fired:
                due.append((start + self._size, 0, start))
            due.append((start + self._size + self._lateness, 1, start))
        for when, revision, start in sorted(due):
            if when > watermark:
                break
            if revision == 0:
                window = self._windows[start]
                window.fired = True
                yield Firing.of(when, start, start + self._size, 0, window.closed())
            else:
                window = self._windows.pop(start)
                if window.touched_late:
                    late = window.closed(only_late=True)
                    yield Firing.of(when, start, start + self._size, 1, late, window.closed)

    def alive(self) -> Iterable[str]:
        """Return the starts of the open windows."""
        return map(str, self._windows)

    def save(self, *, full: bool) -> dict[str, Saved]:
        """Return each window, or what changed in it, by its start."""
        return saved(self._windows, full=full)

    def load(self, windows: Mapping[str, Sequence[bytes]], dropped: Iterable[str] = ()) -> None:
        """Let go of some windows and take over parts of others."""
        load_into(self._windows, windows, dropped, self._make)

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the windows take."""
        return sum(window.nbytes for window in self._windows.values())

    def pack(self) -> dict[str, bytes]:
        """Return nothing: there is nothing but windows."""
        return {}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over nothing."""


def saved(windows: Mapping[int, Window], *, full: bool) -> dict[str, Saved]:
    """Save windows by start, in order."""
    return {str(start): windows[start].save(full=full) for start in sorted(windows)}


def load_into(
    held: dict[int, Window],
    windows: Mapping[str, Sequence[bytes]],
    dropped: Iterable[str],
    make: Callable[[int], Window],
) -> None:
    """Let go of some windows, then add to others what was saved of each."""
    for start in dropped:
        held.pop(int(start), None)
    for start, parts in windows.items():
        if int(start) not in held:
            held[int(start)] = make(int(start))
        for part in parts:
            held[int(start)].load(part)


def _by_window(time: Ints, size: int) -> Iterator[tuple[int, slice | NDArray[np.intp]]]:
    """Yield the starts of the windows that rows fall into, ascending, with the rows of each."""
    if not len(time):
        return
    first, last = (int(end) // size * size for end in (time.min(), time.max()))
    if first == last:
        yield first, slice(None)
    elif last - first <= _FEW * size:  # to compare is several times as fast as to divide
        for start in range(first, last + 1, size):
            mine = np.flatnonzero((time >= start) & (time < start + size))
            if len(mine):
                yield start, mine
    else:
        starts = time - time % size
        changes = np.flatnonzero(starts[1:] != starts[:-1]) + 1
        for start in sorted({int(starts[0]), *starts[changes].tolist()}):
            yield start, np.flatnonzero(starts == start)


def exact(window: Window) -> ExactWindow:
    """Return a window as one that panes can be added to.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(window, ExactWindow):
        raise TypeError("panes can only be added to windows of a declared resolution")
    return window
