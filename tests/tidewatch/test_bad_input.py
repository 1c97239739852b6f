"""Bad input and bad surroundings, with the real command on a real broker: a code or a clear error, and nothing else lost."""

from __future__ import annotations

import json
import random
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from schemas.results import WindowSummary
from streams.letters import ORIGINAL_BYTES
from tests.streams.cases import DECLARATION, START, codes
from tests.streams.harness import eventually, make_topics, read, read_messages, send, workers
from tidewatch.broker import start_brokers

GOOD = {
    "sensor_id": "s", "site": "x", "quantity": "temperature", "unit": "degC", "value": 20.0, "time": START,
}  # fmt: skip


def reading(**changes: Any) -> bytes:
    """Return a reading with other, or without (None), some fields."""
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not None}).encode()


BAD: list[tuple[str, bytes, str | None]] = [
    ("malformed", b'{"sensor_id": "s", ', None),
    ("invalid_text", b"\xff\xfe\x00", None),
    ("wrong_type", reading(value="warm"), None),
    ("missing_field", reading(value=None), None),
    ("unknown_unit", reading(unit="furlong"), None),
    ("unknown_quantity", reading(quantity="luck"), None),
    ("value_out_of_range", reading(value=9e9), None),
    ("invalid_text", reading(sensor_id=""), None),
    ("time_out_of_range", reading(time=START // 1000), None),
    ("time_out_of_range", reading(time=START * 1000), None),
    ("time_in_future", reading(time=4_000_000_000_000), None),
    ("empty", b"", None),
    ("oversized", reading(site=random.Random(1).randbytes(1_000_000).hex()), None),
    ("unknown_content_type", reading(), "text/csv"),
    ("malformed", b"no arrow", "application/vnd.apache.arrow.stream"),
]


def command(folder: Path, source: str) -> list[str]:
    file = folder / "mine.py"
    file.write_text(DECLARATION.format(source=source))
    return [
        sys.executable, "-m", "tidewatch", "worker", f"{file}:MINE", "--app-id", source, "--session-timeout", "4",
    ]  # fmt: skip


@pytest.fixture
def source(topic_prefix: str) -> str:
    return f"{topic_prefix}.in"


def counted(bootstrap: str, source: str, partition: int) -> int:
    """Return how many events the windows of a partition hold."""
    results = read(bootstrap, f"{source}.out", partition)
    return sum(msgspec.json.decode(value, type=WindowSummary).count for value in results)


@pytest.mark.kafka
def test_every_kind_of_bad_record_is_dead_lettered_with_its_code_and_nothing_else_is_lost(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    make_topics(kafka.bootstrap, source, 1)
    larger = AdminClient(kafka.connection)
    _allow_large(larger, source)
    producer = Producer({**kafka.connection, "message.max.bytes": 4_000_000, "enable.idempotence": True})
    for code, value, content_type in BAD:
        producer.produce(source, reading(), b"s", 0)
        headers = {"content-type": content_type} if content_type else None
        producer.produce(source, value, code.encode(), 0, headers=headers)
    producer.produce(source, reading(time=START + 60_000), b"s", 0)
    assert producer.flush(60) == 0
    with workers(command(tmp_path, source), tmp_path, {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}) as group:
        group.start()
        eventually(lambda: counted(kafka.bootstrap, source, 0) == len(BAD), lambda: group.log()[-3000:])
        letters = read_messages(kafka.bootstrap, f"{source}.dlq", 0)
        assert codes(letters) == [code for code, _, _ in BAD]
        assert [letter.key() for letter in letters] == [code.encode() for code, _, _ in BAD]
        for letter, (code, value, _) in zip(letters, BAD, strict=True):
            if code == "oversized":  # the dead-letter topic takes 1 MB, as brokers do unless told otherwise
                assert letter.value() == value[:1_000_000]
                assert dict(letter.headers())[ORIGINAL_BYTES] == b"%d" % len(value)
            else:
                assert (letter.value() or b"") == value
        for code, number in Counter(code for code, _, _ in BAD).items():
            assert group.metric("tidewatch_dead_total", code=code) == number
        assert group.metric("tidewatch_partition_stopped", partition="0") == 0


def _allow_large(admin: AdminClient, topic: str) -> None:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    entry = ConfigEntry("max.message.bytes", "4000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


@pytest.mark.kafka
def test_the_breaker_stops_a_partition_of_rubbish_and_the_others_go_on(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    make_topics(kafka.bootstrap, source, 2)
    send(kafka.bootstrap, source, [b"rubbish"] * 5_000, 0)
    send(kafka.bootstrap, source, [reading()] * 10 + [reading(time=START + 60_000)], 1)
    with workers(command(tmp_path, source), tmp_path, {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}) as group:
        group.start()
        eventually(lambda: counted(kafka.bootstrap, source, 1) == 10, lambda: group.log()[-3000:])
        eventually(
            lambda: group.metric("tidewatch_partition_stopped", partition="0") == 1,
            lambda: f"the breaker did not open: {group.log()[-3000:]}",
        )
        assert group.metric("tidewatch_breaker_open") == 1
        assert group.metric("tidewatch_partition_stopped", partition="1") == 0
        assert "Mend the producer" in group.log()
        assert len(read(kafka.bootstrap, f"{source}.dlq", 0)) <= 1_000


@pytest.mark.kafka
def test_missing_topics_and_unequal_partitions_are_refused_with_a_remedy(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    admin = AdminClient(kafka.connection)
    environment = {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
    with workers(command(tmp_path, source), tmp_path, environment) as group:
        assert group.start().wait(120) == 3
        assert f"Topics are missing: {source}" in group.log()
        assert "tidewatch topics create" in group.log()
        names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq")]
        topics = [NewTopic(name, 2 if name.endswith(".out") else 3, 1) for name in names]
        for future in admin.create_topics(topics).values():
            future.result(30)
        assert group.start().wait(120) == 3
        assert f"Outputs must have as many partitions as the source (3): {source}.out has 2" in group.log()


@pytest.mark.kafka
def test_more_partitions_stop_the_app_with_a_plan_while_it_runs_and_when_it_starts(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    make_topics(kafka.bootstrap, source, 2)
    with workers(command(tmp_path, source), tmp_path, {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}) as group:
        running = group.start()
        send(kafka.bootstrap, source, [reading(), reading(time=START + 60_000)], 0)
        eventually(lambda: counted(kafka.bootstrap, source, 0) == 1, lambda: group.log()[-3000:])
        admin = AdminClient(kafka.connection)
        admin.create_partitions([NewPartitions(source, 3)])[source].result(30)
        assert running.wait(120) == 3
        for attempt in (group.log(), started_again(group)):
            assert "keys have moved between partitions" in attempt
            assert "start side by side under a new --app-id" in attempt


def started_again(group: Any) -> str:
    """Start once more and return what it says while it refuses."""
    assert group.start().wait(120) == 3
    return str(group.log())


@pytest.mark.kafka
def test_a_broker_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    source = f"later-{uuid.uuid4().hex[:8]}"
    with start_brokers(1) as broker:
        make_topics(broker.bootstrap, source, 1, {"message.timestamp.type": "CreateTime"})
        send(broker.bootstrap, source, [reading(), reading(time=START + 60_000)], 0)
        broker.kill(0)
        environment = {"TIDEWATCH_BOOTSTRAP": broker.bootstrap}
        with workers(command(tmp_path, source), tmp_path, environment) as group:
            process = group.start()
            eventually(lambda: "waiting for it" in group.log(), lambda: group.log()[-2000:])
            assert process.poll() is None
            broker.restart(0)
            eventually(lambda: counted(broker.bootstrap, source, 0) == 1, lambda: group.log()[-3000:])
            assert f"{source} has message.timestamp.type=CreateTime" in group.log()
