"""One tumbling window over all groups of a partition: aggregates in arrays, the sketches as counted bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams import window_kernel as kernel
from streams.added import PACKED_ROWS, ROWS_A_GROUP, Added, unpacked
from streams.bins import CODE_BITS, Bins, Sparse
from streams.blocks import Saved
from streams.narrow import Narrow, narrowed, widened
from streams.sketches.mapping import Codes, Floats
from streams.whole import Whole

Ints = NDArray[np.int64]

_FLOATS = ("sum", "shift", "from_shift", "squares", "min", "max", "first", "last")
_INTS = ("count", "first_time", "last_time", "late")
_AT_ONCE = 2048  # groups that are packed together: some 150 kB of aggregates

Packed = tuple[int, bool, Narrow, bytes, list[Narrow], Narrow, bytes, Narrow]
"""start, fired, groups, floats and integers by column, bins a group, their codes, their counts"""


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
        self._bins = Bins()
        self._saved_as: bool | None = None  # whether it had fired when it was last saved
        # Since it was last saved, unless groups as they are now take fewer bytes.
        self._added: Added | None = None

    @property
    def touched_late(self) -> bool:
        """Whether rows came after revision 0."""
        return bool(self._columns["late"][: self._used].any())

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the window takes."""
        return self._slots.nbytes + self._group.nbytes + self._rows.nbytes + self._bins.nbytes

    def update(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes) -> None:
        """Add rows in record order."""
        self._admit(group, value)
        log = np.empty(len(group), np.int64)
        kernel.add_rows(group, value, time, codes, self._slots, self._rows, self._rows.view(np.int64), log)
        self._note(group, log)
        self._keep(group, value, time, codes)

    def closed(self, *, only_late: bool = False) -> Closed:
        """Return the window's content, or that of the groups that late rows touched."""
        slots = np.arange(self._used)
        if only_late:
            slots = slots[self._columns["late"][: self._used] > 0]
        return self._content(slots[np.argsort(self._group[slots])])

    def pick(self, groups: NDArray[np.int32]) -> Closed:
        """Return the content of some groups, in the order given."""
        return self._content(self._slots[groups])

    def drop(self, groups: NDArray[np.int32]) -> None:
        """Forget some groups; the next ``save`` gives everything."""
        gone = np.zeros(self._used, bool)
        gone[self._slots[groups]] = True
        rest = np.flatnonzero(~gone)
        self._bins = self._bins.kept(rest)
        self._saved_as = None
        self._group = self._group[rest]
        self._hold(self._rows[rest])
        self._used = len(rest)
        self._slots[groups] = -1
        self._slots[self._group] = np.arange(self._used, dtype=np.int32)

    def put(self, closed: Closed) -> None:
        """Take over groups that the window does not have."""
        self._reach(int(closed.group.max(initial=0)))
        self._open(closed.group, closed.floats["shift"])
        slots = self._slots[closed.group]
        for name, column in (closed.floats | closed.times | {"count": closed.count}).items():
            self._columns[name][slots] = column
        owner = np.repeat(slots.astype(np.int64), np.diff(closed.indptr))
        self._bins.note((owner << CODE_BITS) | closed.codes, closed.counts)
        self._added = None

    def _keep(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes) -> None:
        """Keep rows to be saved as they are, until they are too many for that to be of use."""
        if self._added is not None:
            self._added.keep(self.fired, group, value, time, codes)
            if len(self._added) > ROWS_A_GROUP * self._used:
                self._added = None

    def _note(self, group: NDArray[np.int32], log: Ints) -> None:
        """Note the bins of rows added, and that they came late if they did."""
        if self.fired:
            self._columns["late"][self._slots[group]] = 1
        self._bins.note(log)

    def _content(self, slots: NDArray[Any]) -> Closed:
        group = self._group[slots]
        indptr, codes, hits = self._bins.of(slots)
        floats = {name: np.asarray(self._columns[name][slots], np.float64) for name in _FLOATS}
        times = {name: self._columns[name][slots] for name in ("first_time", "last_time")}
        counts = np.asarray(self._columns["count"][slots], np.int64)
        return Closed(self.start, group, counts, floats, times, indptr, codes, hits)

    def save(self, *, full: bool) -> Saved:
        """Return the content, or what has changed since the last call, in parts that ``load`` takes in the same order.

        All of it is the same bytes for the same content. What changed costs by itself, however large the window is: rows as they
        came or the groups that they changed, whichever are fewer bytes.
        """
        whole = full or self._saved_as is None
        added, self._added = self._added, Added()
        before, self._saved_as = self._saved_as, self.fired
        if not whole and added is not None and added.are_less(self._used):
            self._bins.begin()
            told = bool(len(added)) or before != self.fired
            return Saved(list(added.parts(self.start, fired=self.fired)) if told else [], whole=False)
        fresh = None if whole else self._bins.fresh()  # a row that changes an aggregate hits a bin, too
        if fresh is None:
            self._bins.begin()
            slots = np.argsort(self._group[: self._used])
            chosen = (slots[at : at + _AT_ONCE] for at in range(0, max(len(slots), 1), _AT_ONCE))
            return Saved([self._pack(some, *self._bins.of(some)) for some in chosen], whole=True)
        slots, bins = fresh
        if not len(slots) and before == self.fired:
            return Saved([], whole=False)
        return Saved(list(self._packed(slots, bins)), whole=False)

    def _packed(self, slots: Ints, bins: Sparse) -> Iterator[bytes]:
        indptr, codes, counts = bins
        for at in range(0, max(len(slots), 1), _AT_ONCE):
            bounds = indptr[at : at + _AT_ONCE + 1]
            here = slice(int(bounds[0]), int(bounds[-1]))
            yield self._pack(slots[at : at + _AT_ONCE], bounds, codes[here], counts[here])

    def _pack(self, slots: NDArray[Any], indptr: Ints, codes: Codes, counts: Ints) -> bytes:
        rows = self._rows[slots]
        integers = rows.view(np.int64)
        packed: Packed = (
            self.start,
            self.fired,
            narrowed(self._group[slots].astype(np.int64)),
            rows[:, : len(_FLOATS)].T.tobytes(),
            [narrowed(integers[:, place]) for place in range(len(_FLOATS), len(_FLOATS) + len(_INTS))],
            narrowed(np.diff(indptr)),
            codes.astype("<u2").tobytes(),
            narrowed(counts),
        )
        return msgspec.msgpack.encode(packed)

    def load(self, part: bytes) -> None:
        """Take over a part of what ``save`` returned: rows to add, or groups as they are now and bins to add."""
        start, self.fired, *packed = msgspec.msgpack.decode(part)
        assert start == self.start
        if len(packed) == PACKED_ROWS:
            rows = unpacked(packed)
            if len(rows[0]):
                self.update(*rows)
        else:
            self._load_groups(*packed)
        self._bins.begin()
        self._saved_as, self._added = self.fired, Added()

    def _load_groups(
        self,
        group: Narrow,
        floats: bytes,
        integers: list[Narrow],
        sizes: Narrow,
        codes: bytes,
        counts: Narrow,
    ) -> None:
        groups = widened(group).astype(np.int32)
        if len(groups):
            first = self._used
            self._admit(groups, np.zeros(len(groups)))
            slots = self._slots[groups]
            self._rows[slots, : len(_FLOATS)] = np.frombuffer(floats).reshape(len(_FLOATS), -1).T
            for name, column in zip(_INTS, integers, strict=True):
                self._columns[name][slots] = widened(column)
            if self._used - first == len(groups):
                self._bins.extend(first, widened(sizes), np.frombuffer(codes, "<u2"), widened(counts))
            else:
                owner = np.repeat(slots.astype(np.int64) << CODE_BITS, widened(sizes))
                self._bins.note(owner | np.frombuffer(codes, "<u2"), widened(counts))

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
