"""Signals as metrics: by preset and seriousness, each step once, and nothing by drug or event."""

from __future__ import annotations

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from schemas.safety import SignalChange, SignalState
from tidewatch.monitor.signals import SignalsExporter

DAY = 86_400_000


def state(drug: str, serious: int = 0, received: int = 100) -> SignalState:
    return SignalState(
        id=f"p|{drug}|e", pipeline="p", drug=drug, event="e", unit="reports", n=9, drug_total=20, event_total=30, total=900,
        serious=serious, expected=0.7, time=1_700_000_000_000, received=received,
    )  # fmt: skip


def change(drug: str, revision: int, step: str, *, serious: int = 0, days: int = 10) -> SignalChange:
    name = f"p|umc|{drug}|e|0"
    return msgspec.convert(
        {
            "id": f"{name}|{revision}", "signal_id": name, "pipeline": "p", "preset": "umc", "preset_version": 1,
            "code_version": "1", "drug": drug, "event": "e", "step": step, "revision": revision, "opened_at": days * DAY,
            "first_report": 0, "time": days * DAY, "state": state(drug, serious),
        },
        SignalChange,
    )  # fmt: skip


def test_open_signals_steps_and_the_time_they_took() -> None:
    registry = CollectorRegistry()
    exporter = SignalsExporter(registry)
    for drug, serious, days in (("secret-a", 2, 10), ("secret-b", 0, 20), ("secret-c", 0, 30)):
        exporter.take_change(change(drug, 0, "open", serious=serious, days=days))
    for _ in range(2):  # what is read twice counts once
        exporter.take_change(change("secret-b", 1, "strengthened", days=20))
    exporter.take_change(change("secret-c", 1, "closed", days=30))
    exporter.take_state("p|secret-a|e", state("secret-a", received=200))
    exporter.take_state("p|secret-b|e", state("secret-b"))
    exporter.take_state("p|secret-b|e", None)
    exporter.show()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"pipeline": "p", **labels})

    assert value("tidewatch_signals_open", preset="umc", seriousness="serious") == 1
    assert value("tidewatch_signals_open", preset="umc", seriousness="not-serious") == 1
    assert value("tidewatch_signal_steps", preset="umc", step="open") == 3
    assert value("tidewatch_signal_steps", preset="umc", step="strengthened") == 1
    assert value("tidewatch_signal_time_to_signal_seconds", preset="umc", quantile="0.5") == 20 * 86_400
    assert (value("tidewatch_signal_pairs"), value("tidewatch_signal_reports")) == (1, 900)
    exporter.take_change(change("secret-b", 2, "closed", days=20))
    exporter.show()
    assert value("tidewatch_signals_open", preset="umc", seriousness="not-serious") == 0
    assert b"secret" not in generate_latest(registry)
