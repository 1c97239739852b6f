"""What the page is sent once a second, and what each route gives as JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from schemas.results import Alert
from tidewatch.console.checks import Check, checks
from tidewatch.console.pictures import Pictures, QuantityPicture
from tidewatch.live.board import DeadSample
from tidewatch.live.signals import SignalRow
from tidewatch.live.snapshot import FlowRow, PartitionRow, Snapshot, WorkerRow

_RATE_MS = 3_000
SECTIONS = ("pipeline", "partitions", "distributions", "alerts", "signals", "dead", "check")


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline's counts and their rates, each a second over the last three."""

    counts: FlowRow
    rates: dict[str, float]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state at ``time`` (ms), one field a route."""

    time: int
    summary: dict[str, float]
    pipeline: tuple[Flow, ...]
    partitions: tuple[PartitionRow, ...]
    workers: tuple[WorkerRow, ...]
    distributions: tuple[QuantityPicture, ...]
    alerts: tuple[Alert, ...]
    signals: tuple[SignalRow, ...]
    dead: dict[str, int]
    samples: tuple[DeadSample, ...]
    check: tuple[Check, ...]

    def section(self, name: str) -> dict[str, object]:
        """Return what one route shows. Raises KeyError for what is no section."""
        fields = {
            "pipeline": ("summary", "pipeline", "workers"),
            "partitions": ("partitions", "workers"),
            "distributions": ("distributions",),
            "alerts": ("alerts",),
            "signals": ("signals",),
            "dead": ("dead", "samples"),
            "check": ("check",),
        }[name]
        return {"time": self.time} | {field: getattr(self, field) for field in fields}


class Payloads:
    """Makes payloads of snapshots; remembers a few seconds of counts for the rates, and what is drawn."""

    def __init__(self) -> None:
        self._pictures = Pictures()
        self._past: deque[tuple[int, Mapping[str, FlowRow]]] = deque()

    def make(self, snapshot: Snapshot, now_ms: int) -> Payload:
        """Return the payload of a snapshot, taken at wall-clock time ``now_ms``."""
        flows = {row.pipeline: row for row in snapshot.flows}
        self._past.append((snapshot.time, flows))
        while len(self._past) > 2 and snapshot.time - self._past[1][0] >= _RATE_MS:
            self._past.popleft()
        summary = {
            "produced_per_s": snapshot.produced_per_s,
            "processed_per_s": snapshot.processed_per_s,
            "produced": snapshot.produced,
            "processed": snapshot.processed,
            "lag": snapshot.lag,
            "windows": sum(snapshot.windows.values()),
            "late": snapshot.late,
            "dead": sum(snapshot.dead.values()),
            "alerts": snapshot.alerts_opened,
            "alerts_open": snapshot.alerts_open,
            "signals_open": snapshot.signals_open,
        }
        return Payload(
            time=snapshot.time,
            summary=summary,
            pipeline=tuple(Flow(counts=row, rates=self._rates(row)) for row in snapshot.flows),
            partitions=snapshot.partitions,
            workers=snapshot.workers,
            distributions=self._pictures.of(snapshot.shapes),
            # Open ones first; among equals the newest first, as they come.
            alerts=tuple(sorted(snapshot.alerts, key=lambda alert: alert.state == "close")),
            signals=snapshot.signals,
            dead=snapshot.dead,
            samples=tuple(reversed(snapshot.samples)),
            check=checks(snapshot, now_ms),
        )

    def _rates(self, row: FlowRow) -> dict[str, float]:
        begun, flows = self._past[0]
        before, seconds = flows.get(row.pipeline), (self._past[-1][0] - begun) / 1000
        names = ("produced", "processed", "windows", "alerts", "late", "dead")
        if before is None or seconds <= 0:
            return dict.fromkeys(names, 0.0)
        return {name: max(0.0, (getattr(row, name) - getattr(before, name)) / seconds) for name in names}
