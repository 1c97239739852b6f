"""The topic catalogue on a real Kafka: made once, never harmed, and what differs is told with its remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import typer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner, Result

from schemas import topics as catalogue
from schemas.topics import CATALOGUE, TopicSpec, all_topics
from tests.conftest import Kafka
from tidewatch import topics
from tidewatch.cli import topics as verbs
from tidewatch.exits import Exit

DAY = timedelta(days=1)


def spec(name: str, **changes: object) -> TopicSpec:
    return replace(CATALOGUE[0], name=name, **changes)  # type: ignore[arg-type]


def observed(of: TopicSpec, **settings: str) -> topics.Observed:
    return topics.Observed(of.partitions, 1, of.config | settings)


def test_a_topic_as_declared_differs_in_nothing() -> None:
    assert topics.drift(all_topics(), {each.name: observed(each) for each in all_topics()}) == []


def test_another_number_of_partitions_is_not_for_topics_that_need_a_single_one() -> None:
    assert spec("a").with_partitions(8).partitions == 8
    assert spec("a", partitions=1).with_partitions(8).partitions == 1


def test_each_difference_is_told_once_with_its_remedy() -> None:
    a, b, c = spec("a"), spec("b"), spec("c", retention=DAY)
    there = {
        "b": topics.Observed(3, 1, b.config),
        "c": observed(c, **{"retention.ms": "1000", "cleanup.policy": "compact"}),
    }
    found = topics.drift([a, b, c], there)
    assert [(d.topic, d.kind, d.setting, d.wanted, d.found) for d in found] == [
        ("a", "missing", "", "", ""),
        ("b", "partitions", "partitions", "4", "3"),
        ("c", "setting", "cleanup.policy", "delete", "compact"),
        ("c", "setting", "retention.ms", str(86_400_000), "1000"),
    ]
    assert [topics.mendable(d) for d in found] == [False, False, False, True]
    assert "--partitions 3" in found[1].remedy


@pytest.mark.parametrize(
    ("setting", "found", "wanted", "loses"),
    [
        ("retention.ms", "1000", "2000", False),
        ("retention.ms", "2000", "1000", True),
        ("retention.ms", "-1", "1000", True),
        ("retention.ms", "1000", "-1", False),
        ("max.message.bytes", "1000", "2000", False),
        ("max.message.bytes", "2000", "1000", True),
        ("cleanup.policy", "delete", "compact", True),
        ("message.timestamp.type", "CreateTime", "LogAppendTime", False),
    ],
)
def test_a_change_that_could_delete_records_is_known(
    setting: str, found: str, wanted: str, loses: bool
) -> None:
    assert topics.loses_data(setting, found, wanted) is loses


@pytest.fixture
def admin(kafka: Kafka) -> AdminClient:
    return AdminClient(kafka.connection)


@pytest.fixture
def own(kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> TopicSpec:
    """Make a catalogue of one source that no other test shares, and name it."""
    only = spec(f"{topic_prefix}.reading.v1", retention=DAY)
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    known = {each.name: each for each in (only, *only.derived)}
    monkeypatch.setattr(catalogue, "all_topics", lambda: tuple(known.values()))
    monkeypatch.setattr(catalogue, "find_topic", known.__getitem__)
    return only


def run(*arguments: str) -> Result:
    app = typer.Typer()
    verbs.register(app)
    return CliRunner().invoke(app, ["topics", *arguments])


@pytest.mark.kafka
def test_topics_are_made_once_with_their_settings(own: TopicSpec, admin: AdminClient) -> None:
    names = [own.name, f"{own.name}.dlq", f"{own.name}.late"]
    planned = run("create", "--dry-run", "--json")
    assert planned.exit_code == Exit.OK, planned.output
    assert json.loads(planned.stdout)["would_make"] == names
    assert topics.observe(admin, names) == {}
    first = run("create", "--partitions", "3", "--json")
    assert first.exit_code == Exit.OK, first.output
    assert sorted(json.loads(first.stdout)["made"]) == names
    again = json.loads(run("create", "--partitions", "3", "--json").stdout)
    assert (again["made"], again["existing"], again["drift"]) == ([], names, [])
    there = topics.observe(admin, names)
    assert {each.partitions for each in there.values()} == {3}
    assert there[own.name].settings["message.timestamp.type"] == "LogAppendTime"
    assert there[own.name].settings["retention.ms"] == "86400000"
    assert there[f"{own.name}.dlq"].settings["max.message.bytes"] == str(2 * 1_048_576)


@pytest.mark.kafka
def test_what_differs_is_told_and_mended_only_where_nothing_is_lost(
    own: TopicSpec, admin: AdminClient
) -> None:
    shorter = own.config | {"retention.ms": "1000"}
    admin.create_topics([NewTopic(own.name, 2, config=shorter)])[own.name].result(30)
    told = run("create", "--json")
    assert told.exit_code == Exit.DIFFERS, told.output
    assert [d["setting"] for d in json.loads(told.stdout)["drift"]] == ["partitions", "retention.ms"]
    assert topics.observe(admin, [own.name])[own.name].settings["retention.ms"] == "1000"
    mended = run("create", "--mend", "--json")
    assert mended.exit_code == Exit.DIFFERS
    assert [d["setting"] for d in json.loads(mended.stdout)["mended"]] == ["retention.ms"]
    there = topics.observe(admin, [own.name])[own.name]
    assert (there.partitions, there.settings["retention.ms"]) == (2, "86400000")


@pytest.mark.kafka
def test_a_listing_says_what_is_there_and_what_is_not(own: TopicSpec, admin: AdminClient) -> None:
    admin.create_topics([NewTopic(own.name, 4, config=own.config)])[own.name].result(30)
    listed = json.loads(run("list", "--json").stdout)
    assert [(row["name"], row["there"], row["partitions"]) for row in listed["topics"]] == [
        (own.name, True, 4),
        (f"{own.name}.dlq", False, None),
        (f"{own.name}.late", False, None),
    ]
    assert {d["kind"] for d in listed["drift"]} == {"missing"}
    table = run("list")
    assert own.name in table.stdout
    assert "tidewatch topics create" in table.stderr
    described = json.loads(run("describe", own.name, "--json").stdout)
    assert described["fields"] == ["sensor_id", "site", "quantity", "unit", "value", "time"]
    assert own.name in run("describe", own.name).stdout


def test_an_unknown_topic_is_a_usage_error_that_names_the_known_ones() -> None:
    result = run("create", "no.such.topic")
    assert result.exit_code == Exit.USAGE
    assert "iot.sensor.reading.v1" in " ".join(result.output.replace("│", " ").split())


def test_no_broker_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr(topics, "TIMEOUT", 2.0)
    result = run("list")
    assert result.exit_code == Exit.FAILED
    assert "tidewatch broker status" in result.output
