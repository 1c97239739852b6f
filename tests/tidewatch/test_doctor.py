"""``tidewatch doctor``: each check finds what is wrong, on a real Kafka, and says how to mend it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from schemas.topics import TopicSpec, all_topics
from tests.conftest import Kafka
from tests.sinks.results import make_topic, publish
from tidewatch import doctor, topics
from tidewatch.cli import doctor as verb
from tidewatch.exits import Exit
from tidewatch.monitor.cluster import ClusterReader, GroupLook, PartitionLook, Snapshot


def states(findings: list[doctor.Finding]) -> list[str]:
    assert all(each.remedy for each in findings if each.state != "ok")
    assert not any(each.remedy for each in findings if each.state == "ok")
    return [each.state for each in findings]


def look(
    end: int | None = 100, replicas: int = 3, in_sync: int = 3, has_leader: bool = True
) -> PartitionLook:
    return PartitionLook(0, end, replicas, in_sync, has_leader)


def snapshot(*partitions: PartitionLook, **groups: GroupLook) -> Snapshot:
    return Snapshot(0.0, 3, {("t", number): each for number, each in enumerate(partitions)}, groups)


@pytest.mark.parametrize(
    ("partitions", "state"),
    [
        ([look(), look()], "ok"),
        ([look(), look(in_sync=2)], "warn"),
        ([look(), look(in_sync=2), look(has_leader=False)], "fail"),
    ],
)
def test_replicas(partitions: list[PartitionLook], state: str) -> None:
    assert states(list(doctor.replicas(snapshot(*partitions)))) == [state]


@pytest.mark.parametrize(
    ("working", "offset", "state"),
    [(True, 100, "ok"), (True, 60, "ok"), (True, 40, "warn"), (False, 60, "warn"), (False, 100, "ok")],
)
def test_lag(working: bool, offset: int, state: str) -> None:
    group = GroupLook(working, {("t", 0): offset, ("gone", 0): 5})
    assert states(list(doctor.lag(snapshot(look(), g=group), 50))) == [state]


@pytest.mark.parametrize(("free", "state"), [(10**10, "ok"), (10**9, "warn"), (10**8, "fail")])
def test_disk(tmp_path: Path, free: int, state: str) -> None:
    def usage(path: Path) -> tuple[int, int, int]:
        assert path == tmp_path
        return 0, 0, free

    assert states(list(doctor.disk({"state": tmp_path / "not" / "made"}, usage))) == [state]


def test_versions() -> None:
    assert states(list(doctor.versions())) == ["ok"]


def own(prefix: str) -> TopicSpec:
    from dataclasses import replace

    return replace(all_topics()[0], name=prefix)


@pytest.mark.kafka
def test_clocks_are_compared_by_the_brokers_own_stamp(kafka: Kafka, topic_prefix: str) -> None:
    make_topic(kafka.connection, topic_prefix, 2)
    seen = ClusterReader(kafka.connection, time.time).look()
    for shift, state in ((0.0, "ok"), (-5.0, "warn"), (3_600.0, "fail")):
        clock = lambda shift=shift: time.time() + shift  # noqa: E731
        (found,) = doctor.clocks(kafka.connection, topic_prefix, seen, clock)
        assert (found.state, bool(found.remedy)) == (state, state != "ok"), found
    (missing,) = doctor.clocks(kafka.connection, f"{topic_prefix}-none", seen)
    assert (missing.state, missing.remedy) == ("warn", "tidewatch topics create")


@pytest.mark.kafka
def test_topics_are_compared_with_the_catalogue(
    kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = own(topic_prefix)
    specs = (spec, *spec.derived)
    monkeypatch.setattr(doctor, "all_topics", lambda: specs)
    admin = AdminClient(kafka.connection)
    assert states(list(doctor.catalogue(admin))) == ["fail"]
    topics.create(admin, [each.with_partitions(2) for each in specs[:2]])
    (missing,) = doctor.catalogue(admin)
    assert missing.text == f"missing topics: {topic_prefix}.late"
    topics.create(admin, [specs[2].with_partitions(3)])
    assert "partitions" in " ".join(each.text for each in doctor.catalogue(admin) if each.state == "fail")


@pytest.mark.kafka
def test_a_group_that_nobody_works_for_is_found(kafka: Kafka, topic_prefix: str) -> None:
    make_topic(kafka.connection, topic_prefix)
    publish(kafka.connection, topic_prefix, [b"x"] * 7)
    consumer = Consumer({**kafka.connection, "group.id": topic_prefix})
    consumer.commit(offsets=[TopicPartition(topic_prefix, 0, 2)], asynchronous=False)
    consumer.close()
    seen = ClusterReader(kafka.connection, time.time).look()
    (found,) = [each for each in doctor.lag(seen, 100) if f"group {topic_prefix} " in each.text]
    assert (found.state, found.text) == (
        "warn", f"group {topic_prefix} is 5 records behind, and nobody works for it"
    )  # fmt: skip


def run(*arguments: str) -> Result:
    app = typer.Typer()
    verb.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.kafka
def test_the_whole_examination_on_a_cluster_with_its_topics(
    kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = own(topic_prefix)
    probe = f"{topic_prefix}.probe"
    make_topic(kafka.connection, probe)
    topics.create(AdminClient(kafka.connection), [spec, *spec.derived])
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setattr(doctor, "all_topics", lambda: (spec, *spec.derived))
    monkeypatch.setattr(doctor, "PROBES", probe)
    monkeypatch.setattr(doctor, "_SPACE_FAIL", 0)
    result = run("--json")
    assert result.exit_code == Exit.OK, result.output
    answer = json.loads(result.stdout)
    assert answer["ok"]
    checks = {each["check"]: each["state"] for each in answer["findings"]}
    assert checks.keys() >= {"versions", "disk", "broker", "replicas", "topics", "clocks"}
    assert (checks["broker"], checks["topics"]) == ("ok", "ok")
    assert "broker: Kafka answers at" in run().stdout


def test_no_broker_is_a_failed_check_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr(doctor, "_TIMEOUT", 2.0)
    result = run("--json")
    assert result.exit_code == Exit.DIFFERS
    last = json.loads(result.stdout)["findings"][-1]
    assert (last["check"], last["state"]) == ("broker", "fail")
    assert "tidewatch broker status" in last["remedy"]


def test_no_kafka_at_all_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIDEWATCH_BOOTSTRAP", raising=False)
    monkeypatch.setenv("TIDEWATCH_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = run()
    assert result.exit_code == Exit.DIFFERS
    assert "tidewatch broker start" in result.output
