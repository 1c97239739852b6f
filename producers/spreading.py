"""Hot keys found live and spread over all partitions, so that no partition has much more to do than the others."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.partitioning import partition_of

SETTLED = 20
"""How many rows a key needs at least to be hot, lest the first few of a stream decide."""


class HotKeys:
    """Finds the keys that make up at least ``share`` of a stream, by SpaceSaving (Metwally, Agrawal and El Abbadi 2005).

    ``counters`` keys at most are counted; a count is too high by at most one ``counters``-th of all. Counts are halved after every
    ``horizon`` keys, so that a key which cools down is let go of.

    Raises:
        ValueError: the counters are too few to tell keys of such a share apart.
    """

    def __init__(self, share: float, counters: int = 256, horizon: int = 100_000) -> None:
        if not 0 < share < 1 or counters * share < 2 or horizon < counters:
            raise ValueError(
                f"{counters} counters cannot find keys of a share of {share}: take at least two a share, and a horizon above"
            )
        self._share, self._counters, self._horizon = share, counters, horizon
        self._count: dict[bytes, int] = {}
        self._error: dict[bytes, int] = {}
        self._settled = SETTLED / share
        self._heap: list[tuple[int, bytes]] = []  # one entry a key, whose count may have grown since
        self._seen = self._until_halved = 0

    def add(self, key: bytes) -> bool:
        """Count a key and say whether it is hot: for certain it has had its share."""
        count = self._count
        if key in count:
            count[key] += 1
        elif len(count) < self._counters:
            count[key], self._error[key] = 1, 0
            heapq.heappush(self._heap, (1, key))
        else:
            least = self._least()
            replaced = count.pop(least)
            del self._error[least]
            count[key], self._error[key] = replaced + 1, replaced
            heapq.heapreplace(self._heap, (replaced + 1, key))
        self._seen += 1
        self._until_halved += 1
        hot = count[key] - self._error[key] >= self._share * max(self._seen, self._settled)
        if self._until_halved >= self._horizon:
            self._halve()
        return hot

    @property
    def hot(self) -> list[bytes]:
        """The keys that are hot now, the most frequent first."""
        certain = {key: count - self._error[key] for key, count in self._count.items()}
        found = [
            key for key, count in certain.items() if count >= self._share * max(self._seen, self._settled)
        ]
        return sorted(found, key=lambda key: (-certain[key], key))

    def _least(self) -> bytes:
        """Return the key with the smallest count, and leave its entry on top of the heap."""
        while True:
            noted, key = self._heap[0]
            if noted == self._count[key]:
                return key
            heapq.heapreplace(self._heap, (self._count[key], key))

    def _halve(self) -> None:
        self._until_halved = 0
        self._seen //= 2
        self._count = {key: count // 2 for key, count in self._count.items() if count > 1}
        self._error = {key: self._error[key] // 2 for key in self._count}
        self._heap = [(count, key) for key, count in self._count.items()]
        heapq.heapify(self._heap)


class Spreader:
    """Chooses partitions: that of a key by murmur2 or, while the key is hot, the one that has had the least so far.

    This is W-Choices (Nasir et al. 2016): only the few keys at the head are spread, each over as many partitions as it needs, so
    that the rest keep their order. A key's rows are then on several partitions: windows of it must be added up by a roll-up.
    ``share`` is that from which a key is hot, by default a 25th of a partition's fair share.
    """

    def __init__(self, partitions: int, share: float | None = None) -> None:
        fair = 1 / (25 * partitions) if share is None else share
        self._keys = HotKeys(fair, counters=max(256, int(np.ceil(4 / fair))))
        self._partitions = partitions
        self._home: dict[bytes, int] = {}
        self.load = np.zeros(partitions, np.int64)

    @property
    def hot(self) -> list[bytes]:
        """The keys that are spread now, the most frequent first."""
        return self._keys.hot

    @property
    def imbalance(self) -> float:
        """The largest load of a partition over the mean of all."""
        mean = float(self.load.mean())
        return float(self.load.max()) / mean if mean else 1.0

    def partition(self, key: bytes) -> int:
        """Return the partition for the next row of a key."""
        hot = self._keys.add(key)
        chosen = int(self.load.argmin()) if hot else self._home_of(key)
        self.load[chosen] += 1
        return chosen

    def partitions(self, keys: Sequence[bytes]) -> NDArray[np.int32]:
        """Return the partition of each row, in order, shape (n,)."""
        return np.fromiter(map(self.partition, keys), np.int32, len(keys))

    def _home_of(self, key: bytes) -> int:
        home = self._home.get(key)
        if home is None:
            if len(self._home) >= 100_000:
                self._home.clear()
            home = self._home[key] = int(partition_of([key], self._partitions)[0])
        return home
