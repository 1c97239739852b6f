"""What this worker tells its group, and what it was told: its side of the sharing-out."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Mapping

from streams.config import EngineConfig
from streams.membership import Heirdom, Joining, Told

REST = 30.0  # times ``takeover_after``: how long a worker that trailed is spared at first
DOUBLINGS = 4
FORGOTTEN_AFTER = 60.0  # times ``takeover_after``: how long a partition has to stay where it is until its moves are forgotten


class Holdings:
    """Keep what this worker holds, from the engine's thread, for the thread of the group's protocol.

    What is held outlives a revocation, since the next sharing-out begins with it; only what is lost to another is struck off.
    """

    def __init__(
        self,
        config: EngineConfig,
        costs: Callable[[], Mapping[int, float]],
        copies: Callable[[], list[int]],
    ) -> None:
        self.worker = uuid.uuid4().hex[:12]
        self.told = Told()
        self._config = config
        self._costs, self._copies = costs, copies
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._moves: dict[int, tuple[int, float]] = {}
        self._resting: dict[str, float] = {}
        self._heard = float("-inf")

    @property
    def copies_wanted(self) -> int:
        """How many copies of each partition's state the group is to keep."""
        return self._config.standbys

    def joining(self) -> Joining:
        """Return what to tell the leader."""
        costs, copies = self._costs(), self._copies()
        now = self._config.monotonic()
        with self._lock:
            owned = {p: _rounded(costs.get(p)) for p in sorted(self._held)}
            forget = now - FORGOTTEN_AFTER * self._config.takeover_after
            moves = {p: n for p, (n, since) in self._moves.items() if p in owned and since > forget}
            resting = {w: round(until - now, 1) for w, until in self._resting.items() if until > now}
            return Joining(self.worker, self.told.round, owned, copies, moves, resting)

    def heard(self, told: Told) -> None:
        """Take note of what the leader says; the assignment itself follows."""
        now = self._config.monotonic()
        with self._lock:
            self.told = told
            self._heard = now
            self._resting = {worker: now + seconds for worker, seconds in told.resting.items()}
            for partition, number in told.moves.items():
                known, since = self._moves.get(partition, (0, now))
                self._moves[partition] = (number, since if known == number else now)

    def assigned(self, partitions: Collection[int]) -> None:
        """Note what this worker owns from now on."""
        with self._lock:
            self._held = set(partitions)
            self._moves = {p: move for p, move in self._moves.items() if p in self._held}

    def lost(self, partition: int) -> None:
        """Note that another worker has taken a partition."""
        with self._lock:
            self._held.discard(partition)

    def taken(self, partition: int, heirdom: Heirdom) -> float:
        """Note that this worker has taken a partition from one that trailed, and return for how long that one is to rest."""
        now = self._config.monotonic()
        rest = REST * self._config.takeover_after * float(1 << min(heirdom.moves, DOUBLINGS))
        with self._lock:
            self._held.add(partition)
            self._moves[partition] = (heirdom.moves + 1, now)
            self._resting[heirdom.owner] = max(now + rest, self._resting.get(heirdom.owner, 0.0))
        return rest

    def rested(self, worker: str) -> bool:
        """Whether a worker has rested and nobody has shared out since, so that it has nothing to do yet."""
        with self._lock:
            until = self._resting.get(worker, float("inf"))
            return self._heard < until <= self._config.monotonic()


def _rounded(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 4)
