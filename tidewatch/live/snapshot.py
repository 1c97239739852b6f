"""The state of everything at one moment, as views show it and as JSON carries it."""

from __future__ import annotations

import msgspec

from schemas.results import Alert
from tidewatch.live.board import DeadSample
from tidewatch.live.operations import Operations
from tidewatch.live.shapes import Shape
from tidewatch.live.signals import SignalRow


class PartitionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One source partition: ``position`` is the next offset to read, ``end`` that of the next record to come.

    ``owner`` is empty while nobody owns it; position and watermark (ms) are then the last ones known, or None.
    """

    topic: str
    partition: int
    end: int
    position: int | None
    lag: int | None
    watermark: int | None
    owner: str


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker; ``processed`` counts from its own start."""

    name: str
    alive: bool
    events_per_s: float
    processed: int
    partitions: int


class FlowRow(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline's counts so far, from its source to its outputs.

    ``kinds`` says what ``windows`` and ``alerts`` count: of safety reports, states of pairs and signals.
    """

    pipeline: str
    source: str
    produced: int
    processed: int
    windows: int
    alerts: int
    late: int
    dead: int
    kinds: tuple[str, str] = ("windows", "alerts")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at ``time`` (ms); rates are events a second over about the last two seconds, the rest counts so far.

    ``shapes`` pairs each site's current distribution with the one before it, the reference. ``looked`` is when the cluster last
    answered (ms, 0: never), ``problem`` what went wrong since. ``stopped`` are the partitions that an error stopped.
    ``operations`` is None where no Alertmanager is known.
    """

    time: int
    produced: int
    processed: int
    produced_per_s: float
    processed_per_s: float
    results_per_s: float
    lag: int
    windows: dict[str, int]
    newest_end: dict[str, int]
    late: int
    dead: dict[str, int]
    flows: tuple[FlowRow, ...]
    partitions: tuple[PartitionRow, ...]
    workers: tuple[WorkerRow, ...]
    shapes: tuple[tuple[Shape, Shape | None], ...]
    alerts: tuple[Alert, ...]
    alerts_opened: int
    alerts_open: int
    samples: tuple[DeadSample, ...]
    signals: tuple[SignalRow, ...] = ()
    signals_open: int = 0
    stopped: tuple[int, ...]
    operations: Operations | None = None
    looked: int
    problem: str | None
