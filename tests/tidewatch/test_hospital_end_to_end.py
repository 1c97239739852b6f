"""A hospital's bad input through a real worker with sealed checkpoints: each has its code, counts are those of the good alone."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.columns import RawBatch
from schemas.safety import SignalState
from sinks.signals import latest_states
from streams.derivation import DerivedPipeline, DeriveTask, RiskRule
from streams.report_task import ReportTask
from streams.reports import ReportPipeline
from tests.streams.cases import codes
from tests.streams.harness import eventually, read, read_messages, workers
from tests.streams.signals.fhir_samples import bundle, condition, given, raw, wrong

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DECLARATION = """
from streams.derivation import DerivedPipeline, RiskRule
from streams.reports import ReportPipeline

DERIVED = DerivedPipeline(name="derived", source="{p}.fhir", hospital="north", rules=(RiskRule("*"),), reports="{p}.reports")
COUNTED = ReportPipeline(
    name="counted", source="{p}.reports", states="{p}.states", changes="{p}.changes", refresh=50, publish_from=1,
    idle_timeout_ms=1_000,
)
"""
OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
GOOD = [
    raw(resource)
    for i in range(60)
    for resource in (
        given(i, "ABC"[i % 3], "2026-02-01", f"patient-{i}"),
        condition(i, "KI"[i % 2], "2026-02-09", f"patient-{i}"),
    )
]
# An exposure after the outcome is no error, nor is a resource that says nothing of either: they count nothing.
QUIET = [
    raw(condition(900, "K", "2026-01-01", "early")),
    raw(given(900, "A", "2026-02-01", "early")),
    raw({"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/early"}}),
]
BAD = [
    ("malformed", b'{"resourceType": "Condition", '),
    ("unknown_resource", raw({"resourceType": "Spaceship", "id": "1"})),
    ("missing_field", raw(condition(901, "", "2026-02-01") | {"code": {}})),
    ("missing_field", raw(condition(902, "K", "2026-02-01") | {"subject": {}})),
    ("missing_field", raw(condition(903, "K", "on a Tuesday"))),
    ("time_in_future", raw(condition(904, "K", "2099-01-01"))),
    ("oversized", raw(bundle(*(condition(i, "K", "2026-02-01", "x" * 200) for i in range(22_000))))),
    ("unknown_reference", raw(wrong(condition(905, "K", "2026-02-09", "nobody")))),
    ("wrong_type", b'{"resourceType": "Patient", "id": 5}'),
]


def make(kafka: Any, prefix: str) -> None:
    """Make the topics, the first of which takes records of 12 MB."""
    names = ["fhir", "fhir.dlq", "reports", "reports.late", "reports.dlq", "states", "changes"]
    topics = [NewTopic(f"{prefix}.{name}", 1, config={"max.message.bytes": "12000000"}) for name in names]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics(topics).values():
        future.result(60)


def send(kafka: Any, prefix: str, values: list[bytes]) -> None:
    producer = Producer({**kafka.connection, "message.max.bytes": 12_000_000, "enable.idempotence": True})
    for value in values:
        producer.produce(f"{prefix}.fhir", value, b"anyone", 0)
    assert producer.flush(120) == 0


def counted(values: list[bytes]) -> dict[tuple[str, str], tuple[int, int]]:
    """What the tasks alone count of resources: reports of each pair, and all."""
    derived = DerivedPipeline(name="derived", hospital="north", rules=(RiskRule("*"),))
    pipeline = ReportPipeline(name="counted", publish_from=1)

    def batch(records: list[bytes]) -> RawBatch:
        n = len(records)
        times = np.full(n, 1_790_000_000_000)
        return RawBatch("t", 0, 0, n, np.arange(n, dtype=np.int64), times, [None] * n, records)

    made = DeriveTask(derived).process(derived.decode(batch(values)))
    task = ReportTask(pipeline)
    task.process(pipeline.stage().decode(batch([one.value or b"" for one in made if one.kind == "result"])))
    drugs, events, table = task.counts()
    counts = table.counts()
    rows = zip(counts.drug.tolist(), counts.event.tolist(), counts.a.tolist(), strict=True)
    return {(drugs[drug], events[event]): (a, counts.total) for drug, event, a in rows}


def states(kafka: Any, prefix: str) -> dict[tuple[str, str], tuple[int, int]]:
    found = latest_states((None, value) for value in read(kafka.bootstrap, f"{prefix}.states", 0)).values()
    return {(s.drug, s.event): (s.n, s.total) for s in found if isinstance(s, SignalState)}


def test_bad_resources_have_their_code_and_leave_the_counts_alone(
    kafka: Any, topic_prefix: str, tmp_path: Path
) -> None:
    make(kafka, topic_prefix)
    file = tmp_path / "north.py"
    file.write_text(DECLARATION.format(p=topic_prefix))
    app = f"{topic_prefix}-app"
    command = [
        sys.executable,
        "-m",
        "tidewatch",
        "worker",
        f"{file}:DERIVED",
        f"{file}:COUNTED",
        "--app-id",
        app,
    ]
    command += ["--session-timeout", "6", "--state-interval", "1"]
    half = len(GOOD) // 2
    middle = [value for _, value in BAD] + QUIET
    with workers(command, tmp_path, {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}) as group:
        first = group.start(TIDEWATCH_CHECKPOINT_KEYS=OLD)
        send(kafka, topic_prefix, [*GOOD[:half], *middle])
        eventually(lambda: states(kafka, topic_prefix) == counted(GOOD[:half]), lambda: group.log()[-3000:])
        letters = read_messages(kafka.bootstrap, f"{topic_prefix}.fhir.dlq", 0)
        assert codes(letters) == [code for code, _ in BAD]
        assert not any(letter.value() for letter in letters), "dead letters hold nothing of patients"
        first.terminate()
        assert first.wait(60) == 0

        assert group.start().wait(120) == 3, "without the key of its checkpoint a worker goes no further"
        assert "add it behind the newest" in group.log()

        second = group.start(TIDEWATCH_CHECKPOINT_KEYS=f"{NEW},{OLD}")
        send(kafka, topic_prefix, GOOD[half:])
        eventually(lambda: states(kafka, topic_prefix) == counted(GOOD), lambda: group.log()[-3000:])
        second.terminate()
        assert second.wait(60) == 0
        third = group.start(TIDEWATCH_CHECKPOINT_KEYS=NEW)
        send(kafka, topic_prefix, GOOD[:2])  # a repetition changes nothing
        more = raw(given(950, "A", "2026-02-01", "late")), raw(condition(950, "K", "2026-02-09", "late"))
        send(kafka, topic_prefix, list(more))
        eventually(
            lambda: states(kafka, topic_prefix) == counted([*GOOD, *more]), lambda: group.log()[-3000:]
        )
        third.terminate()
        assert third.wait(60) == 0
    kept = b"".join(
        (m.key() or b"") + (m.value() or b"")
        for m in read_messages(kafka.bootstrap, f"tw.{app}.checkpoint", 0)
    )
    assert b"tw-seal" in kept
    assert b"patient-" not in kept
    assert json.loads(GOOD[1])["code"]["coding"][0]["system"].encode() not in kept
