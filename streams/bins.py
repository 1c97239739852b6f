"""The sketches of all groups of a window: counted bins in order, and a log of those not yet counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams import bins_kernel as kernel

Ints = NDArray[np.int64]
Entry = tuple[Ints, Ints | None]

CODE_BITS = 16
_CODE = (1 << CODE_BITS) - 1
_COMPACT_AFTER = 1 << 20


class Bins:
    """How often each bin of each group was hit; a key is (group << 16) | code.

    Rows are only noted, and counted once they are as many as the bins there are, so that counting costs the same for each row
    however many bins there are. ``fresh`` gives what was added since it was last asked for.
    """

    def __init__(self) -> None:
        self._keys, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._log: list[Entry] = []
        self._log_size = 0
        self._since: list[Entry] | None = None

    def note(self, keys: Ints, times: Ints | None = None) -> None:
        """Add one to the bin of each row, or as many as ``times`` says; keys may come in any order and more than once."""
        entry = (keys, times)
        self._log.append(entry)
        self._log_size += len(keys)
        if self._since is not None:
            self._since.append(entry)
        if self._log_size > max(_COMPACT_AFTER, len(self._keys)):
            self._count()

    def drop(self, groups: NDArray[np.bool_]) -> None:
        """Forget the groups that the mask says."""
        self._count()
        kept = ~groups[self._keys >> CODE_BITS]
        self._keys, self._counts = self._keys[kept], self._counts[kept]
        self._since = None

    def of(self, groups: NDArray[np.int32]) -> tuple[Ints, NDArray[np.int32], Ints]:
        """Return the bins of groups, in the order given, as sparse rows ``(indptr, codes, counts)``."""
        self._count()
        first = groups.astype(np.int64) << CODE_BITS
        low = np.searchsorted(self._keys, first)
        size = np.searchsorted(self._keys, first + (1 << CODE_BITS)) - low
        indptr = np.concatenate([[0], np.cumsum(size)])
        take = np.arange(indptr[-1]) + np.repeat(low - indptr[:-1], size)
        return indptr, (self._keys[take] & _CODE).astype(np.int32), self._counts[take]

    def fresh(self, *, full: bool) -> tuple[Ints, Ints]:
        """Return what was added since the last call, or all there is, as (keys, counts) in order of the keys."""
        since = self._since
        self.begin()
        if full or since is None:
            self._count()
            return self._keys, self._counts
        return totalled(since)

    def begin(self) -> None:
        """Take what there is for known, so that ``fresh`` gives what comes from now on."""
        self._since = []

    def _count(self) -> None:
        if self._log:
            log, self._log, self._log_size = self._log, [], 0
            self._keys, self._counts = merged(self._keys, self._counts, *totalled(log))


def totalled(log: list[Entry]) -> tuple[Ints, Ints]:
    """Return the distinct keys of a log, ascending, and how often each was hit."""
    once = _joined([keys for keys, times in log if times is None])
    once.sort()
    keys, counts = np.empty_like(once), np.empty_like(once)
    n = kernel.count(once, keys, counts)
    keys, counts = keys[:n].copy(), counts[:n].copy()
    if all(times is None for _, times in log):
        return keys, counts
    often = _joined([keys for keys, times in log if times is not None])
    times = _joined([times for _, times in log if times is not None])
    if not np.all(often[1:] > often[:-1]):  # those of a state that was saved whole are in order
        order = np.argsort(often, kind="stable")
        often, times = often[order], times[order]
        first = _firsts(often)
        often, times = often[first], np.add.reduceat(times, first)
    return merged(keys, counts, often, times)


def merged(keys: Ints, counts: Ints, more_keys: Ints, more_counts: Ints) -> tuple[Ints, Ints]:
    """Return the union of two ascending lists of bins with common ones added up."""
    if not len(keys) or not len(more_keys):
        return (keys, counts) if len(keys) else (more_keys, more_counts)
    if keys[-1] < more_keys[0]:
        return np.concatenate([keys, more_keys]), np.concatenate([counts, more_counts])
    out_keys, out_counts = (np.empty(len(keys) + len(more_keys), np.int64) for _ in range(2))
    n = kernel.merge(keys, counts, more_keys, more_counts, out_keys, out_counts)
    return out_keys[:n].copy(), out_counts[:n].copy()


def distinct(ascending: Ints) -> Ints:
    """Return the distinct values of an ascending array."""
    return ascending[_firsts(ascending)]


def _firsts(ascending: Ints) -> NDArray[np.intp]:
    """Return where each distinct value comes first."""
    return np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1])[: len(ascending)])


def _joined(arrays: list[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *arrays])
