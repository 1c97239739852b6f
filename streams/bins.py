"""The sketches of all slots of a window: counted bins in few bytes, and a log of those not yet counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams import bins_kernel as kernel

Ints = NDArray[np.int64]
Entry = tuple[Ints, Ints | None]
Sparse = tuple[Ints, NDArray[np.int32], Ints]

CODE_BITS = 16
_COUNT_AFTER = 1 << 20
_SHARE = 4
"""Rows are counted once they are a quarter of the bins there are, or the log would take more than those."""
_NONE = np.empty(0, np.int64)


class Bins:
    """How often each bin of each slot was hit; a key is (slot << 16) | code.

    Counted bins lie slot by slot: two bytes for a code, for a count as many as the largest needs. Rows are only noted, and counted
    once they are many, so that counting costs the same for each row however many bins there are. ``fresh`` gives what was added
    since it was last asked for.
    """

    def __init__(self) -> None:
        self._ends = np.empty(64, np.int64)
        self._codes, self._counts = np.empty(64, np.uint16), np.empty(64, np.uint8)
        self._slots = self._used = self._most = 0
        self._log: list[Entry] = []
        self._log_size = 0
        self._since: list[Entry] | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the bins take, counted or not."""
        noted = {
            id(array): array.nbytes
            for entry in (*self._log, *(self._since or ()))
            for array in entry
            if array is not None
        }
        counted = self._ends[: self._slots].nbytes + self._codes[: self._used].nbytes
        return int(counted + self._counts[: self._used].nbytes + sum(noted.values()))

    def note(self, keys: Ints, times: Ints | None = None) -> None:
        """Add one to the bin of each row, or as many as ``times`` says; keys may come in any order and more than once."""
        entry = (keys, times)
        self._log.append(entry)
        self._log_size += len(keys)
        if self._since is not None:
            self._since.append(entry)
        if self._log_size > max(_COUNT_AFTER, self._used // _SHARE):
            self._count()

    def extend(self, first: int, sizes: Ints, codes: NDArray[np.uint16], counts: Ints) -> None:
        """Add the counted bins of slots that have none, from ``first`` on, above all that have been counted."""
        self._reach(first, len(sizes))
        end = self._used + len(codes)
        self._most = max(self._most, int(counts.max(initial=0)))
        kind = _narrowest(self._most)
        if end > len(self._codes) or kind != self._counts.dtype:
            size = len(self._codes) if end <= len(self._codes) else 2 * end
            self._codes = _grown(self._codes, self._used, size, self._codes.dtype)
            self._counts = _grown(self._counts, self._used, size, kind)
        self._codes[self._used : end], self._counts[self._used : end] = codes, counts
        self._ends[first : self._slots] = self._used + np.cumsum(sizes)
        self._used = end

    def kept(self, slots: NDArray[Any]) -> Bins:
        """Return the bins of some slots, which are numbered anew in this order."""
        indptr, codes, counts = self.of(slots)
        rest = Bins()
        rest.extend(0, np.diff(indptr), codes.astype(np.uint16), counts)
        return rest

    def of(self, slots: NDArray[Any]) -> Sparse:
        """Return the bins of slots, in the order given, as sparse rows ``(indptr, codes, counts)``."""
        self._count()
        self._reach(int(slots.max(initial=-1)) + 1, 0)
        indptr = np.empty(len(slots) + 1, np.int64)
        slots = slots.astype(np.int64)
        size = kernel.sizes(slots, self._ends, indptr)
        codes, counts = np.empty(size, np.int32), np.empty(size, np.int64)
        kernel.take(slots, self._ends, self._codes, *_raw(self._counts), codes, counts)
        return indptr, codes, counts

    def fresh(self) -> tuple[Ints, Sparse] | None:
        """Return the slots hit since the last call, ascending, and how often each bin of theirs was; None: that is not known."""
        since = self._since
        self.begin()
        return None if since is None else _by_slot(*totalled(since))

    def begin(self) -> None:
        """Take what there is for known, so that ``fresh`` gives what comes from now on."""
        self._since = []

    def _reach(self, first: int, more: int) -> None:
        """Have slots up to ``first``, and room for so many after it, which the caller fills."""
        if first + more > len(self._ends):
            self._ends = _grown(
                self._ends, self._slots, max(first + more, 2 * len(self._ends)), self._ends.dtype
            )
        self._ends[self._slots : first] = self._used
        self._slots = max(self._slots, first + more)

    def _count(self) -> None:
        log, self._log, self._log_size = self._log, [], 0
        for keys, times in _ascending(log):
            self._merge(keys, times)

    def _merge(self, keys: Ints, times: Ints) -> None:
        slots, size = max(self._slots, int(keys[-1] >> CODE_BITS) + 1), self._used + len(keys)
        counts = np.empty(size, _narrowest(self._most + int(kernel.largest(keys, times))))
        ends, codes = np.empty(slots, np.int64), np.empty(size, np.uint16)
        self._used, self._most = kernel.merge(
            self._ends[: self._slots],
            self._codes,
            *_raw(self._counts),
            keys,
            times,
            ends,
            codes,
            *_raw(counts),
        )
        self._ends, self._codes, self._counts, self._slots = ends, codes, counts, slots


def totalled(log: list[Entry]) -> tuple[Ints, Ints]:
    """Return the distinct keys of a log, ascending, and how often each was hit."""
    parts = []
    for keys, times in _ascending(log):
        found, counts = np.empty_like(keys), np.empty_like(keys)
        n = kernel.count(keys, times, found, counts)
        parts.append((found[:n], counts[:n]))
    return totalled(list(parts)) if len(parts) > 1 else parts[0] if parts else (_NONE, _NONE)


def _by_slot(keys: Ints, counts: Ints) -> tuple[Ints, Sparse]:
    """Return distinct keys in order by their slots."""
    slots = keys >> CODE_BITS
    begins = np.flatnonzero(np.append(True, slots[1:] != slots[:-1])[: len(slots)])
    indptr = np.append(begins, len(keys))
    return slots[begins], (indptr, (keys & ((1 << CODE_BITS) - 1)).astype(np.int32), counts)


def _ascending(log: list[Entry]) -> list[tuple[Ints, Ints]]:
    """Return the rows of a log in order of their keys, those that count once apart from those with numbers."""
    once = [keys for keys, times in log if times is None]
    found = []
    if once:
        keys = np.concatenate(once)
        keys.sort()
        found.append((keys, _NONE))
    if len(once) < len(log):
        keys = np.concatenate([keys for keys, times in log if times is not None])
        times = np.concatenate([times for _, times in log if times is not None])
        if not np.all(keys[1:] >= keys[:-1]):
            order = np.argsort(keys, kind="stable")
            keys, times = keys[order], times[order]
        found.append((keys, times))
    return [(keys, times) for keys, times in found if len(keys)]


def _narrowest(largest: int) -> np.dtype[Any]:
    return np.dtype(next(kind for kind in ("u1", "u2", "u4", "u8") if largest < 1 << 8 * int(kind[1])))


def _grown(array: NDArray[Any], used: int, size: int, kind: np.dtype[Any]) -> NDArray[Any]:
    grown = np.empty(size, kind)
    grown[:used] = array[:used]
    return grown


def _raw(counts: NDArray[Any]) -> tuple[NDArray[np.uint8], int]:
    """Return numbers as bytes and how many each takes, so that one loop reads them all."""
    return counts.view(np.uint8), counts.itemsize
