"""What the harness knows of a system: how it is found, started and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenario import Read

PEERS = Path(__file__).with_name("peers")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One drain of a topic: where Kafka is, what to read, where results go, how many records there are, a unique name."""

    bootstrap: str
    source: str
    results: str
    records: int
    name: str
    scratch: Path


def nothing_missing(_: Say) -> str | None:
    """Return None, of a system that is always there."""
    return None


@dataclass(frozen=True, slots=True)
class System:
    """A system that can drain a scenario's topics.

    ``small`` and ``large`` are the events of the two sizes whose difference is measured. ``missing(say)`` says in a word why it
    cannot run here, or returns None after having fetched what it needs. ``sketch`` says whether results hold quantiles. A
    system is kept on one core while the broker has another, ``both`` lets it use the broker's as well. ``more`` are the endings
    of further topics that each run needs, beside that of its results. A plan's length is told by ``start``, about how many seconds
    it takes to start, and ``rate``, about how many events a second it drains, both seen with nothing else at work.
    """

    name: str
    version: Callable[[], str]
    command: Callable[[Run], list[str]]
    small: int
    large: int
    read: Read
    missing: Callable[[Say], str | None] = nothing_missing
    sketch: bool = False
    both: bool = False
    more: tuple[str, ...] = ()
    start: float = 6.0
    rate: float = 300_000.0

    def seconds(self, events: int) -> float:
        """Return about how long a drain takes."""
        return self.start + events / self.rate
