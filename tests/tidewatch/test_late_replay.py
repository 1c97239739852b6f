"""``tidewatch late replay`` on a real Kafka: what was late is in, once, for the windows and for their roll-up."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from schemas.columns import RawBatch
from schemas.results import WindowSummary
from streams.placing import Placed, records_of
from streams.stages import stages_of
from streams.task import Output
from tests.streams.harness import read, until
from tests.tidewatch.test_rollup_end_to_end import PIPELINE, START
from tests.tidewatch.test_worker_end_to_end import encoded
from tidewatch.cli import commands
from tidewatch.declarations import find_pipeline

pytestmark = pytest.mark.slow

ROWS = [
    (0, 0, 1.0),
    (1, 15_000, 2.0),
    (0, 1_000, 4.0),
    (2, 2_000, 8.0),
    (0, 85_000, 64.0),
    (1, 95_000, 16.0),
    (1, 14_000, 32.0),
]


def process(declaration: str, source: str) -> list[Placed]:
    """Run both stages of the pipeline over the rows, on one partition, and return what they publish."""
    first, second = stages_of(find_pipeline(declaration), 1)
    records = [(b"s%d" % row[0], encoded((row[0], START + row[1], row[2]))) for row in ROWS]

    def through(stage, keys, values) -> list[Output]:  # type: ignore[no-untyped-def]
        offsets, now = np.arange(len(keys), dtype=np.int64), np.full(len(keys), START + 10**9, np.int64)
        return stage.task(0).process(
            stage.decode(RawBatch(source, 0, 0, len(keys), offsets, now, keys, values))
        )

    outputs = through(first, *zip(*records, strict=True))
    placed = [Placed(first.outputs[o.kind], o) for o in outputs]
    partials = [(o.key, o.value) for o in outputs if o.kind == "partial"]
    return placed + [Placed(second.outputs[o.kind], o) for o in through(second, *zip(*partials, strict=True))]


@pytest.mark.kafka
def test_what_was_late_is_added_once(
    kafka, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file = f"{topic_prefix}.in", tmp_path / "mine.py"
    file.write_text(PIPELINE.format(source=source, idle=None))
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq", ".total", ".partial")]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(30)
    producer = Producer({**kafka.connection, "enable.idempotence": True})
    for record in records_of(process(f"{file}:MINE", source), 0, 1):
        producer.produce(record.topic, record.value, record.key, 0, headers=list(record.headers))
    assert producer.flush(30) == 0
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)

    def replay(*options: str) -> dict[str, int]:
        result = CliRunner().invoke(commands(), ["late", "replay", f"{file}:MINE", "--json", *options])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def newest(topic: str) -> dict[tuple[str, int], WindowSummary]:
        found: dict[tuple[str, int], WindowSummary] = {}
        for value in read(kafka.bootstrap, topic, 0):
            summary = msgspec.json.decode(value, type=WindowSummary)
            if summary.pipeline in ("mine", "mine:all"):
                found[summary.group, summary.start - START] = summary
        return found

    assert replay("--dry-run")["revised"] == 7  # three windows of sensors, two of the site, two of all
    before = len(read(kafka.bootstrap, f"{source}.out", 0))
    facts = replay()
    assert (facts["letters"], facts["foreign"], facts["still_open"]) == (3, 0, 0)
    # A commit is visible to readers a moment after it returns.
    until(lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) == before + 3, 60, "no revisions")
    until(lambda: any(s.late for s in newest(f"{source}.total").values()), 60, "no revisions of totals")
    own, totals = newest(f"{source}.out"), newest(f"{source}.total")
    assert {key: s.sum for key, s in own.items() if s.late} == {
        ("s0/temperature", 0): 5.0,
        ("s2/temperature", 0): 8.0,
        ("s1/temperature", 10_000): 34.0,
    }
    assert {key: (s.sum, s.count, s.late) for key, s in totals.items()} == {
        ("all", 0): (13.0, 3, 2),
        ("all", 10_000): (34.0, 2, 1),
        ("all", 80_000): (64.0, 1, 0),
    }
    assert len(read(kafka.bootstrap, f"{source}.out", 0)) == before + 3
    assert replay()["revised"] == 0
    assert len(read(kafka.bootstrap, f"{source}.out", 0)) == before + 3
