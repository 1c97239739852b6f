"""The declaration of sequential monitoring: which pairs, against which background rates, by which test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial

from schemas.contributions import as_columns
from streams.config import Stage
from streams.signals.accrual import NO_DELAY, ReportingDelay
from streams.signals.disclosure import DISCLOSURES, Disclosure
from streams.signals.surveillance import Plan
from streams.task import OutputKind

MONITOR_VERSION = "1"
"""Raised whenever the same follow-ups would give other results."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """A drug and an event to watch. ``daily_rate`` is how many cases a person at risk has a day where the drug does nothing.

    The risk window and the clean window are those of the pipeline that derives cases. A ``control`` is known to have no effect:
    it is not tested, but tells the systematic error of all the others.
    """

    drug: str
    event: str
    daily_rate: float
    control: bool = False

    def __post_init__(self) -> None:
        if not self.daily_rate > 0:
            raise ValueError(f"the background rate of {self.event} must be positive")


@dataclass(frozen=True, kw_only=True)
class MonitorPipeline:
    """Watch declared pairs as a cohort: cases observed against cases expected in the time at risk.

    Every ``every_days`` of event time, once all partitions of patients have passed it, each pair is looked at. Only days at least
    ``settle_days`` old are looked at, so that alpha is spent on data as complete as they will be; where reports take longer,
    ``delay`` scales what is expected of each day to the share that has arrived. Corrections change later looks, never earlier
    ones. Small counts are held back by ``disclosure``.
    """

    name: str
    monitored: tuple[Monitored, ...]
    plan: Plan = field(default_factory=Plan)
    source: str = "pharma.followup.changed.v1"
    population: str = "all"
    every_days: int = 7
    settle_days: int = 30
    delay: ReportingDelay = NO_DELAY
    disclosure: str = "none"
    states: str = "pharma.signal.state.v1"
    changes: str = "pharma.signal.raised.v1"

    def __post_init__(self) -> None:
        if len({(pair.drug, pair.event) for pair in self.monitored}) < len(self.monitored):
            raise ValueError("a pair is monitored twice")
        if self.every_days < 1 or self.settle_days < 0:
            raise ValueError("looks need at least a day between them, and settle_days must not be negative")
        if self.disclosure not in DISCLOSURES:
            raise ValueError(f"no disclosure rule {self.disclosure!r}; there are: {', '.join(DISCLOSURES)}")

    @property
    def rule(self) -> Disclosure:
        """Return the rule of disclosure."""
        return DISCLOSURES[self.disclosure]

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output."""
        return {"result": self.states, "alert": self.changes, "dead": f"{self.source}.dlq"}

    @property
    def hash(self) -> str:
        """A digest of everything that decides results."""
        return hashlib.sha256(repr((self, MONITOR_VERSION)).encode()).hexdigest()

    def stage(self) -> Stage:
        """Return the engine's stage."""
        from streams.monitor_task import MonitorTask

        return Stage(
            topic=self.source,
            decode=as_columns,
            task=partial(MonitorTask, self),
            outputs=self.outputs,
            signature=self.hash,
        )
