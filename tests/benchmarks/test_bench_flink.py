"""What Flink is told, and how its windows are read."""

from __future__ import annotations

from pathlib import Path

from benchmarks import flink, java
from benchmarks.oracle import Result
from benchmarks.system import Run
from benchmarks.systems import systems

RUN = Run("localhost:9092", "in", "out", 10, "me", Path("/nowhere"))


def test_a_window_is_read_with_its_start_in_utc() -> None:
    value = b'{"sensor":"s","start":"2025-06-15 15:06:40","count":2,"mean":1.5,"min":1.0,"max":2.0}'
    assert systems()["flink"].read(value) == Result("s", 1_750_000_000_000, 2, 1.5, 1.0, 2.0)


def test_flavours_differ_in_parallelism_and_checkpoints(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(flink, "flink_connector", lambda: "/connector.jar")
    plain, checkpoints, two = (flavour.settings(RUN) for flavour in flink.FLAVOURS)
    assert plain["pipeline.jars"] == "file:///connector.jar"
    assert "execution.checkpointing.interval" not in plain
    assert checkpoints["execution.checkpointing.interval"] == "1 s"
    assert two["parallelism.default"] == "2"
    assert [systems()[flavour.name].both for flavour in flink.FLAVOURS] == [False, False, True]


def test_tables_name_their_topic_and_broker() -> None:
    text = flink.source(RUN, ".bid", "bids", "price BIGINT")
    assert text.startswith("CREATE TABLE bids (price BIGINT) WITH (")
    assert "'topic' = 'in.bid'" in text
    assert "'scan.startup.mode' = 'earliest-offset'" in text
    assert "'topic' = 'out'" in flink.sink(RUN, "results", "price BIGINT")


def test_a_java_that_is_too_new_is_told(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    class Told:
        stderr = 'openjdk version "25.0.1" 2025-10-21'

    monkeypatch.setattr(java.shutil, "which", lambda _: "/usr/bin/java")
    monkeypatch.setattr(java.subprocess, "run", lambda *_, **__: Told)
    assert java.no_java(11, 21) == "it runs on Java 11 to 21, and java here is 25"
    assert java.no_java(11, 25) is None
    monkeypatch.setattr(java.shutil, "which", lambda _: None)
    assert java.no_java(11, 21) == "no Java 11 to 21 on this machine"
