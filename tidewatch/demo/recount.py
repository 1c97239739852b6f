"""An independent recount: what windows, late rows and dead letters a partition's records must lead to.

Written in plain numpy against the documentation, and on purpose without the engine's codec, watermark or windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.units import UNITS, Linear

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEVER = -(1 << 62)


class _Record(msgspec.Struct):
    sensor_id: str
    quantity: str
    unit: str
    value: float
    time: int


_decode = msgspec.json.Decoder(_Record).decode


@dataclass(frozen=True, slots=True)
class Windows:
    """Closed windows in order of (group, end), columns of shape (k,); ``group`` holds names such as ``sensor/quantity``."""

    group: list[str]
    end: Ints
    count: Ints
    sum: Floats
    mean: Floats
    variance: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats

    def __len__(self) -> int:
        return len(self.group)

    def values(self) -> Floats:
        """The numbers to be compared, shape (k, 8), in the order of ``MEASURES``."""
        return np.column_stack([np.asarray(getattr(self, name), np.float64) for name in MEASURES])


MEASURES = tuple(field.name for field in fields(Windows))[2:]


@dataclass(frozen=True, slots=True)
class Recount:
    """One partition's truth: its closed windows, and the offsets of its late and its dead records."""

    windows: Windows
    late: Ints
    dead: Ints


def recount(
    offsets: Sequence[int], values: Sequence[bytes], *, size_ms: int, out_of_orderness_ms: int
) -> Recount:
    """Recount one partition's readings, given in offset order, grouped by sensor and quantity.

    A record is dead if it is no reading, its unit is unknown or its value not plausible. A row is late if the largest
    event time before it, less the out-of-orderness, has reached its window's end. Windows that have an end at or before the
    last watermark are closed. Variance is the population's, from a second pass about the mean; of equal event times the
    earlier record is first and the later one last.
    """
    rows = list(_readings(offsets, values))
    offset = np.array([row[0] for row in rows], np.int64)
    time = np.array([row[2] for row in rows], np.int64)
    value = np.array([row[3] for row in rows], np.float64)
    dead = np.setdiff1d(np.asarray(offsets, np.int64), offset)
    end = time - time % size_ms + size_ms
    watermark = np.maximum.accumulate(time) - out_of_orderness_ms
    before = np.concatenate([[NEVER], watermark[:-1]]) if rows else watermark
    late = end <= before
    counted = ~late & (end <= (watermark[-1] if rows else NEVER))
    names = [row[1] for row in rows]
    return Recount(
        _windows([names[i] for i in np.flatnonzero(counted)], end[counted], time[counted], value[counted]),
        offset[late],
        dead,
    )


def _readings(offsets: Sequence[int], values: Sequence[bytes]) -> Iterator[tuple[int, str, int, float]]:
    """Yield (offset, group, time, value in the canonical unit) of the records that are plausible readings."""
    known: dict[tuple[str, str], tuple[Linear, float, float]] = {
        (quantity.name, unit): (linear, quantity.low, quantity.high)
        for quantity in UNITS
        for unit, linear in quantity.units.items()
    }
    for offset, raw in zip(offsets, values, strict=True):
        try:
            record = _decode(raw)
            linear, low, high = known[record.quantity, record.unit]
        except (msgspec.MsgspecError, KeyError):
            continue
        value = (record.value + linear.shift) * linear.scale
        if low <= value <= high:
            yield offset, f"{record.sensor_id}/{record.quantity}", record.time, value


def _windows(names: list[str], end: Ints, time: Ints, value: Floats) -> Windows:
    known, group = np.unique(np.array(names, np.str_), return_inverse=True)
    # Stable, so that within a window equal times stay in the order of their records.
    order = np.lexsort((time, end, group))
    group, end, value = group[order], end[order], value[order]
    new = np.append(True, (group[1:] != group[:-1]) | (end[1:] != end[:-1]))[: len(group)]
    start = np.flatnonzero(new)
    count = np.diff(np.append(start, len(group)))
    total = np.add.reduceat(value, start) if len(start) else value
    mean = total / count
    about = (value - np.repeat(mean, count)) ** 2
    return Windows(
        [str(name) for name in known[group[start]]],
        end[start],
        count,
        total,
        mean,
        (np.add.reduceat(about, start) if len(start) else about) / count,
        np.minimum.reduceat(value, start) if len(start) else value,
        np.maximum.reduceat(value, start) if len(start) else value,
        value[start],
        value[start + count - 1],
    )
