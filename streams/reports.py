"""The declaration of a pipeline that counts safety reports and watches every pair of drug and event."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from schemas.wire_reports import decode_reports
from streams.config import Stage
from streams.signals.disclosure import DISCLOSURES, Disclosure
from streams.signals.linkage import HitMiss
from streams.signals.presets import PRESETS, Preset
from streams.task import OutputKind

CODE_VERSION = "1"
"""Raised whenever the same reports would give other results."""

Stratifier = Literal["age", "sex", "site", "period"]
DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class ReportPipeline:
    """Count distinct reports, patients or pairs of each population, and raise signals by presets.

    A report received again within ``horizon_ms`` is recognised exactly; what is older is counted but flagged. Measures of the
    pairs whose counts changed are refreshed every ``refresh`` rows, those of all pairs when the partition falls idle. ``strata``
    names what expected counts, and with them IC and EBGM, are adjusted for (PRR and ROR stay crude); ``period_ms`` is the
    length of a period. ``duplicates`` of other sources are left alone, flagged or merged into one case. Pairs with fewer than
    ``publish_from`` are not published, nor what ``disclosure`` holds back. The prior of EBGM is fitted anew whenever the total
    has grown by ``refit_growth``. Dead letters hold nothing of their report unless it is not ``private``, but public.
    """

    name: str
    source: str = "pharma.report.received.v1"
    population: str = "all"
    unit: Literal["reports", "patients", "pairs"] = "reports"
    strata: tuple[Stratifier, ...] = ()
    period_ms: int = 365 * DAY_MS
    presets: tuple[str, ...] = ("evans-2001", "ema-2016", "umc", "fda")
    horizon_ms: int = 730 * DAY_MS
    refresh: int = 1_000
    duplicates: Literal["ignore", "flag", "merge"] = "ignore"
    linkage: HitMiss = field(default_factory=HitMiss)
    disclosure: str = "none"
    publish_from: int = 3
    refit_growth: float = 2.0
    refit_from: int = 500
    notch: float = 0.5
    idle_timeout_ms: int | None = 5_000
    states: str = "pharma.signal.state.v1"
    changes: str = "pharma.signal.raised.v1"
    version: int = 1
    private: bool = True

    def __post_init__(self) -> None:
        unknown = [name for name in self.presets if name not in PRESETS]
        if unknown:
            raise ValueError(f"no preset {unknown[0]!r}; there are: {', '.join(PRESETS)}")
        if self.disclosure not in DISCLOSURES:
            raise ValueError(f"no disclosure rule {self.disclosure!r}; there are: {', '.join(DISCLOSURES)}")
        if self.refresh < 1 or self.horizon_ms < 0 or self.refit_growth <= 1:
            raise ValueError("refresh must be positive, the horizon not negative, and refit_growth above 1")

    @property
    def chosen(self) -> tuple[Preset, ...]:
        """Return the presets."""
        return tuple(PRESETS[name] for name in self.presets)

    @property
    def rule(self) -> Disclosure:
        """Return the rule of disclosure."""
        return DISCLOSURES[self.disclosure]

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output; flagged reports go where late events would."""
        return {
            "result": self.states,
            "alert": self.changes,
            "late": f"{self.source}.late",
            "dead": f"{self.source}.dlq",
        }

    @property
    def hash(self) -> str:
        """A digest of everything that decides results."""
        versions = [(preset.name, preset.version) for preset in self.chosen]
        return hashlib.sha256(repr((self, versions, CODE_VERSION)).encode()).hexdigest()

    def stage(self) -> Stage:
        """Return the engine's stage."""
        from streams.report_task import TALLIES, ReportTask

        return Stage(
            topic=self.source,
            decode=decode_reports,
            task=partial(ReportTask, self),
            outputs=self.outputs,
            signature=self.hash,
            idle_timeout_ms=self.idle_timeout_ms,
            private=self.private,
            pipeline=self.name,
            tallies=TALLIES,
        )
