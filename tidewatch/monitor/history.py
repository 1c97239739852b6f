"""The looks of the last minutes for every (group, topic, partition)."""

from __future__ import annotations

from collections import deque

from tidewatch.monitor.cluster import Snapshot
from tidewatch.monitor.verdict import Look

Place = tuple[str, str, int]


class History:
    """Keep looks for ``keep`` seconds; a partition that is no longer reported is forgotten."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self.looks: dict[Place, deque[Look]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""
        seen: dict[Place, Look] = {}
        for name, group in snapshot.groups.items():
            for (topic, partition), committed in group.offsets.items():
                found = snapshot.partitions.get((topic, partition))
                if found is not None and found.end is not None:
                    seen[name, topic, partition] = Look(
                        snapshot.time, committed, found.end, alive=group.working
                    )
        self.looks = {place: self.looks.get(place, deque()) for place in seen}
        for place, look in seen.items():
            looks = self.looks[place]
            looks.append(look)
            while looks[0].time < snapshot.time - self._keep:
                looks.popleft()
