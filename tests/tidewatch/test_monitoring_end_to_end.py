"""Sequential monitoring through a real worker on a real broker: 200 seeded MaxSPRT runs, each as numpy has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from schemas.safety import SignalChange, SignalState
from streams.signals.maxsprt import SLACK, Surveillance, critical_value, poisson_llr
from tests.streams.harness import read, until

pytestmark = pytest.mark.slow

DAY = 86_400_000
START = 20_089  # 1 January 2025, in days
RUNS, DAYS, COURSES, RATE, LAST = 200, 200, 330, 0.002, 30
EVERY, SETTLE, HORIZON = 5, 30, 15.0

PIPELINES = """
from streams.derivation import DerivedPipeline, RiskRule
from streams.monitoring import Monitored, MonitorPipeline
from streams.signals.surveillance import Plan

PAIRS = tuple(Monitored(f"atc|D{{i:03d}}", "icd|K25", {rate}) for i in range({runs}))
DERIVED = DerivedPipeline(
    name="derived", source="{prefix}.fhir", reports="{prefix}.reports", followups="{prefix}.followups",
    rules=(RiskRule("*", 0, {last}, 365),), monitored=PAIRS,
)
MONITOR = MonitorPipeline(
    name="monitor", source="{prefix}.followups", monitored=PAIRS, every_days={every}, settle_days={settle},
    plan=Plan(horizon={horizon}), states="{prefix}.states", changes="{prefix}.signals",
)
"""


@dataclass(frozen=True)
class Simulated:
    """Courses of RUNS drugs: day of exposure and day of the first event, -1 for none; the second half has a relative risk of 2."""

    exposed: np.ndarray
    onset: np.ndarray
    delay: np.ndarray

    @classmethod
    def seeded(cls, seed: int) -> Simulated:
        rng = np.random.default_rng(seed)
        exposed = START + rng.integers(0, DAYS, (RUNS, COURSES))
        risk = np.where(np.arange(RUNS) < RUNS // 2, 1.0, 2.0)[:, None]
        days = np.floor(rng.exponential(1 / (RATE * risk), (RUNS, COURSES)))
        onset = np.where(days <= LAST, exposed + days, -1).astype(np.int64)
        return cls(exposed, onset, np.minimum(rng.exponential(5.0, (RUNS, COURSES)), SETTLE - 5))

    def records(self) -> list[tuple[bytes, bytes]]:
        """Give exposures and diagnoses by day of sending, and in the end what moves every partition's clock on."""
        sent: list[tuple[float, bytes, bytes]] = []
        for (run, course), day in np.ndenumerate(self.exposed):
            patient, onset = f"p{run}-{course}", int(self.onset[run, course])
            sent.append((float(day), patient.encode(), exposure(patient, f"D{run:03d}", int(day))))
            if onset >= 0:
                sent.append((onset + self.delay[run, course], patient.encode(), diagnosis(patient, onset)))
        last = START + DAYS + LAST + SETTLE + 2 * EVERY
        sent += [(1e9, b"z%d" % i, exposure(f"z{i}", "other", last)) for i in range(64)]
        return [(key, value) for _, key, value in sorted(sent)]


def date(day: int) -> str:
    return str(np.datetime64(day, "D"))


def exposure(patient: str, drug: str, day: int) -> bytes:
    return json.dumps(
        {
            "resourceType": "MedicationAdministration", "id": f"m-{patient}", "status": "completed",
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": date(day),
            "medicationCodeableConcept": {"coding": [{"system": "atc", "code": drug}]},
        }
    ).encode()  # fmt: skip


def diagnosis(patient: str, day: int) -> bytes:
    return json.dumps(
        {
            "resourceType": "Condition", "id": f"c-{patient}", "subject": {"reference": f"Patient/{patient}"},
            "code": {"coding": [{"system": "icd", "code": "K25"}]}, "onsetDateTime": date(day),
        }
    ).encode()  # fmt: skip


def by_numpy(made: Simulated) -> dict[str, tuple[int, int, float, float]]:
    """Return day, cases, expected cases and ratio of the first look of each run that signals."""
    first = START // EVERY * EVERY
    looks = np.arange(first + EVERY, START + DAYS + LAST + SETTLE + EVERY, EVERY)
    upto = looks - 1 - SETTLE
    at_risk = np.clip(upto - made.exposed[:, :, None] + 1, 0, LAST + 1).sum(axis=1)
    observed = ((made.onset >= 0)[:, :, None] & (made.onset[:, :, None] <= upto)).sum(axis=1)
    expected = RATE * at_risk.astype(np.float64)
    critical = critical_value(Surveillance(HORIZON))
    llr = np.where(expected > 0, poisson_llr(observed, np.where(expected > 0, expected, 1.0)), 0.0)
    above = (expected > 0) & (expected <= HORIZON) & (llr > critical + SLACK)
    found = {}
    for run in np.flatnonzero(above.any(axis=1)).tolist():
        k = int(above[run].argmax())
        found[f"atc|D{run:03d}"] = (
            int(looks[k]), int(observed[run, k]), float(expected[run, k]), float(llr[run, k])
        )  # fmt: skip
    return found


@contextmanager
def worker(file: Path, bootstrap: str, app: str, failpoint: str = "") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tidewatch", "worker", f"{file}:DERIVED", f"{file}:MONITOR", "--app-id", app,
               "--session-timeout", "6", "--state-interval", "2", "--metrics-port", "0"]  # fmt: skip
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap, "TIDEWATCH_FAILPOINT": failpoint}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.kafka
def test_200_seeded_runs_agree_with_numpy_run_by_run(kafka, topic_prefix: str, tmp_path: Path) -> None:
    made, file = Simulated.seeded(20_261_128), tmp_path / "watched.py"
    file.write_text(
        PIPELINES.format(
            prefix=topic_prefix, rate=RATE, runs=RUNS, last=LAST, every=EVERY, settle=SETTLE, horizon=HORIZON
        )
    )
    names = [f"{topic_prefix}.{name}" for name in ("fhir", "reports", "followups", "states", "signals")]
    names += [f"{topic_prefix}.{name}.dlq" for name in ("fhir", "followups")]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, 4, 1) for name in names]).values():
        future.result(30)
    records, expected = made.records(), by_numpy(made)
    half = len(records) // 2
    load(kafka.connection, names[0], records[:half])
    with worker(file, kafka.bootstrap, topic_prefix, "commit-produced:3") as killed:
        until(lambda: killed.poll() is not None, 120, "the worker reached no failpoint")
    load(kafka.connection, names[0], records[half:])
    last = (START + DAYS + LAST + SETTLE + 2 * EVERY) // EVERY * EVERY

    def states() -> list[SignalState]:
        values = [value for partition in range(4) for value in read(kafka.bootstrap, names[3], partition)]
        return [msgspec.json.decode(value, type=SignalState) for value in values]

    with worker(file, kafka.bootstrap, topic_prefix):
        until(lambda: any(state.time == last * DAY for state in states()), 300, "the last look never came")
    steps = [
        msgspec.json.decode(value, type=SignalChange)
        for partition in range(4)
        for value in read(kafka.bootstrap, names[4], partition)
    ]
    found = {s.drug: (s.time // DAY, s.state.n, s.state.expected, s.state.llr) for s in steps}
    assert len(found) == len(steps)
    assert found == expected
    null = sum(drug < f"atc|D{RUNS // 2:03d}" for drug in found)
    assert null <= 15  # of 100 at alpha 0.05, looked at now and then
    assert len(found) - null > 50
    assert {state.time // DAY for state in states()} <= set(range(0, last + 1, EVERY))
    sys.stderr.write(json.dumps({"signals_of_100_null": null, "of_100_at_risk_2": len(found) - null}) + "\n")
