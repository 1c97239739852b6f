"""Reports through a real worker on a real broker: final states are a batch computation, whatever was killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from producers.reports import ReportColumns, encoded, report_rows, safety_reports
from schemas.safety import SignalState
from sinks.signals import changes, latest_states
from streams.signals.scores import Scores
from streams.signals.tables import PairCounts, count_reports
from tests.streams.harness import read, until
from tests.streams.signals.reporting import report

pytestmark = pytest.mark.slow

PIPELINE = """
from streams.reports import ReportPipeline

MINE = ReportPipeline(
    name="mine", source="{source}", population="{population}", refresh={refresh}, publish_from=1,
    presets=("umc", "ema-2016"), states="{source}.out", changes="{source}.alert", idle_timeout_ms=1_000,
)
"""


@contextmanager
def worker(file: Path, bootstrap: str, app: str, failpoint: str = "") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tidewatch", "worker", f"{file}:MINE", "--app-id", app, "--session-timeout", "6",
               "--state-interval", "1"]  # fmt: skip
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap, "TIDEWATCH_FAILPOINT": failpoint}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def prepared(kafka, source: str, file: Path, population: str, refresh: int) -> None:
    admin = AdminClient(kafka.connection)
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(30)
    file.write_text(PIPELINE.format(source=source, population=population, refresh=refresh))


def final_states(bootstrap: str, source: str, received: int) -> dict[str, SignalState]:
    """Wait for the refresh of all pairs when the partition fell idle, and return the latest states."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        states = latest_states((None, value) for value in read(bootstrap, f"{source}.out", 0))
        if states and all(state.received == received for state in states.values()):
            return states
        time.sleep(0.5)
    raise TimeoutError("the last refresh never came")


def agree(states: dict[str, SignalState], counts: PairCounts, drugs: list[str], events: list[str]) -> None:
    values = Scores.of(counts.tables(), counts.expected).values
    assert len(states) == len(counts.a)
    for i, (d, e) in enumerate(zip(counts.drug.tolist(), counts.event.tolist(), strict=True)):
        state = states[f"mine|{drugs[d]}|{events[e]}"]
        assert (state.n, state.drug_total, state.event_total, state.total) == (
            counts.a[i], counts.drug_total[i], counts.event_total[i], counts.total,
        )  # fmt: skip
        for name in ("prr", "prr025", "ror", "ror025", "chi2_yates", "ic", "ic025"):
            value = values[name][i]
            assert getattr(state, name) == (value if np.isfinite(value) else None), (state.id, name)


@pytest.mark.kafka
@pytest.mark.parametrize("failpoint", ["", "commit-produced:2"])
def test_states_and_signals_are_those_of_a_batch(
    kafka, topic_prefix: str, tmp_path: Path, failpoint: str
) -> None:
    rng, source, file = np.random.default_rng(12), f"{topic_prefix}.in", tmp_path / "mine.py"
    reports = [
        report(
            i, "".join(rng.choice(list("abcdefgh"), 2)), "".join(rng.choice(list("stuvwxyz"), 2)), i / 100,
            population="here",
        )
        for i in range(3_000)
    ] + [report(10_000 + i, "q", "s", 31, population="here") for i in range(60)]  # fmt: skip
    records = [(b"here", msgspec.json.encode(r)) for r in reports]
    records += records[500:900]  # sent again
    prepared(kafka, source, file, "here", 200)
    load(kafka.connection, source, records[:1_500])
    if failpoint:
        with worker(file, kafka.bootstrap, topic_prefix, failpoint) as killed:
            load(kafka.connection, source, records[1_500:2_000])
            until(lambda: killed.poll() is not None, 90, "the worker reached no failpoint")
        load(kafka.connection, source, records[2_000:])
    else:
        load(kafka.connection, source, records[1_500:])
    with worker(file, kafka.bootstrap, topic_prefix):
        states = final_states(kafka.bootstrap, source, len(records))
    rows = [(r.id, d, e) for r in reports for d in set(r.drugs) for e in set(r.events)]
    frame = pd.DataFrame(rows, columns=["r", "d", "e"])
    (drug, drugs), (event, events) = pd.factorize(frame["d"]), pd.factorize(frame["e"])
    agree(states, count_reports(pd.factorize(frame["r"])[0], drug, event), list(drugs), list(events))
    steps = changes(read(kafka.bootstrap, f"{source}.alert", 0))
    assert len({step.id for step in steps}) == len(read(kafka.bootstrap, f"{source}.alert", 0))
    assert ("q", "s", "open") in {(step.drug, step.event, step.step) for step in steps}


@pytest.mark.kafka
@pytest.mark.reference
def test_reference_faers_through_kafka(kafka, topic_prefix: str, tmp_path: Path, refdata: Path) -> None:
    raw, source, file = (
        refdata / "pv/raw/faers22q3_case_drug_event.csv.gz",
        f"{topic_prefix}.in",
        tmp_path / "mine.py",
    )
    columns = ReportColumns("CASEID", "did", "eid")
    rows = report_rows(raw, columns)
    prepared(kafka, source, file, "faers", 10_000)
    reports = safety_reports(rows, columns, source="faers", population="faers")
    sent = load(kafka.connection, source, encoded(reports, lambda _: None)).delivered
    assert sent == 215_867
    started = time.monotonic()
    with worker(file, kafka.bootstrap, topic_prefix):
        states = final_states(kafka.bootstrap, source, sent)
    sys.stderr.write(
        json.dumps({"faers_seconds": round(time.monotonic() - started, 1), "pairs": len(states)}) + "\n"
    )
    (drug, drugs), (event, events) = pd.factorize(rows["did"]), pd.factorize(rows["eid"])
    agree(states, count_reports(pd.factorize(rows["CASEID"])[0], drug, event), list(drugs), list(events))
