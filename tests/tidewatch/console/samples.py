"""A made-up state of everything, for tests of the console that need no Kafka."""

from __future__ import annotations

import numpy as np

from schemas.results import Alert
from schemas.safety import SignalChange, SignalState, SignalStep
from tests.tidewatch.live.test_live_shapes import summary
from tidewatch.live.board import DeadSample
from tidewatch.live.shapes import Shape, Shapes
from tidewatch.live.signals import SignalRow, Signals
from tidewatch.live.snapshot import FlowRow, PartitionRow, Snapshot, WorkerRow

NOW = 1_750_000_000_000


def shapes(sites: int = 3, sensors: int = 2) -> tuple[tuple[Shape, Shape | None], ...]:
    held, rng = Shapes(), np.random.default_rng(1)
    for site in range(sites):
        for end in (10, 20):
            for sensor in range(sensors):
                values = rng.normal(20 + site + end / 10, 1, 20).tolist()
                held.take([summary(f"{site}-{sensor}", end, values, f"site-{site:02}")])
    pairs = ((held.shape(key, 1), held.shape(key, 1, skip=1)) for key in held.keys)
    return tuple((now, before) for now, before in pairs if now is not None)


def alert(number: int, state: str = "open") -> Alert:
    name = f"air|hot|sensor-{number}|{NOW}"
    return Alert(
        id=f"{name}|{state}", alert_id=name, pipeline="air", rule="hot", kind="threshold", group=f"sensor-{number}",
        labels={"site": "site-00"}, state=state, severity="critical", revision=0, opened_at=NOW, time=NOW, partition=1,
        offset=7, value=41.5, threshold=35.0, message="mean 41.5 is above 35", evidence={"clear": 33.0},
    )  # fmt: skip


def signals(count: int) -> tuple[SignalRow, ...]:
    """Return signals whose IC025 rises through the boundary, the first of them closed again."""
    held = Signals()
    for number in range(count):
        for step in range(8):
            held.take_state(state(number, step))
        opening = change(number, "open", 0)
        held.take_change(opening)
        if number == 0:
            held.take_change(change(number, "closed", 1))
    return held.rows()


def state(number: int, step: int) -> SignalState:
    return SignalState(
        id=f"p|drug-{number}|rash", pipeline="pharma", drug=f"drug-{number}", event="rash", unit="reports", n=step + 1,
        drug_total=40, event_total=30, total=900, serious=step, expected=1.3, time=NOW + step * 86_400_000,
        received=100 * (step + 1), ic025=-1 + 0.25 * step, prr=2.0, ror=2.1,
    )  # fmt: skip


def change(number: int, step: SignalStep, revision: int) -> SignalChange:
    latest = state(number, 6 + revision)
    name = f"pharma|umc|drug-{number}|rash|{NOW}"
    return SignalChange(
        id=f"{name}|{revision}", signal_id=name, pipeline="pharma", preset="umc", preset_version=1, code_version="1",
        drug=latest.drug, event=latest.event, step=step, revision=revision, opened_at=NOW + 6 * 86_400_000,
        first_report=NOW, time=latest.time, state=latest,
    )  # fmt: skip


def snapshot(
    step: int = 0, *, sites: int = 3, alerts: tuple[Alert, ...] | None = None, alive: bool = True
) -> Snapshot:
    """Return a state that moves on by 1,000 events a step, a second apart."""
    processed = 10_000 + 1_000 * step
    return Snapshot(
        time=NOW + 1_000 * step, produced=processed + 50, processed=processed, produced_per_s=1_000.0,
        processed_per_s=1_000.0, results_per_s=10.0, lag=50, windows={"air": 100 + step}, newest_end={"air": NOW},
        late=3, dead={"malformed": 2, "unknown_unit": 1},
        flows=(
            FlowRow(
                pipeline="air", source="iot.sensor.reading.v1", produced=processed + 50, processed=processed,
                windows=100 + 10 * step, alerts=2, late=3, dead=3,
            ),
        ),
        partitions=tuple(
            PartitionRow(
                topic="iot.sensor.reading.v1", partition=p, end=2_525, position=2_500, lag=25, watermark=NOW,
                owner="worker-1" if alive else "",
            )
            for p in range(2)
        ),
        workers=(WorkerRow(name="worker-1", alive=alive, events_per_s=1_000.0, processed=processed, partitions=2),),
        shapes=shapes(sites), alerts=(alert(1, "close"), alert(2)) if alerts is None else alerts, alerts_opened=2,
        alerts_open=1,
        samples=(
            DeadSample(
                topic="iot.sensor.reading.v1", partition=0, offset=5, code="malformed", time=NOW, size=80, outline="not JSON"
            ),
        ),
        signals=signals(2), signals_open=1, stopped=(), looked=NOW + 1_000 * step, problem=None,
    )  # fmt: skip
