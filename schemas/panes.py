"""Aggregates of rows that were made before they reached a topic: what a pane holds, and how it travels among rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
Float64s = NDArray[np.float64]

INTEGERS = ("start", "first_time", "last_time", "count", "sum", "squares_low", "squares_high")
FLOATS = ("min", "max", "first", "last")


@dataclass(frozen=True, slots=True)
class PaneSpec:
    """What panes must have in common to be added: their length, the accuracy of bins, the resolution of sums.

    Panes of ``pane_ms`` may be added to windows that are cut into such panes or into multiples of them.
    """

    pane_ms: int
    alpha: float
    resolution: float

    def takes(self, other: PaneSpec) -> bool:
        """Whether panes of another make can be added exactly."""
        fits = other.pane_ms > 0 and self.pane_ms % other.pane_ms == 0
        return fits and (self.alpha, self.resolution) == (other.alpha, other.resolution)


@dataclass(frozen=True, slots=True)
class PaneTable:
    """Panes as columns of shape (n,), each the rows of one combination of labels in ``[start, start + pane_ms)``.

    ``integers`` has ``INTEGERS``: times in milliseconds, the sum in steps of the resolution, the sum of squares in squared steps as
    ``squares_high * 2**40 + squares_low``. ``floats`` has ``FLOATS``; of rows with equal times the smallest value is first and the
    largest last. ``codes`` and ``counts`` from ``indptr[i]`` to ``indptr[i + 1]`` are the occupied bins of the sketch.
    """

    integers: Mapping[str, Int64s]
    floats: Mapping[str, Float64s]
    indptr: Int64s
    codes: Int32s
    counts: Int64s

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def bins(self, panes: NDArray[np.intp]) -> tuple[Int64s, Int32s, Int64s]:
        """Return, for the bins of some panes, the index among ``panes``, the code and the count of each."""
        size = np.diff(self.indptr)[panes]
        stop = np.cumsum(size)
        take = np.arange(size.sum()) + np.repeat(self.indptr[panes] - (stop - size), size)
        return np.repeat(np.arange(len(panes)), size), self.codes[take], self.counts[take]


@dataclass(frozen=True, slots=True)
class PaneRows:
    """Which rows of a batch are panes: ``index`` of shape (n,) into the table, -1 for rows that are single events."""

    index: Int32s
    table: PaneTable

    def take(self, rows: NDArray[np.intp] | slice) -> PaneRows:
        """Return those of some rows."""
        return PaneRows(self.index[rows], self.table)


def joined(tables: list[PaneTable]) -> PaneTable:
    """Return the panes of all tables, of which there is at least one, one after the other."""
    shift = np.cumsum([0, *(len(table.codes) for table in tables)])
    parts = [table.indptr[:-1] + at for table, at in zip(tables, shift, strict=False)]
    return PaneTable(
        {name: np.concatenate([table.integers[name] for table in tables]) for name in INTEGERS},
        {name: np.concatenate([table.floats[name] for table in tables]) for name in FLOATS},
        np.append(np.concatenate(parts), shift[-1]).astype(np.int64),
        np.concatenate([table.codes for table in tables]),
        np.concatenate([table.counts for table in tables]),
    )
