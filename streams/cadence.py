"""How long to wait after a commit, so that commits stay a small part of the work."""

from __future__ import annotations

# Slow brokers must not keep a unit from its input: at most a third of the wall time goes by waiting for commits.
WALL_STRETCH = 2.0


def pause_after(interval: float, wall: float, cpu: float, cpu_share: float) -> float:
    """Return the seconds until the next commit, given what the last one took.

    At least ``interval``; longer where a commit's CPU time would exceed ``cpu_share`` of the whole, or its wall time a third.
    """
    return max(interval, cpu / cpu_share, wall * WALL_STRETCH)
