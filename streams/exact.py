"""Windows whose content depends on the set of their rows alone: sums as integers of a declared resolution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.panes import FLOATS, PaneTable
from streams import window_kernel as kernel
from streams.bins import CODE_BITS
from streams.sketches.fixed_point import Resolution
from streams.sketches.mapping import Codes, Floats
from streams.whole import Whole
from streams.windows import Closed, Ints, Window

LARGEST_STEPS = 1 << kernel.LIMB_BITS


class ExactWindow(Window):
    """A window that adds rows and panes in any order to the same bytes.

    Sum and squares are those of values rounded to the resolution, and exact up to 2**22 rows a group; all else is that of the
    values themselves. Of rows with equal times the smallest value counts as first and the largest as last.
    """

    def __init__(self, start: int, resolution: Resolution) -> None:
        super().__init__(start)
        self._resolution = resolution

    def update(self, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes) -> None:
        """Add rows.

        Raises ValueError if one has more than 2**40 steps of the resolution; nothing is added then.
        """
        value = value + 0.0  # -0.0 and 0.0 are equal, so which of them came first must not matter
        steps = self._resolution.steps(value)
        if np.abs(steps).max(initial=0.0) > LARGEST_STEPS:
            raise ValueError(
                f"a value has more than 2^40 steps of {self._resolution.resolution:g}; declare a coarser resolution"
            )
        self._admit(group, np.zeros(len(value)))
        log = np.empty(len(group), np.int64)
        integers = self._rows.view(np.int64)
        kernel.add_exact_rows(
            group, value, steps.astype(np.int64), time, codes, self._slots, self._rows, integers, log
        )
        self._note(group, log)
        self._keep(group, value, time, codes)

    def merge(self, group: NDArray[np.int32], table: PaneTable, panes: NDArray[np.intp]) -> None:
        """Add panes of a table to groups, shape (k,) each."""
        self._admit(group, np.zeros(len(group)))
        whole, low, high, count, begin, end = (
            table.integers[name][panes]
            for name in ("sum", "squares_low", "squares_high", "count", "first_time", "last_time")
        )
        numbers = np.stack([table.floats[name][panes] for name in FLOATS])
        integers = self._rows.view(np.int64)
        kernel.add_exact_panes(
            group, whole, low, high, numbers, np.stack([begin, end]), count, self._slots, self._rows, integers
        )
        if self.fired:
            self._columns["late"][self._slots[group]] = 1
        self._added = None
        which, codes, counts = table.bins(panes)
        self._bins.note((self._slots[group].astype(np.int64)[which] << CODE_BITS) | codes, counts)

    def panes(self) -> tuple[NDArray[np.int32], PaneTable]:
        """Return the content as panes, and the group of each."""
        closed = self.closed()
        slots = self._slots[closed.group]
        integers = self._rows.view(np.int64)
        found = {
            "start": np.full(len(slots), self.start, np.int64),
            "first_time": closed.times["first_time"],
            "last_time": closed.times["last_time"],
            "count": closed.count,
            "sum": integers[slots, kernel.EXACT_SUM],
            "squares_low": integers[slots, kernel.EXACT_LOW],
            "squares_high": integers[slots, kernel.EXACT_HIGH],
        }
        floats = {name: closed.floats[name] for name in FLOATS}
        return closed.group, PaneTable(found, floats, closed.indptr, closed.codes, closed.counts)

    def _content(self, slots: NDArray[Any]) -> Closed:
        """Return the content with sums as numbers, each rounded once from exact integers."""
        closed = super()._content(slots)
        integers = self._rows.view(np.int64)
        total = integers[slots, kernel.EXACT_SUM].tolist()
        low = integers[slots, kernel.EXACT_LOW].tolist()
        high = integers[slots, kernel.EXACT_HIGH].tolist()
        squares = [(upper << kernel.LIMB_BITS) + lower for lower, upper in zip(low, high, strict=True)]
        whole = Whole.of(self._resolution, total, squares)
        return replace(closed, floats=closed.floats | whole.floats(closed.count), whole=whole)
