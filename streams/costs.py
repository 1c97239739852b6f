"""What a partition costs: cores to keep pace with it and to work off what waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

MEASURED_OVER = 60.0  # seconds of the past that count, and within which a backlog is to be worked off
SETTLED = 10.0  # seconds of measurement before a cost is believed


class Spent(NamedTuple):
    """What a unit has spent on its partition so far: CPU seconds, and offsets passed for them."""

    cpu: float = 0.0
    offsets: int = 0


class Point(NamedTuple):
    """A moment's measurement; ``end`` adds up the ends of the partition's logs."""

    time: float
    spent: Spent
    end: int


class Costs:
    """Keep the costs of the partitions that a worker owns, each measured over the last minute."""

    def __init__(self) -> None:
        self._points: dict[int, deque[Point]] = {}

    def measure(
        self, now: float, spent: Mapping[int, Spent], ends: Mapping[int, int], behind: Mapping[int, int]
    ) -> dict[int, float]:
        """Take what was spent so far, by partition, and return the cores each needs, where that is known."""
        self._points = {p: points for p, points in self._points.items() if p in spent}
        costs = {}
        for partition, sofar in spent.items():
            points = self._points.setdefault(partition, deque())
            if points and sofar < points[-1].spent:  # another unit has begun
                points.clear()
            points.append(Point(now, sofar, ends.get(partition, 0)))
            while points[0].time < now - MEASURED_OVER:
                points.popleft()
            cost = cost_between(points[0], points[-1], behind.get(partition, 0))
            if cost is not None:
                costs[partition] = cost
        return costs


def cost_between(first: Point, last: Point, behind: int) -> float | None:
    """Return the CPU time of a record times the records that are to be taken each second, ``behind`` of them within a minute.

    ``None`` until there is enough to measure.
    """
    seconds, passed = last.time - first.time, last.spent.offsets - first.spent.offsets
    if seconds < SETTLED:
        return None
    cpu = last.spent.cpu - first.spent.cpu
    if passed <= 0:
        return cpu / seconds
    return cpu / passed * ((last.end - first.end) / seconds + behind / MEASURED_OVER)
