"""The rows added to a window since it was last saved, which are fewer bytes than the groups they changed if few fell into each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.narrow import Narrow, narrowed, widened
from streams.sketches.mapping import Codes, Floats

Ints = NDArray[np.int64]
Rows = tuple[NDArray[np.int32], Floats, Ints, NDArray[Any]]

ROWS_A_GROUP = 4
"""Above so many rows a group it is never shorter to save rows: a row takes some 16 bytes, a group as it is now about 80."""
PACKED_ROWS = 4
"""Of so many parts are packed rows: groups, values, times, codes."""
_AT_ONCE = 8_192


class Added:
    """Rows in the order in which they were added, and whether their window had fired by then.

    To add them once more is to be in the same state to the last bit, which makes them a change like any other.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[bool, Rows]] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def keep(self, fired: bool, group: NDArray[np.int32], value: Floats, time: Ints, codes: Codes) -> None:
        """Copy rows."""
        rows = group.astype(np.int32), value.copy(), time.copy(), codes.astype(np.uint16)
        self._batches.append((fired, rows))
        self._rows += len(group)

    def are_less(self, groups: int) -> bool:
        """Return whether rows are fewer bytes than the groups they changed; there are ``groups`` in all."""
        if len(self._batches) == 0:
            return True
        if self._rows > ROWS_A_GROUP * groups:
            return False
        changed = np.sort(np.concatenate([group for _, (group, *_) in self._batches]))
        return self._rows <= ROWS_A_GROUP * (1 + int(np.count_nonzero(changed[1:] != changed[:-1])))

    def parts(self, start: int, *, fired: bool) -> Iterator[bytes]:
        """Yield what a window that begins at ``start`` takes over with ``load``; the last part says whether it has ``fired``."""
        last = None
        for last, batches in groupby(self._batches, key=lambda batch: batch[0]):
            columns = zip(*(rows for _, rows in batches), strict=True)
            group, value, time, codes = (np.concatenate(column) for column in columns)
            for at in range(0, len(group), _AT_ONCE):
                here = slice(at, at + _AT_ONCE)
                yield _packed(start, last, (group[here], value[here], time[here], codes[here]))
        if last != fired:
            empty = np.empty(0, np.int64)
            yield _packed(start, fired, (empty.astype(np.int32), np.empty(0), empty, empty.astype(np.int32)))


def _packed(start: int, fired: bool, rows: Rows) -> bytes:
    group, value, time, codes = rows
    return msgspec.msgpack.encode(
        [
            start,
            fired,
            narrowed(group.astype(np.int64)),
            value.tobytes(),
            narrowed(time),
            codes.astype("<u2").tobytes(),
        ]
    )


def unpacked(packed: list[Any]) -> Rows:
    """Return the rows of a part, without its start and whether it has fired."""
    group, value, time, codes = packed
    wide: Narrow = group
    return (
        widened(wide).astype(np.int32),
        np.frombuffer(value),
        widened(time),
        np.frombuffer(codes, "<u2").astype(np.int32),
    )
