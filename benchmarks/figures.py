"""From drains to figures: start-up differenced out by two sizes, medians over rounds, ratios to Tidewatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from benchmarks.drain import Drain
from benchmarks.ledger import Entry, pairs


class Figures(msgspec.Struct, frozen=True):
    """A system's figures. The rate is of the events by which the sizes differ, in the time by which the drains differ.

    It is 0 where they differ by less than noise makes of them: then the sizes are too small for this machine.
    """

    name: str
    version: str
    events_per_s: float
    cpu_s_per_million: float
    peak_mb: float
    correct: bool
    small: int
    large: int
    small_s: float
    large_s: float
    rounds: int
    faults: list[str] = []
    checkpoint_bytes_per_event: float | None = None
    event_loop_blocked_at_most_s: float | None = None


def figures(name: str, version: str, rounds: Sequence[tuple[Drain, Drain]]) -> Figures:
    """Return the figures of (small, large) drains; each time is the median of its rounds before the difference is taken."""
    small, large = ([pair[i] for pair in rounds] for i in (0, 1))
    more = large[0].events - small[0].events
    seconds = median(d.seconds for d in large) - median(d.seconds for d in small)
    cpu = median(d.cpu_seconds for d in large) - median(d.cpu_seconds for d in small)
    faults = [fault for pair in rounds for drain in pair for fault in drain.faults]
    return Figures(
        name,
        version,
        round(more / seconds) if seconds > 0 else 0.0,
        round(cpu / more * 1e6, 3),
        round(max(drain.peak_mb for drain in large), 1),
        not faults,
        small[0].events,
        large[0].events,
        round(median(d.seconds for d in small), 2),
        round(median(d.seconds for d in large), 2),
        len(rounds),
        faults[:5],
        _checkpoint_bytes(small, large),
        max((d.longest_block for d in large if d.longest_block is not None), default=None),
    )


def _checkpoint_bytes(small: Sequence[Drain], large: Sequence[Drain]) -> float | None:
    """Return the bytes of state written for each event by which the sizes differ."""
    sides = [[d.checkpoint_bytes for d in side if d.checkpoint_bytes is not None] for side in (small, large)]
    if not all(sides):
        return None
    return round((median(sides[1]) - median(sides[0])) / (large[0].events - small[0].events), 2)


def summary(entries: Sequence[Entry], scenario: str) -> dict[str, Figures]:
    """Return the figures of every system of a scenario."""
    return {
        system: figures(
            system, rounds[-1][1].version, [(small.drain, large.drain) for small, large in rounds]
        )
        for system, rounds in pairs(entries, scenario).items()
    }


def ratios(found: Mapping[str, Figures], of: str = "tidewatch") -> dict[str, dict[str, float]]:
    """Return by peer how many times its rate ours is, and our processor time as a share of its; only where both are right."""
    ours = found.get(of)
    if ours is None or not ours.correct or not _measured(ours):
        return {}
    return {
        name: {
            "events_per_s": round(ours.events_per_s / theirs.events_per_s, 2),
            "cpu_s_per_million": round(ours.cpu_s_per_million / theirs.cpu_s_per_million, 3),
        }
        for name, theirs in found.items()
        if name != of and theirs.correct and _measured(theirs)
    }


def _measured(each: Figures) -> bool:
    return each.events_per_s > 0 and each.cpu_s_per_million > 0
