"""A rule changed live from the command line while a worker is killed: the results are those of a run that saw no death."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from producers.loader import load
from schemas.columns import RawBatch
from schemas.results import Alert
from schemas.topics import RULES_TOPIC, find_topic
from streams.checkpoint import PROGRESS, Control, Progress
from streams.stages import stage_of
from streams.task import Output, RuledTask
from tests.streams.harness import eventually, read, until
from tests.tidewatch.test_worker_end_to_end import EVENTS, PIPELINE, encoded, events, worker
from tidewatch.cli import commands
from tidewatch.declarations import find_pipeline

pytestmark = pytest.mark.slow

RULES = """
pipeline: mine
rules:
  - {name: hot, kind: threshold, above: 80, clear: 70}
  - {name: jump, kind: rate_of_change, above: 1000}
  - {name: both, kind: composite, of: [hot, jump], within_ms: 5000}
  - {name: shape, kind: quantile_shift, raise_at: 1.0, reference_windows: 3}
"""


def tidewatch(monkeypatch: pytest.MonkeyPatch, bootstrap: str, *arguments: str) -> Result:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", bootstrap)
    result = CliRunner().invoke(commands(), list(arguments))
    assert result.exit_code == 0, result.output
    return result


def controls(bootstrap: str, app: str) -> list[Control]:
    """All controls that were ever committed, checkpoint records deleted since excepted."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": True, "isolation.level": "read_committed",
         "auto.offset.reset": "earliest"}
    )  # fmt: skip
    consumer.assign([TopicPartition(f"tw.{app}.checkpoint", 0, 0)])
    found: list[Control] = []
    while True:
        for message in consumer.consume(10_000, 0.5):
            if message.error() is not None:
                consumer.close()
                return found
            if message.key() == PROGRESS:
                found += msgspec.msgpack.decode(message.value() or b"", type=Progress).controls


def undisturbed(declaration: str, source: str, change: Control) -> dict[str, list[bytes | None]]:
    """Run the task alone over what is on the topic, with the change where it took effect."""
    stage = stage_of(find_pipeline(declaration))
    task = stage.task(0)
    assert isinstance(task, RuledTask)
    records = [(b"s%d" % event[0], encoded(event)) for event in events()]
    outputs: list[Output] = []
    for start, end in ((0, change.position), (change.position, EVENTS)):
        if start:
            task.change_rules(change.text)
        keys, values = zip(*records[start:end], strict=True)
        offsets = np.arange(start, end, dtype=np.int64)
        now = np.full(end - start, int(time.time() * 1000), np.int64)
        outputs += task.process(stage.decode(RawBatch(source, 0, start, end, offsets, now, keys, values)))
    return {kind: [o.value for o in outputs if o.kind == kind] for kind in ("result", "alert")}


@pytest.mark.kafka
def test_a_rule_changed_live_survives_a_kill(
    kafka, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{topic_prefix}.in"
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(30)
    if RULES_TOPIC not in admin.list_topics(timeout=30).topics:
        spec = find_topic(RULES_TOPIC)
        admin.create_topics([NewTopic(RULES_TOPIC, 1, 1, config=spec.config)])[RULES_TOPIC].result(30)
    pipeline, rules = tmp_path / "mine.py", tmp_path / "rules.yaml"
    pipeline.write_text(PIPELINE.format(source=source).replace('name="mine"', f'name="{topic_prefix}"'))
    rules.write_text(RULES.replace("pipeline: mine", f"pipeline: {topic_prefix}"))
    declaration = f"{pipeline}:MINE"
    records = [(b"s%d" % event[0], encoded(event)) for event in events()]
    load(kafka.connection, source, records[: EVENTS // 2])
    with worker(declaration, kafka.bootstrap, topic_prefix) as killed:
        until(lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) > 0, 60, "no results")
        applied = tidewatch(
            monkeypatch, kafka.bootstrap, "rules", "apply", str(rules), "--pipeline", declaration, "--json"
        )
        assert set(json.loads(applied.stdout)["actions"].values()) == {"add"}
        change = followed(kafka.bootstrap, topic_prefix)
        for first in range(EVENTS // 2, EVENTS, 2_000):
            load(kafka.connection, source, records[first : first + 2_000])
        killed.kill()
    with worker(declaration, kafka.bootstrap, topic_prefix):
        expected = undisturbed(declaration, source, change)
        until(
            lambda: (
                len(read(kafka.bootstrap, f"{source}.out", 0)) >= len(expected["result"])
                and len(read(kafka.bootstrap, f"{source}.alert", 0)) >= len(expected["alert"])
            ),
            60,
            "results are missing",
        )
    assert read(kafka.bootstrap, f"{source}.out", 0) == expected["result"]
    assert read(kafka.bootstrap, f"{source}.alert", 0) == expected["alert"]
    alerts = [msgspec.json.decode(value or b"", type=Alert) for value in expected["alert"]]
    assert {"hot", "jump", "both"} <= {alert.rule for alert in alerts}
    found = tidewatch(monkeypatch, kafka.bootstrap, "rules", "list", declaration, "--json")
    rows = {row["name"]: row for row in json.loads(found.stdout)["rules"]}
    assert rows["hot"]["state"] == "replaced"
    assert rows["jump"]["opened"] == sum(alert.rule == "jump" and alert.state == "open" for alert in alerts)
    again = tidewatch(
        monkeypatch, kafka.bootstrap, "rules", "apply", str(rules), "--pipeline", declaration, "--json"
    )
    assert set(json.loads(again.stdout)["actions"].values()) == {"keep"}


def followed(bootstrap: str, app: str) -> Control:
    """Wait for the change to take effect; a new base of the state deletes the progress before it, so this is no time to dawdle."""
    found: list[Control] = []

    def look() -> bool:
        found[:] = [c for c in controls(bootstrap, app) if c.kind == "rules" and c.text != "{}"]
        return bool(found)

    eventually(look, "nobody follows the rules")
    (change,) = found
    return change


def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("pipeline: air-quality\nrules:\n  - {name: hot, kind: threshold, abov: 3}\n")
    result = CliRunner().invoke(commands(), ["rules", "check", str(rules)])
    assert result.exit_code == 1
    assert f"{rules}:3: hot: unknown field 'abov'; did you mean 'above'?" in result.output
