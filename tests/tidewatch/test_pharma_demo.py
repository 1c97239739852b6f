"""The demo of signals: verdicts against the truth, and a small network live on a real Kafka."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from producers.hospitals import Network, day_of, records
from producers.pseudonyms import Pseudonyms
from schemas.columns import RawBatch
from schemas.contributions import as_columns
from schemas.safety import SafetyReport, SignalChange, SignalState
from streams.derivation import DeriveTask
from streams.monitor_task import MonitorTask
from streams.report_task import ReportTask
from streams.reports import ReportPipeline
from tests.streams.signals.reporting import changes, columns, report, states
from tidewatch.pharma_demo import DERIVED, MONITOR, WATCHED, play
from tidewatch.pharma_verdict import Verdict, differences, verdict_of

NETWORK = Network(begins=100)
DAY0 = 1_735_689_600_000


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


def raw(*reports: SafetyReport) -> list[bytes]:
    return [msgspec.json.encode(report) for report in reports]


def test_states_are_held_against_a_batch_of_the_latest_versions():
    first = [report(i, "a", "x") for i in range(4)] + [report(9, "b", "x"), report(10, "a", "y")]
    wrong = report(9, version=2, status="entered-in-error")
    pipeline = ReportPipeline(name="p", publish_from=1, refresh=7, presets=("umc",))
    task = ReportTask(pipeline)
    published = states(task.process(columns([*first, wrong])))
    assert differences(raw(*first, wrong), published, pipeline) == []
    assert differences(raw(*first), published, pipeline)[0].startswith(
        "p|a|x has counts (4, 5, 4, 5), a batch (4, 5, 5, 6)"
    )
    assert differences(raw(*first, wrong), {}, pipeline) == ["p|a|x is missing", "p|a|y is missing"]
    assert differences([], published, pipeline) == ["p|a|x has no report", "p|a|y has no report"]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_strong_hidden_signal_is_found_live():
    from tidewatch.broker import start_brokers

    network, said = Network(courses=4_000, relative_risk=25.0, seed=2), []
    with start_brokers(1) as kafka:  # a broker of its own: the demo uses the catalogue's topics
        found = play(dict(kafka.connection), network, said.append, seconds=5)
    assert found.ok, found.differences
    assert found.dead_letters == 0
    assert any("raises the hidden" in text for text in said)
    assert found.verdicts == chained(network)
    by_preset = {verdict.preset: verdict for verdict in found.verdicts}
    assert by_preset["umc"].days_to_detection is not None
    assert by_preset["maxsprt"].days_to_detection is not None
    assert 0 <= by_preset["umc"].days_to_detection < 250


def chained(network: Network) -> list[Verdict]:
    """Play the network through the tasks alone, without Kafka: the first partition of everything."""
    sent = records(network, Pseudonyms(b"any key does: nothing hangs on it"))
    n, now = len(sent), 4_000_000_000_000
    batch = RawBatch(
        "f", 0, 0, n, np.arange(n), np.full(n, now), [s.key for s in sent], [s.value for s in sent]
    )
    derived = DeriveTask(DERIVED).process(DERIVED.decode(batch))
    task = ReportTask(WATCHED)
    outputs = task.process(columns([output.value or b"" for output in derived if output.kind == "result"]))
    outputs += task.advance(0, 0)
    updates = [output.value or b"" for output in derived if output.kind == "partial"]
    outputs += MonitorTask(MONITOR).process(
        as_columns(
            RawBatch(
                "u",
                0,
                0,
                len(updates),
                np.arange(len(updates)),
                np.zeros(len(updates)),
                [None] * len(updates),
                updates,
            )
        )
    )
    names = (*WATCHED.presets, "maxsprt")
    return [verdict_of(name, changes(outputs), network) for name in names]
