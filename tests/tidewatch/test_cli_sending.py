"""``tidewatch replay`` and ``tidewatch simulate`` on a real Kafka: everything accepted is on the topic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from producers.incidents import read_truth
from producers.simulator import CitySpec, simulate
from schemas.event_types import SENSOR_READING
from schemas.events import SensorReading
from schemas.partitioning import partition_of
from tests.conftest import Kafka
from tidewatch.cli import replay as replay_module
from tidewatch.cli import sending
from tidewatch.cli import simulate as simulate_module
from tidewatch.topics import wait_until_known

TABLE = """station;place;when;temp;hum
a;north;2024-07-01 10:00;20.5;40
b;north;2024-07-01 10:10;;50
a;north;soon;21;41
b;south;2024-07-01 10:20;warm;52
"""
MAPPING = [
    *("--map", "sensor_id=station", "--map", "site=place", "--map", "time=when"),
    *("--melt", "temp=temperature:degC", "--melt", "hum=humidity:%"),
    *("--zone", "Europe/Paris", "--delimiter", ";"),
]
TEN = 1_719_820_800_000


def run(*arguments: str) -> Result:
    app = typer.Typer()
    replay_module.register(app)
    simulate_module.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def topic(kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    admin = AdminClient(kafka.connection)
    admin.create_topics([NewTopic(topic_prefix, 3, 1)])[topic_prefix].result(30)
    wait_until_known(admin, [topic_prefix])
    yield topic_prefix
    admin.delete_topics([topic_prefix])[topic_prefix].result(30)


def records(kafka: Kafka, topic: str, count: int) -> list[tuple[int, bytes, bytes]]:
    consumer = Consumer({**kafka.connection, "group.id": topic, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(3)])
    found: list[tuple[int, bytes, bytes]] = []
    ended = 0
    while ended < 3:
        (message,) = consumer.consume(1, 30) or [None]
        assert message is not None, f"only {len(found)} of {count} records arrived"
        if message.error():
            ended += 1
        else:
            found.append((message.partition() or 0, message.key() or b"", message.value() or b""))
    consumer.close()
    assert len(found) == count
    return found


@pytest.mark.kafka
def test_every_accepted_row_of_a_replayed_file_is_on_the_topic(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    result = run("replay", str(path), *MAPPING, "--topic", topic, "--json")
    assert result.exit_code == sending.EXIT_REJECTED, result.output
    summary = json.loads(result.stdout)
    assert (summary["accepted"], summary["delivered"]) == (4, 4)
    assert (summary["first_time"], summary["last_time"]) == (TEN, TEN + 1_200_000)
    assert summary["rejected"] == {"bad_time": 1, "missing_value": 1, "not_a_number": 1}
    found = records(kafka, topic, 4)
    events = [SENSOR_READING.decoder.decode(value) for _, _, value in found]
    readings = sorted(
        (e.sensor_id, e.site, e.quantity, e.unit, e.value, e.time)
        for e in events
        if isinstance(e, SensorReading)
    )
    assert readings == [
        ("a-hum", "north", "humidity", "%", 40.0, TEN),
        ("a-temp", "north", "temperature", "degC", 20.5, TEN),
        ("b-hum", "north", "humidity", "%", 50.0, TEN + 600_000),
        ("b-hum", "south", "humidity", "%", 52.0, TEN + 1_200_000),
    ]
    keys = [key for _, key, _ in found]
    assert [partition for partition, _, _ in found] == partition_of(keys, 3).tolist()


@pytest.mark.kafka
def test_a_simulation_is_on_the_topic_byte_for_byte_with_its_truth_beside_it(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.ndjson"
    options = [
        "--sensors",
        "3",
        "--sites",
        "2",
        "--rate",
        "4",
        "--seconds",
        "900",
        "--seed",
        "3",
        "--start",
        "1750032000000",
    ]
    result = run("simulate", *options, "--speed", "max", "--truth", str(truth), "--topic", topic, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    spec = CitySpec(start=1_750_032_000_000, seconds=900, sensors=3, sites=2, interval=3.0)
    expected = sorted((key, value) for batch in simulate(spec, 3) for _, key, value in batch)
    assert sorted((key, value) for _, key, value in records(kafka, topic, summary["delivered"])) == expected
    assert len(read_truth(truth)) == summary["incidents"] > 0


@pytest.mark.kafka
def test_a_missing_topic_is_told_with_the_remedy(topic: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    result = run("replay", str(path), *MAPPING, "--topic", f"{topic}-none")
    assert result.exit_code == sending.EXIT_FAILED
    assert "topics create" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--map", "sensor_id"], 2, "FIELD=COLUMN"),
        (["--speed", "warp"], 2, "warp"),
        (["--melt", "temp=temperature"], 2, "COLUMN=QUANTITY:UNIT"),
        (["--const", "unit=%", "--map", "unit=u"], 1, "both a column and a constant"),
        (["--delimiter", ";", "--shift-to-now"], 1, "no column sensor_id"),
        (["--delimiter", ";", "--shift-to-now"], 1, "--map FIELD=COLUMN"),
        (["--zone", "Mars/Base"], 1, "Mars/Base"),
    ],
)
def test_a_wrong_option_says_what_to_do(tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    result = run("replay", str(path), *arguments)
    assert (result.exit_code, told in " ".join(result.output.split())) == (code, True), result.output


def test_a_speed_is_real_a_factor_or_none() -> None:
    assert [sending.speed_of(text) for text in ("real", "60", "0.5", "max")] == [1.0, 60.0, 0.5, None]
