"""What the demo of signals found, held against the hidden truth and against a batch computation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from producers.hospitals import Network, day_of
from schemas.safety import SafetyReport, SignalChange, SignalState
from streams.reports import ReportPipeline
from streams.signals.scores import Scores
from streams.signals.tables import count_reports

_MEASURES = ("prr", "prr025", "ror", "ror025", "chi2_yates", "ic", "ic025")


class Verdict(msgspec.Struct, frozen=True):
    """What one preset made of it. ``days_to_detection`` counts from the day the hidden risk began; None: not found."""

    preset: str
    days_to_detection: float | None
    reports_then: int | None
    false_alarms: int
    open_at_end: int

    def line(self) -> str:
        """Return it for people."""
        found = "not found"
        if self.days_to_detection is not None:
            found = f"found after {self.days_to_detection:.0f} days at {self.reports_then} reports"
        return f"{self.preset:<11} {found}; {self.false_alarms} other pairs raised, {self.open_at_end} open at the end"


class PharmaReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo found. ``pairs`` are those published; ``differences`` from a batch computation, none if all is right."""

    drug: str
    event: str
    relative_risk: float
    began_on_day: int
    resources: int
    reports: int
    dead_letters: int
    pairs: int
    seconds: float
    verdicts: list[Verdict]
    differences: list[str]

    @property
    def ok(self) -> bool:
        """Whether every state is that of a batch computation."""
        return not self.differences

    @property
    def detected(self) -> bool:
        """Whether any preset found the hidden signal."""
        return any(verdict.days_to_detection is not None for verdict in self.verdicts)

    def lines(self) -> list[str]:
        """Return it for people."""
        agreed = "all agree with a batch computation" if self.ok else "NOT those of a batch computation:"
        return [
            f"{self.resources} FHIR resources became {self.reports} reports ({self.dead_letters} dead letters) in"
            f" {self.seconds:.0f} s",
            f"{self.pairs} pairs published, {agreed}",
            *(f"  {difference}" for difference in self.differences[:10]),
            f"hidden: {self.drug} raises {self.event} {self.relative_risk:g}-fold from day {self.began_on_day}",
            *(f"  {verdict.line()}" for verdict in self.verdicts),
        ]


def verdict_of(preset: str, steps: Sequence[SignalChange], network: Network) -> Verdict:
    """Compare a preset's signals with the truth: the hidden pair from the day it began, all else are false alarms."""
    opened = [step for step in steps if step.preset == preset and step.step == "open"]
    true = [s for s in opened if (s.drug, s.event) == network.hidden and day_of(s.time) >= network.begins]
    last: dict[str, SignalChange] = {step.signal_id: step for step in steps if step.preset == preset}
    first = true[0] if true else None
    return Verdict(
        preset,
        None if first is None else round(day_of(first.time) - network.begins, 1),
        None if first is None else first.state.n,
        len({(s.drug, s.event) for s in opened} - {network.hidden}),
        len({(s.drug, s.event) for s in last.values() if s.step != "closed"}),
    )


def differences(
    values: Iterable[bytes], states: Mapping[str, SignalState], pipeline: ReportPipeline
) -> list[str]:
    """Count the latest version of every report anew, as a batch, and return where published states differ."""
    latest: dict[tuple[str, str], SafetyReport] = {}
    decode = msgspec.json.Decoder(SafetyReport).decode
    for value in values:
        report = decode(value)
        held = latest.get((report.source, report.id))
        if held is None or report.version > held.version:
            latest[report.source, report.id] = report
    cases = [report for report in latest.values() if report.status == "active"]
    rows = [(i, d, e) for i, report in enumerate(cases) for d in report.drugs for e in report.events]
    drugs, drug = np.unique([d for _, d, _ in rows], return_inverse=True)
    events, event = np.unique([e for _, _, e in rows], return_inverse=True)
    counts = count_reports([i for i, _, _ in rows], drug, event)
    scores = Scores.of(counts.tables(), counts.expected).values
    found: list[str] = []
    occur: set[str] = set()
    for i in range(len(counts.a)):
        name = f"{pipeline.name}|{drugs[counts.drug[i]]}|{events[counts.event[i]]}"
        occur.add(name)
        state = states.get(name)
        if state is None:
            if counts.a[i] >= pipeline.publish_from:
                found.append(f"{name} is missing")
            continue
        cells = (state.n, state.drug_total, state.event_total, state.total)
        right = (int(counts.a[i]), int(counts.drug_total[i]), int(counts.event_total[i]), counts.total)
        if cells != right:
            found.append(f"{name} has counts {cells}, a batch {right}")
        found += [
            f"{name} has {measure} {getattr(state, measure)}, a batch {scores[measure][i]}"
            for measure in _MEASURES
            if not _same(getattr(state, measure), float(scores[measure][i]))
        ]
    return found + [f"{name} has no report" for name in sorted(states.keys() - occur)]


def _same(published: float | None, batch: float) -> bool:
    return published == batch if published is not None else not np.isfinite(batch)
