"""What the demo says in the end: one object for programs, a few lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from producers.incidents import Incident
from producers.truth import Score, score_alerts
from schemas.results import Alert
from tidewatch.demo.scenario import CITY
from tidewatch.demo.verdict import window_ms
from tidewatch.live.snapshot import Snapshot

TOLERANCE_MS = window_ms(CITY) + 5_000
"""A window's alert bears the time of its end, and closing waits for the out-of-orderness."""


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that was killed: what it owned, and the seconds until others had taken over and caught up."""

    worker: str
    partitions: int
    events_before: int
    caught_up_after_s: float


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """The city's alerts against the injected incidents, and how many the real weather raised."""

    incidents: int
    raised: int
    precision: float
    recall: float
    mean_delay_s: float | None
    recall_by_kind: dict[str, float]
    weather: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The demo's outcome. ``ok`` says that what was published equals the recount of what was produced."""

    ok: bool
    differences: tuple[str, ...]
    wall_seconds: float
    played_seconds: float
    produced: dict[str, int]
    events_per_s: float
    windows: dict[str, int]
    windows_compared: int
    late: int
    dead: dict[str, int]
    alerts: Alerts
    killed: Kill | None
    kafka: str

    def lines(self) -> list[str]:
        """Return the outcome in words."""
        a, total = self.alerts, sum(self.produced.values())
        delay = (
            "none found"
            if a.mean_delay_s is None
            else f"after {a.mean_delay_s:.0f} s of event time on average"
        )
        lines = [
            f"{total:,} events in {self.played_seconds:.0f} s ({self.events_per_s:,.0f}/s): "
            + ", ".join(f"{n:,} of {topic}" for topic, n in self.produced.items()),
            f"{sum(self.windows.values()):,} windows, {self.late:,} late rows, "
            f"{sum(self.dead.values()):,} dead letters ({', '.join(f'{n} {code}' for code, n in sorted(self.dead.items()))})",
            f"{a.incidents} incidents injected, {a.raised} alerts: precision {a.precision:.1%}, recall {a.recall:.1%}, {delay};"
            f" {a.weather} alerts from real weather",
        ]
        if self.killed is not None:
            k = self.killed
            lines.append(
                f"{k.worker} was killed (-9) after {k.events_before:,} events while it owned {k.partitions} partitions; "
                f"the others had caught up {k.caught_up_after_s:.0f} s later"
            )
        if self.ok:
            lines.append(
                f"Right: {self.windows_compared:,} windows, every late row and dead letter equal a recount of what was produced"
            )
        else:
            lines += ["WRONG: the results differ from a recount of what was produced:", *self.differences]
        return lines


def alerts_against_truth(truth: Sequence[Incident], alerts: Sequence[Alert]) -> Alerts:
    """Score the city's alerts by the injected incidents, and count the weather's."""
    city = [alert for alert in alerts if alert.pipeline == CITY.name]
    score = score_alerts(truth, city, TOLERANCE_MS)
    return Alerts(
        incidents=score.incidents,
        raised=score.alerts,
        precision=score.precision,
        recall=score.recall,
        mean_delay_s=score.delay,
        recall_by_kind=dict(score.recall_by_kind),
        weather=len({a.alert_id for a in alerts if a.pipeline != CITY.name}),
    )


def score_so_far(truth: Sequence[Incident], openings: Sequence[Alert], snapshot: Snapshot) -> Score:
    """Score the alerts so far: precision by all incidents, recall by those that are over on every partition."""
    marks = [row.watermark or 0 for row in snapshot.partitions if row.topic == CITY.source]
    now = min(marks, default=0)
    city = [alert for alert in openings if alert.pipeline == CITY.name]
    over = [incident for incident in truth if incident.end + TOLERANCE_MS <= now]
    recalled, precise = score_alerts(over, city, TOLERANCE_MS), score_alerts(truth, city, TOLERANCE_MS)
    return replace(recalled, precision=precise.precision, false=precise.false, alerts=precise.alerts)
