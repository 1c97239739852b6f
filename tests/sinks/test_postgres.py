"""The PostgreSQL sink on a real server: upserts by id, migrates, and lives through an outage without loss or doubles."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from threading import Event

import msgspec
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from schemas.results import Alert, WindowSummary
from sinks.backoff import Backoff
from sinks.contract import Result
from sinks.decoding import decoders
from sinks.errors import BackPressureError, SinkError
from sinks.metrics import SinkMetrics
from sinks.postgres import PostgresSink
from sinks.postgres_rows import ALERT, WINDOW_SUMMARY
from sinks.postgres_schema import Migration, migrate, migrations
from sinks.runner import SinkLimits, SinkRunner
from tests.conftest import Kafka
from tests.sinks.conftest import Postgres
from tests.sinks.results import T0, alert, make_topic, publish, summary
from tests.streams.harness import until


def results(values: Sequence[msgspec.Struct]) -> list[Result]:
    return [Result("t", 0, offset, T0, value) for offset, value in enumerate(values)]


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def sink(dsn: str):  # type: ignore[no-untyped-def]
    made = PostgresSink(dsn, Backoff(0.1, 0.5))
    made.setup()
    yield made
    made.close()


def test_every_field_of_a_result_is_in_its_column(postgres: Postgres, dsn: str, sink: PostgresSink) -> None:
    strange = summary(
        1,
        group="a\tb\\n\n'\"é",
        labels={"site": "x\0y"},
        min=float("-inf"),
        count=2**62,
        late=3,
        first_time=T0,
        extras={"top": {"a": 2}},
    )
    assert sink.write(results([strange, alert(0, value=None, muted_by="night")])) == 2
    ((row,),) = postgres.execute("SELECT to_jsonb(s) FROM tidewatch.window_summary s", dsn)
    assert row["group_name"] == strange.group
    assert row["labels"] == {"site": "x\ufffdy"}
    assert row["quantiles"] == strange.quantiles
    assert (row["late"], row["extras"]) == (3, {"top": {"a": 2}})
    assert row["sketch"] == "\\x" + strange.sketch.hex()
    assert (row["count"], row["mean"], row["min"], row["alpha"]) == (2**62, 20.0, "-Infinity", 0.01)
    query = "SELECT extract(epoch FROM window_start) * 1000, extract(epoch FROM window_end) * 1000 FROM tidewatch.window_summary"
    assert [int(value) for value in postgres.execute(query, dsn)[0]] == [strange.start, strange.end]
    ((row,),) = postgres.execute("SELECT to_jsonb(a) FROM tidewatch.alert a", dsn)
    assert row["evidence"] == alert(0).evidence
    assert (row["value"], row["threshold"], row["state"], row["source_offset"]) == (None, 40.0, "open", 0)
    assert row["muted_by"] == "night"


def test_no_field_of_a_result_is_without_a_column() -> None:
    for table, struct in ((WINDOW_SUMMARY, WindowSummary), (ALERT, Alert)):
        assert len(table.columns) == len(struct.__struct_fields__), table.name


def test_writing_again_changes_nothing_and_the_last_of_a_batch_counts(
    postgres: Postgres, dsn: str, sink: PostgresSink
) -> None:
    batch = results([summary(n) for n in range(200)])
    sink.write(batch)
    once = postgres.execute("SELECT * FROM tidewatch.window_summary ORDER BY id", dsn)
    sink.write(batch)
    sink.write(results([summary(0, mean=1.0), summary(0)]))
    assert postgres.execute("SELECT * FROM tidewatch.window_summary ORDER BY id", dsn) == once
    assert len(once) == 200


def test_views_show_the_newest_revision(postgres: Postgres, dsn: str, sink: PostgresSink) -> None:
    sink.write(results([summary(0, 1), summary(0), summary(1), alert(0), alert(0, 1), alert(1)]))
    newest = postgres.execute("SELECT revision FROM tidewatch.window_latest ORDER BY group_name", dsn)
    assert newest == [(1,), (0,)]
    states = postgres.execute("SELECT state FROM tidewatch.alert_latest ORDER BY alert_id", dsn)
    assert states == [("close",), ("open",)]


class Verdict(msgspec.Struct):
    id: str
    verdict: str


def test_a_result_of_another_type_is_kept_whole(postgres: Postgres, dsn: str, sink: PostgresSink) -> None:
    sink.write(results([Verdict("v|0", "signal"), Verdict("v|0", "none")]))
    assert postgres.execute("SELECT id, topic, body FROM tidewatch.result", dsn) == [
        ("v|0", "t", {"id": "v|0", "verdict": "none"})
    ]


def test_a_result_that_fits_no_column_is_set_aside_and_the_others_are_written(
    postgres: Postgres, dsn: str, sink: PostgresSink
) -> None:
    bad = summary(3, count=2**70)
    batch = results([summary(n) if n != 3 else bad for n in range(20)])
    sink.write(batch)
    sink.write(batch)
    assert postgres.execute("SELECT count(*) FROM tidewatch.window_summary", dsn) == [(19,)]
    ((topic, partition, offset, reason, body),) = postgres.execute("SELECT * FROM tidewatch.refused", dsn)
    assert (topic, partition, offset) == ("t", 0, 3)
    assert "bigint" in reason
    assert msgspec.json.decode(body, type=WindowSummary) == bad


def test_migrations_are_applied_once_in_order_and_never_edited(dsn: str) -> None:
    steps = migrations()
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        assert migrate(connection) == [step.name for step in steps]
        assert migrate(connection) == []
        more = [*steps, Migration(99, "0099_more", "CREATE TABLE tidewatch.more (a integer)")]
        assert migrate(connection, more) == ["0099_more"]
        with pytest.raises(SinkError, match="update Tidewatch"):
            migrate(connection)
        edited = [Migration(1, steps[0].name, steps[0].sql + "-- edited"), *more[1:]]
        with pytest.raises(SinkError, match="migration 1 was edited"):
            migrate(connection, edited)


def test_a_migration_that_fails_leaves_nothing(postgres: Postgres, dsn: str) -> None:
    broken = [
        Migration(1, "0001_a", "CREATE TABLE tidewatch.a (b integer)"),
        Migration(2, "0002_b", "CREATE NONSENSE"),
    ]
    with closing(psycopg.connect(dsn, autocommit=True)) as connection, pytest.raises(psycopg.Error):
        migrate(connection, broken)
    assert postgres.execute("SELECT to_regclass('tidewatch.a')", dsn) == [(None,)]


def test_two_sinks_may_set_up_at_once(postgres: Postgres, dsn: str) -> None:
    sinks = [PostgresSink(dsn) for _ in range(4)]
    threads = [threading.Thread(target=each.setup) for each in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for each in sinks:
        each.close()
    assert postgres.execute("SELECT count(*) FROM tidewatch.migration", dsn) == [(len(migrations()),)]


def test_a_database_that_is_away_is_back_pressure_and_one_that_refuses_ends_it(
    postgres: Postgres, dsn: str
) -> None:
    away = PostgresSink("postgresql:///x?host=/nonexistent", Backoff(1.0, 8.0, lambda _, high: high))
    pauses = []
    for _ in range(5):
        with pytest.raises(BackPressureError, match="the database is away") as pressure:
            away.setup()
        pauses.append(pressure.value.retry_after)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    postgres.execute("CREATE SCHEMA tidewatch; CREATE TABLE tidewatch.alert (id text)", dsn)
    with pytest.raises(SinkError, match="already exists"):
        PostgresSink(dsn).setup()


@pytest.mark.kafka
def test_an_outage_loses_and_doubles_nothing(
    postgres: Postgres, dsn: str, kafka: Kafka, topic_prefix: str
) -> None:
    make_topic(kafka.connection, topic_prefix, 2)
    values = [summary(n) for n in range(6_000)]
    publish(kafka.connection, topic_prefix, values[:2_000])
    registry, stopping = CollectorRegistry(), Event()
    runner = SinkRunner(
        kafka.connection, topic_prefix, decoders([topic_prefix], WindowSummary), PostgresSink(dsn, Backoff(0.1, 0.5)),
        SinkMetrics(registry, "postgres"), limits=SinkLimits(200, 0.1),
    )  # fmt: skip
    thread = threading.Thread(target=runner.run, args=(stopping,))
    thread.start()
    try:
        sent = lambda: registry.get_sample_value("tidewatch_sink_sent_total", {"sink": "postgres"}) or 0  # noqa: E731
        until(lambda: sent() > 0, 120, "nothing was written")
        postgres.kill()
        publish(kafka.connection, topic_prefix, values[2_000:])
        errors = {"sink": "postgres", "stage": "write", "code": "unavailable"}
        until(
            lambda: (registry.get_sample_value("tidewatch_sink_errors_total", errors) or 0) > 1,
            60,
            "no outage was seen",
        )
        postgres.start()
        until(lambda: sent() >= len(values), 120, "results are missing")
    finally:
        stopping.set()
        thread.join(60)
        postgres.start()
    found = dict(postgres.execute("SELECT id, count FROM tidewatch.window_summary", dsn))
    assert found == {value.id: value.count for value in values}


@pytest.mark.kafka
def test_alerts_and_windows_share_a_sink(
    postgres: Postgres, dsn: str, kafka: Kafka, topic_prefix: str
) -> None:
    topics = {f"{topic_prefix}.w": WindowSummary, f"{topic_prefix}.a": Alert}
    for topic in topics:
        make_topic(kafka.connection, topic)
    publish(kafka.connection, f"{topic_prefix}.w", [summary(n) for n in range(10)])
    publish(kafka.connection, f"{topic_prefix}.a", [alert(n) for n in range(5)])
    kinds = {topic: decoders([topic], struct)[topic] for topic, struct in topics.items()}
    stopping = Event()
    runner = SinkRunner(
        kafka.connection, topic_prefix, kinds, PostgresSink(dsn), SinkMetrics(CollectorRegistry(), "pg")
    )
    thread = threading.Thread(target=runner.run, args=(stopping,))
    thread.start()
    query = "SELECT (SELECT count(*) FROM tidewatch.window_summary), (SELECT count(*) FROM tidewatch.alert)"
    try:
        until(
            lambda: bool(postgres.execute("SELECT to_regclass('tidewatch.refused')", dsn)[0][0]),
            60,
            "no schema",
        )
        until(lambda: postgres.execute(query, dsn) == [(10, 5)], 60, "results are missing")
    finally:
        stopping.set()
        thread.join(60)
