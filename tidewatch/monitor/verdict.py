"""What the recent course of a group's offsets on one partition says: Burrow's rules, and lag in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

Verdict = Literal["ok", "warn", "stall", "stop", "rewind"]
VERDICTS: Final = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a group's partition: when (seconds), committed offset, end of the log, whether the group has members."""

    time: float
    committed: int
    end: int
    alive: bool

    @property
    def lag(self) -> int:
        """Records not yet committed."""
        return max(self.end - self.committed, 0)


def verdict(looks: Sequence[Look]) -> Verdict:
    """Return the verdict on looks in order of time, after the evaluation rules of LinkedIn's Burrow.

    ``rewind``: the committed offset went back. ``ok``: the lag was nil at some look, or fell. ``stop`` and ``stall``: nothing was
    committed although there is lag, without and with members in the group. ``warn``: commits go on but the lag never falls.

    Raises ValueError for no looks.
    """
    if not looks:
        raise ValueError("a verdict needs at least one look")
    pairs = list(pairwise(looks))
    if any(after.committed < before.committed for before, after in pairs):
        return "rewind"
    if any(look.lag == 0 for look in looks) or not pairs:
        return "ok"
    if looks[-1].committed == looks[0].committed:
        return "stall" if looks[-1].alive else "stop"
    return "ok" if any(after.lag < before.lag for before, after in pairs) else "warn"


def lag_seconds(looks: Sequence[Look]) -> float:
    """Estimate how long ago the oldest uncommitted record was written, from when the end of the log passed the committed offset.

    Between two looks the log is taken to grow evenly. A record older than the first look counts from there, so the estimate is
    then a lower bound. Raises ValueError for no looks.
    """
    if not looks:
        raise ValueError("lag needs at least one look")
    now = looks[-1]
    if now.lag == 0:
        return 0.0
    passed = looks[0].time
    for before, after in pairwise(looks):
        if before.end <= now.committed < after.end:
            share = (now.committed - before.end) / (after.end - before.end)
            passed = before.time + share * (after.time - before.time)
    return now.time - passed
