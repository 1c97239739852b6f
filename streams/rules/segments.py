"""The samples of a batch laid out group by group, and the running operations of rules within each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Number = TypeVar("Number", np.int8, np.int64, np.float64)


@dataclass(frozen=True, slots=True)
class Segments:
    """Positions of samples sorted stably by group: each group is one segment, in processing order.

    ``order`` maps sorted to original positions, both of shape (n,). ``groups``, ``start`` and ``stop`` have
    one element a segment; ``segment`` and ``first`` have one a sorted position: its segment and where that
    begins.
    """

    order: Ints
    groups: NDArray[np.int32]
    start: Ints
    stop: Ints
    segment: Ints
    first: Ints

    @classmethod
    def of(cls, group: NDArray[np.int32], chosen: Bools | None = None) -> Segments:
        """Lay out the samples of ``group``, or only those that are ``chosen``."""
        if chosen is None or bool(chosen.all()):
            order = np.argsort(group, kind="stable")
        else:
            kept = np.flatnonzero(chosen)
            order = kept[np.argsort(group[kept], kind="stable")]
        laid = group[order]
        fresh = np.ones(len(laid), dtype=np.bool_)
        fresh[1:] = laid[1:] != laid[:-1]
        start = np.flatnonzero(fresh)
        segment = np.cumsum(fresh) - 1
        stop = np.append(start[1:], len(laid)).astype(np.intp)
        return cls(order, laid[start], start, stop, segment, start[segment])

    def __len__(self) -> int:
        return len(self.order)

    @property
    def last(self) -> Ints:
        """Return the last sorted position of each segment."""
        return self.stop - 1

    def latest(self, mark: Bools) -> Ints:
        """Return for each position the latest marked one up to it in its segment, or -1."""
        found = np.maximum.accumulate(np.where(mark, np.arange(len(mark)), -1))
        return np.where(found >= self.first, found, -1)

    def latch(self, raised: Bools, cleared: Bools, carried: Bools) -> Bools:
        """Return whether a latch is on after each position: on when raised, off when cleared, else as it was.

        ``carried`` (one a segment) is the latch before the batch. Raising wins where both are marked.
        """
        decided = self.latest(raised | cleared)
        return np.where(decided >= 0, raised[decided], carried[self.segment])

    def running_max(self, number: NDArray[np.int64], carried: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the largest number up to each position in its segment, and of ``carried`` (one a segment)."""
        # Ranks instead of numbers keep segment * n + rank far from overflow whatever the numbers are.
        distinct, rank = np.unique(np.concatenate([number, carried]), return_inverse=True)
        floor = rank[len(number) :]
        lifted = self.segment * len(distinct) + np.maximum(rank[: len(number)], floor[self.segment])
        running: NDArray[np.int64] = distinct[np.maximum.accumulate(lifted) % len(distinct)]
        return running

    def before(self, after: NDArray[Number], carried: NDArray[Number]) -> NDArray[Number]:
        """Shift values that hold after each position to the next of its segment, from ``carried`` on."""
        shifted = np.empty_like(after)
        shifted[1:] = after[:-1]
        shifted[self.start] = carried
        return shifted

    def run_length(self, mark: Bools, carried: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many positions up to and including each are marked in a row, after ``carried`` ones."""
        broken = self.latest(~mark)
        positions = np.arange(len(mark), dtype=np.int64)
        return np.where(broken >= 0, positions - broken, positions - self.first + 1 + carried[self.segment])
