"""From readings to what arrives: delays, late and repeated events, malformed ones, and their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from producers.city import CitySpec

GOOD, DUPLICATE, LATE, MALFORMED = range(4)

_PROMPT_MS = (5, 900)
_REPEAT_MS = (20, 900)
# Beyond out-of-orderness (2 s) and a whole window (10 s), so that these are late wherever in the window they fall.
_LATE_MS = (15_000, 60_000)


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings on their way, arrays of shape (n,): series number, event time, value, arrival (ms) and fault."""

    series: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    arrival: NDArray[np.int64]
    fault: NDArray[np.int8]

    def take(self, rows: NDArray[Any]) -> Rows:
        """Return the rows of an index or mask."""
        return Rows(*(getattr(self, column.name)[rows] for column in fields(self)))

    def __add__(self, other: Rows) -> Rows:
        """Return these rows followed by others."""
        return Rows(*(np.concatenate((getattr(self, c.name), getattr(other, c.name))) for c in fields(self)))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Encoded events in the order of their arrival.

    ``times`` are arrivals in milliseconds and ``faults`` one of ``GOOD``, ``DUPLICATE``, ``LATE`` and ``MALFORMED``, both of
    shape (n,); ``keys`` and ``values`` are the records' bytes.
    """

    times: NDArray[np.int64]
    keys: Sequence[bytes]
    values: Sequence[bytes]
    faults: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[int, bytes, bytes]]:
        return iter(zip(self.times.tolist(), self.keys, self.values, strict=True))

    @property
    def late(self) -> int:
        """The number of events delayed beyond their window."""
        return int((self.faults == LATE).sum())

    @property
    def duplicates(self) -> int:
        """The number of events that repeat another."""
        return int((self.faults == DUPLICATE).sum())

    @property
    def malformed(self) -> int:
        """The number of events that cannot be decoded."""
        return int((self.faults == MALFORMED).sum())


def transmit(
    spec: CitySpec,
    rng: np.random.Generator,
    series: NDArray[np.int64],
    time: NDArray[np.int64],
    value: NDArray[np.float64],
) -> Rows:
    """Let readings travel: most arrive within a second, some late, some twice, some garbled.

    A duplicate arrives less than two seconds after its event time; a late event at least 15 s and two intervals.
    """
    n = len(time)
    delay = np.clip(np.exp(rng.normal(3.7, 0.6, n)), *_PROMPT_MS)
    u = rng.random(n)
    fault = np.full(n, GOOD, np.int8)
    late, repeated, garbled = (
        u < spec.late,
        (u >= 1 - spec.duplicate),
        (u >= spec.late) & (u < spec.late + spec.malformed),
    )
    fault[late], fault[garbled] = LATE, MALFORMED
    delay[late] = rng.uniform(*_LATE_MS, int(late.sum())) + 2000 * spec.interval
    rows = Rows(series, time, value, time + delay.astype(np.int64), fault)
    again = rows.take(repeated)
    again.fault[:] = DUPLICATE
    again.arrival[:] += rng.integers(*_REPEAT_MS, len(again.arrival))
    return rows + again


class Encoder:
    """Writes rows as JSON readings, about a microsecond each."""

    def __init__(self, spec: CitySpec) -> None:
        self._keys = [spec.sensor(n).encode() for n in range(spec.sensors) for _ in spec.airs]
        self._prefixes = [
            b'{"sensor_id":%b,"site":%b,"quantity":"%b","unit":"%b","value":'
            % (
                msgspec.json.encode(spec.sensor(n)),
                msgspec.json.encode(spec.site(n)),
                air.quantity.encode(),
                air.unit.encode(),
            )
            for n in range(spec.sensors)
            for air in spec.airs
        ]

    def encode(self, rows: Rows) -> Arrivals:
        """Return the rows as records, in their order; malformed ones are spoilt in one of four ways."""
        prefixes, keys, series = self._prefixes, self._keys, rows.series.tolist()
        values = [
            b'%b%a,"time":%d}' % (prefixes[number], value, time)
            for number, value, time in zip(series, rows.value.tolist(), rows.time.tolist(), strict=True)
        ]
        for row in np.flatnonzero(rows.fault == MALFORMED).tolist():
            values[row] = _spoilt(values[row], int(rows.time[row]))
        return Arrivals(rows.arrival, [keys[number] for number in series], values, rows.fault)


def _spoilt(value: bytes, time: int) -> bytes:
    """Cut the record short, or give it text for a number, no time, or a unit that nobody knows."""
    head, _, tail = value.partition(b'"value":')
    match time // 1000 % 4:
        case 0:
            return value[: len(value) * 2 // 3]
        case 1:
            return head + b'"value":"n/a"' + tail[tail.index(b",") :]
        case 2:
            return value[: value.rindex(b',"time"')] + b"}"
        case _:
            return value.replace(b'"unit":"', b'"unit":"?', 1)
