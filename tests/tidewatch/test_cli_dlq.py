"""``tidewatch dlq`` on a real Kafka: letters are counted, shown without their payload, and sent back exactly once."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import typer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import KafkaException
from typer.testing import CliRunner, Result

from schemas import topics as catalogue
from schemas.columns import Rejected
from schemas.deadletters import header, headers_for
from schemas.errors import ErrorCode
from schemas.partitioning import partition_of
from schemas.topics import CATALOGUE, REPLAYED_LETTERS, find_topic
from sinks.reader import read_to_end
from tests.conftest import Kafka
from tests.sinks.results import make_topic
from tidewatch import dlq
from tidewatch import topics as cluster
from tidewatch.cli import dlq as verbs
from tidewatch.exits import Exit

GOOD = {"sensor_id": "s1", "site": "x", "quantity": "temperature", "unit": "degC", "value": 1.5, "time": 1}


@pytest.fixture
def source(kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a source of the catalogue with ten dead letters: six of a unknown unit, three malformed, one read twice."""
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    spec = replace(CATALOGUE[0], name=topic_prefix)
    known = {each.name: each for each in (spec, *spec.derived)}
    monkeypatch.setattr(catalogue, "find_topic", lambda name: known.get(name) or find_topic(name))
    monkeypatch.setattr(dlq, "find_topic", lambda name: known.get(name) or find_topic(name))
    cluster.create(AdminClient(kafka.connection), [find_topic(REPLAYED_LETTERS)])
    make_topic(kafka.connection, topic_prefix, 3)
    make_topic(kafka.connection, f"{topic_prefix}.dlq", 3)
    producer = Producer(kafka.connection)
    for n in range(10):
        n_ = min(n, 8)
        code = ErrorCode.UNKNOWN_UNIT if n_ < 6 else ErrorCode.MALFORMED
        bad = Rejected(n_, 0, code, f"secret {n_}", b"s%d" % n_, b'{"secret": %d}' % n_)
        headers = headers_for(bad, topic_prefix, n_ % 3, "decode")
        producer.produce(f"{topic_prefix}.dlq", bad.value, bad.key, n_ % 3, headers=list(headers))
    assert producer.flush(30) == 0
    return topic_prefix


def run(*arguments: str, **options: str) -> Result:
    app = typer.Typer()
    verbs.register(app)
    return CliRunner().invoke(app, ["dlq", *arguments], **options)  # type: ignore[arg-type]


def sent(kafka: Kafka, topic: str) -> list[tuple[int, bytes | None, bytes | None, str | None]]:
    return sorted(
        (m.partition() or 0, m.key(), m.value(), header(m.headers(), dlq.REPLAYED_FROM))  # type: ignore[arg-type]
        for batch in read_to_end(kafka.connection, [topic])
        for m in batch
    )


@pytest.mark.kafka
def test_letters_are_counted_by_reason_and_shown_without_what_they_hold(source: str) -> None:
    (unit, bad) = json.loads(run("list", source, "--json").stdout)["reasons"]
    assert (unit["code"], unit["count"], unit["replayed"]) == ("unknown_unit", 6, 0)
    assert (bad["code"], bad["count"]) == ("malformed", 3)
    table = run("list", source)
    assert "unknown_unit" in table.stdout
    shown = run("show", source, "--code", "malformed", "--json")
    assert [json.loads(line)["code"] for line in shown.stdout.splitlines()] == ["malformed"] * 3
    assert "secret" not in shown.stdout + run("show", source).stdout
    (line,) = run("show", source, "--id", f"{source}|1|7|0", "--payload", "--json").stdout.splitlines()
    assert json.loads(line) | {"at": ""} == {
        "id": f"{source}|1|7|0", "code": "malformed", "stage": "decode", "at": "", "sent_back": False, "bytes": 13,
        "detail": "secret 7", "key": "s7", "value": '{"secret": 7}',
    }  # fmt: skip


@pytest.mark.kafka
def test_letters_go_back_once_however_often_they_are_sent(kafka: Kafka, source: str) -> None:
    planned = json.loads(run("replay", source, "--code", "unknown_unit", "--dry-run", "--json").stdout)
    assert (planned["planned"], planned["sent"]) == (6, 0)
    assert sent(kafka, source) == []
    refused = run("replay", source, "--code", "unknown_unit", input="n\n")
    assert refused.exit_code == Exit.FAILED
    assert sent(kafka, source) == []
    first = run("replay", source, "--code", "unknown_unit", "--yes", "--json")
    assert first.exit_code == Exit.OK, first.output
    assert json.loads(first.stdout)["sent"] == 6
    again = json.loads(run("replay", source, "--all", "--yes", "--json").stdout)
    assert (again["sent"], again["already"]) == (3, 6)
    assert json.loads(run("replay", source, "--all", "--yes", "--json").stdout)["sent"] == 0
    keys = [b"s%d" % n for n in range(9)]
    places = partition_of(keys, 3).tolist()
    assert sent(kafka, source) == sorted(
        (places[n], keys[n], b'{"secret": %d}' % n, f"{source}|{n % 3}|{n}|0") for n in range(9)
    )
    assert [r["replayed"] for r in json.loads(run("list", source, "--json").stdout)["reasons"]] == [6, 3]


@pytest.mark.kafka
def test_a_mended_letter_goes_back_with_its_new_value_and_key(
    kafka: Kafka, source: str, tmp_path: Path
) -> None:
    file = tmp_path / "mended.ndjson"
    lines = [
        {"id": f"{source}|{n % 3}|{n}|0", "value": json.dumps(GOOD | {"sensor_id": f"new{n}"})}
        for n in (6, 7)
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    result = json.loads(run("replay", source, "--edited", str(file), "--yes", "--json").stdout)
    assert (result["sent"], result["mended"]) == (2, 2)
    values = [json.loads(value or b"") for _, _, value, _ in sent(kafka, source)]
    assert sorted(value["sensor_id"] for value in values) == ["new6", "new7"]
    assert {key for _, key, _, _ in sent(kafka, source)} == {b"new6", b"new7"}
    file.write_text(json.dumps({"id": f"{source}|2|8|0", "value": "{}"}))
    keyless = run("replay", source, "--edited", str(file), "--yes")
    assert (keyless.exit_code, "no JSON object with a sensor_id" in keyless.output) == (Exit.FAILED, True)
    file.write_text(json.dumps({"id": "nobody's", "value": json.dumps(GOOD)}))
    assert "no dead letter" in run("replay", source, "--edited", str(file), "--yes").output
    file.write_text("{}")
    assert run("replay", source, "--edited", str(file), "--yes").exit_code == Exit.USAGE


@pytest.mark.kafka
def test_two_who_send_at_once_send_each_letter_once(kafka: Kafka, source: str) -> None:
    barrier = threading.Barrier(2, timeout=60)
    outcomes: list[object] = []

    def send() -> None:
        def choose(done: frozenset[str]) -> list[dlq.Resend]:
            found = list(dlq.letters(kafka.connection, source, dlq.Wanted(), done))
            chosen = dlq.plan(found, source, 3, {})
            barrier.wait()
            return chosen

        try:
            outcomes.append(dlq.send_back(kafka.connection, source, choose, lambda: 0.0))
        except KafkaException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert 9 in outcomes
    assert len(sent(kafka, source)) == 9


@pytest.mark.kafka
def test_what_to_send_must_be_said_and_a_missing_topic_is_told(source: str) -> None:
    assert run("replay", source).exit_code == Exit.USAGE
    missing = run("show", f"{source}-none")
    assert (missing.exit_code, "topics create" in missing.output) == (Exit.FAILED, True)


def test_a_letter_of_another_topic_is_not_sent() -> None:
    letter = msgspec.convert(
        {"id": "b|0|1|0", "topic": "b", "partition": 0, "offset": 1, "row": 0, "stage": "decode", "code": "empty",
         "detail": "", "key": None, "value": None},
        dlq.DeadLetter,
    )  # fmt: skip
    with pytest.raises(dlq.LetterError, match="came from b, not from a"):
        dlq.plan([dlq.Letter(letter, 0, False)], "a", 2, {})
