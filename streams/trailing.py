"""Which partitions trail: how long records have been waiting for their owner, by the watcher's own clock alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from streams.membership import Heirdom

Source = tuple[str, int]

MOST_SAMPLES = 240
SOON = 30.0  # times the limit: within which an owner is to have caught up, at the pace of the last ``limit`` seconds
DOUBLINGS = 6


@dataclass(slots=True)
class _Course:
    """One source partition: when its log ended where, how many records have been waiting, when its owner last got on."""

    ends: deque[tuple[float, int]] = field(default_factory=deque)
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    position: int = 0
    moved: float = float("-inf")

    def observe(self, now: float, end: int, position: int, within: float) -> None:
        if position > self.position and self.ends:
            self.moved = now
        self.position = position
        if not self.ends or end > self.ends[-1][1]:
            self.ends.append((now, end))
        while len(self.ends) > 1 and self.ends[0][1] <= position:
            self.ends.popleft()
        if len(self.ends) > MOST_SAMPLES:
            self.ends = deque([end for i, end in enumerate(self.ends) if i % 2 == 0])
        self.waiting.append((now, max(end - position, 0)))
        while len(self.waiting) > 2 and self.waiting[1][0] <= now - within:
            self.waiting.popleft()

    def delay(self, now: float) -> float:
        """Return for how long at least the first record after the position has been in the log."""
        seen, end = self.ends[0]
        return now - seen if end > self.position else 0.0

    def catches_up(self, within: float) -> bool:
        """Whether, at the pace of late, nothing will be waiting any more within so many seconds."""
        (then, before), (now, after) = self.waiting[0], self.waiting[-1]
        return (before - after) * within > after * (now - then)


class Trails:
    """Watch log ends and committed positions, and say which partitions to take from owners that trail.

    A partition trails when records have been waiting in it for longer than ``limit`` seconds and its owner does not catch up. It
    is due only where that points at the owner rather than at the whole group or at the partition: the watcher's own partitions
    keep pace, and none of the owner's other partitions does. A partition that has been taken before is given twice as long each
    time, one that has just moved four times as long, for its owner may be restoring.
    """

    def __init__(self, limit: float, every: float) -> None:
        self._limit, self._every = limit, every
        self._courses: dict[Source, _Course] = {}
        self._heirdoms: dict[int, Heirdom] = {}
        self._mine: frozenset[int] = frozenset()
        self._since = self._observed = float("-inf")

    def begin(self, now: float, heirdoms: Mapping[int, Heirdom], mine: Collection[int]) -> None:
        """Start anew after an assignment that left ``mine`` to the watcher and made it the heir of others."""
        self._heirdoms, self._mine = dict(heirdoms), frozenset(mine)
        self._courses.clear()
        self._since = now

    def observe(self, now: float, ends: Mapping[Source, int], positions: Mapping[Source, int]) -> None:
        """Take what was seen at ``now``; what came before counts for nothing if the watcher itself was held up since."""
        if now - self._observed > 4 * self._every:
            self._courses.clear()
            self._since = max(self._since, now)
        self._observed = now
        for source, end in ends.items():
            course = self._courses.setdefault(source, _Course())
            course.observe(now, end, max(positions.get(source, 0), 0), self._limit)

    def delay(self, partition: int) -> float:
        """Return for how many seconds records have been waiting in a partition."""
        return max((course.delay(self._observed) for course in self._of(partition)), default=0.0)

    def due(self) -> list[int]:
        """Return the partitions to take over now."""
        if any(self.delay(p) > self._limit / 2 for p in self._mine):
            return []
        return [p for p, heirdom in self._heirdoms.items() if self._trails(p, heirdom)]

    def taken(self, partition: int) -> None:
        """Note that the watcher has taken a partition."""
        self._heirdoms.pop(partition, None)

    def behind(self, partition: int) -> int:
        """Return how many records of a partition are waiting."""
        return sum(course.waiting[-1][1] for course in self._of(partition))

    def _of(self, partition: int) -> Iterable[_Course]:
        return [course for source, course in self._courses.items() if source[1] == partition and course.ends]

    def _trails(self, partition: int, heirdom: Heirdom) -> bool:
        patience = self._limit * 2 ** min(heirdom.moves, DOUBLINGS)
        waited = self._observed - self._since
        if self.delay(partition) <= patience or (heirdom.fresh and waited <= 4 * patience):
            return False
        behind = [course for course in self._of(partition) if course.delay(self._observed) > 0]
        if all(course.catches_up(SOON * self._limit) for course in behind):
            return False
        return not any(self._keeps_pace(sibling) for sibling in heirdom.siblings)

    def _keeps_pace(self, partition: int) -> bool:
        lately = self._observed - self._limit
        return self.delay(partition) <= self._limit / 2 and any(
            c.moved >= lately for c in self._of(partition)
        )
