"""The demo of signals: verdicts against the truth, and a small network live on a real Kafka."""

from __future__ import annotations

import pytest

from producers.hospitals import Network, day_of
from schemas.safety import SignalChange, SignalState
from tidewatch.pharma_demo import play, verdict_of

NETWORK = Network(begins=100)
DAY0 = 1_767_225_600_000


def step(drug: str, event: str, day: float, kind: str = "open", n: int = 7) -> SignalChange:
    time = DAY0 + int(day * 86_400_000)
    state = SignalState(
        id=f"p|{drug}|{event}", pipeline="p", drug=drug, event=event, unit="reports", n=n, drug_total=9, event_total=9,
        total=99, serious=0, expected=1.0, time=time, received=1,
    )  # fmt: skip
    signal = f"p|umc|{drug}|{event}|0"
    return SignalChange(
        id=f"{signal}|{kind}", signal_id=signal, pipeline="p", preset="umc", preset_version=1, code_version="1", drug=drug,
        event=event, step=kind, revision=0, opened_at=time, first_report=0, time=time, state=state,
    )  # fmt: skip


def test_detection_counts_from_the_day_the_risk_began():
    drug, event = NETWORK.hidden
    steps = [step("x", "y", 10), step("x", "y", 20, "closed"), step("a", "b", 50), step(drug, event, 130)]
    verdict = verdict_of("umc", steps, NETWORK)
    assert (verdict.days_to_detection, verdict.reports_then) == (30.0, 7)
    assert (verdict.false_alarms, verdict.open_at_end) == (2, 2)
    assert verdict_of("fda", steps, NETWORK).days_to_detection is None


def test_a_signal_before_the_risk_began_detects_nothing():
    drug, event = NETWORK.hidden
    assert verdict_of("umc", [step(drug, event, 50)], NETWORK).days_to_detection is None


def test_days_are_those_of_the_simulation():
    assert day_of(DAY0 + 86_400_000) == 1


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_strong_hidden_signal_is_found_live(topic_prefix: str) -> None:
    from tidewatch.broker import start_brokers

    del topic_prefix  # a broker of its own: the demo uses the catalogue's topics
    with start_brokers(1) as kafka:
        report = play(
            dict(kafka.connection), Network(courses=8_000, relative_risk=25.0, seed=2), lambda _: None
        )
    assert report.detected
    found = {verdict.preset: verdict for verdict in report.verdicts}
    assert found["umc"].days_to_detection is not None
    assert 0 <= found["umc"].days_to_detection < 250
    assert report.reports > 1_000
