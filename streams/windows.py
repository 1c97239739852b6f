"""One tumbling window over all groups of a partition: aggregates in arrays, the sketch as a log of bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams import window_kernel as kernel
from streams.sketches.mapping import Codes, Floats
from streams.whole import Whole

Ints = NDArray[np.int64]

_FLOATS = ("sum", "shift", "from_shift", "squares", "min", "max", "first", "last")
_INTS = ("count", "first_time", "last_time", "late")
_COMPACT_AFTER = 1 << 20


@dataclass(frozen=True, slots=True)
class Closed:
    """A window's groups in order of their codes: aggregates of shape (k,), sketches as sparse rows.

    Where a resolution is declared, ``whole`` has the exact sums that those in ``floats`` were rounded from.
    """

    start: int
    group: NDArray[np.int32]
    count: Ints
    floats: dict[str, Floats]
    times: dict[str, Ints]
    indptr: Ints
    codes: Codes
    counts: Ints
    whole: Whole | None = None

    @property
    def mean(self) -> Floats:
        """The mean of each group."""
        return self.floats["sum"] / self.count

    @property
    def variance(self) -> Floats:
        """The population variance, from squares about each group's first value so that a large mean costs no digits."""
        drift = self.floats["from_shift"]
        return np.maximum(self.floats["squares"] - drift * drift / self.count, 0.0) / self.count

    def column(self, name: str) -> Floats:
        """Return an aggregate by name."""
        if name in ("mean", "variance"):
            return self.mean if name == "mean" else self.variance
        return self.count.astype(np.float64) if name == "count" else self.floats[name]


W = TypeVar("W", bound="Window")


class Window:
    """The open window ``[start, start + size)``; updates go straight into state in row order, whatever the batches.

    A slot is one group's place in the arrays, given at its first row. ``fired`` says that revision 0 is published.
    """

    def __init__(self, start: int) -> None:
        self.start = start
        self.fired = False
        self._slots = np.full(64, -1, np.int32)
        self._group = np.empty(64, np.int32)
        self._hold(np.zeros((64, len(_FLOATS) + len(_INTS))))
        self._used = 0
        self._log: list[Ints] = []
        self._log_size = 0
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    @property
    def touched_late(self) -> bool:
        """Whether rows came after revision 0."""
        return bool(self._columns["late"][: self._used].any())

    def update(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes) -> None:
        """Add rows in record order."""
        self._admit(group, value)
        log = np.empty(len(group), np.int64)
        kernel.add_rows(group, value, time, codes, self._slots, self._rows, self._rows.view(np.int64), log)
        self._note(group, log)

    def closed(self, *, only_late: bool = False) -> Closed:
        """Return the window's content, or that of the groups that late rows touched."""
        self._compact()
        slots = np.arange(self._used)
        if only_late:
            slots = slots[self._columns["late"][: self._used] > 0]
        return self._content(slots[np.argsort(self._group[slots])])

    def pick(self, groups: NDArray[np.int32]) -> Closed:
        """Return the content of some groups, in the order given."""
        self._compact()
        return self._content(self._slots[groups])

    def drop(self, groups: NDArray[np.int32]) -> None:
        """Forget some groups."""
        self._compact()
        gone = np.zeros(len(self._slots), bool)
        gone[groups] = True
        kept = ~gone[self._keys >> 16]
        self._keys, self._counts = self._keys[kept], self._counts[kept]
        rest = np.flatnonzero(~gone[self._group[: self._used]])
        self._group = self._group[rest]
        self._hold(self._rows[rest])
        self._used = len(rest)
        self._slots[groups] = -1
        self._slots[self._group] = np.arange(self._used, dtype=np.int32)

    def put(self, closed: Closed) -> None:
        """Take over groups that the window does not have."""
        self._compact()
        self._reach(int(closed.group.max(initial=0)))
        self._open(closed.group, closed.floats["shift"])
        slots = self._slots[closed.group]
        for name, column in (closed.floats | closed.times | {"count": closed.count}).items():
            self._columns[name][slots] = column
        group = np.repeat(closed.group.astype(np.int64), np.diff(closed.indptr))
        self._add_bins((group << 16) | closed.codes, closed.counts)

    def _note(self, group: NDArray[np.int32], log: Ints) -> None:
        """Note the bins of rows added, and that they came late if they did."""
        if self.fired:
            self._columns["late"][self._slots[group]] = 1
        self._log.append(log)
        self._log_size += len(log)
        if self._log_size > max(_COMPACT_AFTER, len(self._keys)):
            self._compact()

    def _content(self, slots: NDArray[Any]) -> Closed:
        group = self._group[slots]
        low = np.searchsorted(self._keys, group.astype(np.int64) << 16)
        high = np.searchsorted(self._keys, (group.astype(np.int64) + 1) << 16)
        size = high - low
        indptr = np.concatenate([[0], np.cumsum(size)])
        take = np.arange(indptr[-1]) + np.repeat(low - indptr[:-1], size)
        floats = {name: np.asarray(self._columns[name][slots], np.float64) for name in _FLOATS}
        times = {name: self._columns[name][slots] for name in ("first_time", "last_time")}
        counts = np.asarray(self._columns["count"][slots], np.int64)
        codes = (self._keys[take] & 0xFFFF).astype(np.int32)
        return Closed(self.start, group, counts, floats, times, indptr, codes, self._counts[take])

    def pack(self) -> bytes:
        """Return the state, the same bytes for the same content."""
        self._compact()
        order = np.argsort(self._group[: self._used])
        columns = {name: column[: self._used][order].tobytes() for name, column in self._columns.items()}
        return msgspec.msgpack.encode(
            [self.start, self.fired, self._group[: self._used][order].tobytes(), columns,
             self._keys.tobytes(), self._counts.tobytes()]
        )  # fmt: skip

    @staticmethod
    def unpack(data: bytes, make: Callable[[int], W]) -> W:
        """Return the window of a packed state, of the kind that ``make`` gives for a start."""
        start, fired, group, columns, keys, counts = msgspec.msgpack.decode(data)
        window = make(start)
        window.fired = fired
        window._group = np.frombuffer(group, np.int32).copy()
        window._used = len(window._group)
        window._hold(np.zeros((window._used, len(columns))))
        for name, column in columns.items():
            window._columns[name][:] = np.frombuffer(column, np.int64 if name in _INTS else np.float64)
        size = int(window._group.max(initial=0)) + 1
        window._slots = np.full(size, -1, np.int32)
        window._slots[window._group] = np.arange(window._used, dtype=np.int32)
        window._keys, window._counts = np.frombuffer(keys, np.int64), np.frombuffer(counts, np.int64)
        return window

    def _hold(self, rows: NDArray[np.float64]) -> None:
        """Keep the aggregates of a slot side by side, so that a row touches two lines of the cache and not a dozen."""
        self._rows = rows
        integers = rows.view(np.int64)
        self._columns: dict[str, NDArray[Any]] = {
            name: (integers if name in _INTS else rows)[:, place]
            for place, name in enumerate((*_FLOATS, *_INTS))
        }

    def _admit(self, group: NDArray[np.int32], value: Floats) -> None:
        """Give a slot to groups that have none."""
        self._reach(int(group.max()))
        new, shift = np.empty(len(group), np.int32), np.empty(len(group))
        end = kernel.place(group, value, self._slots, self._used, new, shift)
        if end > self._used:
            self._open(new[: end - self._used], shift[: end - self._used])

    def _reach(self, highest: int) -> None:
        if highest >= len(self._slots):
            grown = np.full(max(highest + 1, 2 * len(self._slots)), -1, np.int32)
            grown[: len(self._slots)] = self._slots
            self._slots = grown

    def _open(self, groups: NDArray[np.int32], first_value: Floats) -> None:
        begin, end = self._used, self._used + len(groups)
        if end > len(self._group):
            size = max(end, 2 * len(self._group))
            self._group = np.resize(self._group, size)
            rows = np.zeros((size, self._rows.shape[1]))
            rows[:begin] = self._rows[:begin]
            self._hold(rows)
        here = slice(begin, end)
        for name in (*_FLOATS, *_INTS):
            self._columns[name][here] = 0
        self._columns["min"][here], self._columns["max"][here] = np.inf, -np.inf
        self._columns["first_time"][here] = np.iinfo(np.int64).max
        self._columns["last_time"][here] = np.iinfo(np.int64).min
        self._columns["shift"][here] = first_value
        self._group[here] = groups
        self._slots[groups] = np.arange(begin, end, dtype=np.int32)
        self._used = end

    def _compact(self) -> None:
        if not self._log:
            return
        keys, counts = np.unique(np.concatenate(self._log), return_counts=True)
        self._log, self._log_size = [], 0
        self._add_bins(keys, counts)

    def _add_bins(self, keys: Ints, counts: NDArray[Any]) -> None:
        """Add counts of bins, each (group << 16) | code."""
        counts = np.concatenate([self._counts, counts])
        self._keys, inverse = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        self._counts = np.zeros(len(self._keys), np.int64)
        np.add.at(self._counts, inverse, counts)
