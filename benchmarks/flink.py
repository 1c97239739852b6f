"""Flink SQL as a peer: its settings, and the tables of a topic."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.environments import Environment, EnvironmentFailedError
from benchmarks.java import FLINK_CONNECTOR, flink_connector, no_java
from benchmarks.scenario import Read
from benchmarks.system import PEERS, Run, Say, System

ENVIRONMENT = Environment("flink", below=(3, 13))  # pemja, which PyFlink needs, is not built for later ones
HEAP = "-Xmx2g"
Statements = Callable[[Run], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Flavour:
    """How Flink is run. Without checkpoints nothing of it outlives a crash, which is the fastest that it can be."""

    name: str
    parallelism: int = 1
    checkpoint_seconds: int | None = None

    def settings(self, run: Run) -> dict[str, str]:
        """Return Flink's settings for a run."""
        settings = {
            "pipeline.jars": f"file://{flink_connector()}",
            "parallelism.default": str(self.parallelism),
            "pipeline.object-reuse": "true",
            "table.local-time-zone": "UTC",
            "rest.bind-port": "0",
            "io.tmp.dirs": str(run.scratch),
        }
        if self.checkpoint_seconds is not None:
            settings |= {
                "execution.checkpointing.interval": f"{self.checkpoint_seconds} s",
                "execution.checkpointing.dir": f"file://{run.scratch}/checkpoints",
            }
        return settings


FLAVOURS = (
    Flavour("flink"),
    Flavour("flink-checkpoints", checkpoint_seconds=1),
    Flavour("flink-2", parallelism=2),
)


def flink(flavour: Flavour, statements: Statements, read: Read, small: int, large: int) -> System:
    """Return Flink SQL with these statements, the last of which is the INSERT, as a system."""
    return System(
        flavour.name,
        lambda: f"{ENVIRONMENT.version('apache-flink')}, connector {FLINK_CONNECTOR}",
        partial(_command, flavour, statements),
        small,
        large,
        read,
        _missing,
        both=flavour.parallelism > 1,
        start=30.0,
        rate=400_000,
    )


def source(run: Run, ending: str, name: str, columns: str) -> str:
    """Return the declaration of a table that reads a topic of JSON from its beginning."""
    options = {
        "topic": run.source + ending,
        "properties.group.id": run.name,
        "scan.startup.mode": "earliest-offset",
        "scan.topic-partition-discovery.interval": "0",
    }
    return _table(run, name, columns, options)


def sink(run: Run, name: str, columns: str) -> str:
    """Return the declaration of a table that writes JSON to the topic of results."""
    return _table(run, name, columns, {"topic": run.results})


def _table(run: Run, name: str, columns: str, options: dict[str, str]) -> str:
    every = {
        "connector": "kafka",
        "format": "json",
        "properties.bootstrap.servers": run.bootstrap,
        **options,
    }
    listed = ", ".join(f"'{key}' = '{value}'" for key, value in every.items())
    return f"CREATE TABLE {name} ({columns}) WITH ({listed})"


def _command(flavour: Flavour, statements: Statements, run: Run) -> list[str]:
    job = run.scratch / "job.json"
    job.write_text(json.dumps({"settings": flavour.settings(run), "statements": list(statements(run))}))
    return [
        "env",
        f"JVM_ARGS={HEAP}",
        str(ENVIRONMENT.python(lambda _: None)),
        str(PEERS / "flink_sql.py"),
        str(job),
    ]


def _missing(say: Say) -> str | None:
    reason = no_java(11, 21)
    if reason is not None:
        return reason
    try:
        ENVIRONMENT.python(say)
    except EnvironmentFailedError as error:
        return str(error)
    flink_connector()
    return None


def plain(run: Run) -> list[str]:
    """Return the statements that compute the plain workload's windows; late is what comes after two seconds, as elsewhere."""
    reading = (
        "sensor_id STRING, `value` DOUBLE, `time` BIGINT, moment AS TO_TIMESTAMP_LTZ(`time`, 3),"
        " WATERMARK FOR moment AS moment - INTERVAL '2' SECOND"
    )
    window = "sensor STRING, `start` TIMESTAMP(3), `count` BIGINT, mean DOUBLE, `min` DOUBLE, `max` DOUBLE"
    return [
        source(run, "", "readings", reading),
        sink(run, "windows", window),
        "INSERT INTO windows SELECT sensor_id, window_start, COUNT(*), AVG(`value`), MIN(`value`), MAX(`value`)"
        " FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(moment), INTERVAL '10' SECOND))"
        " GROUP BY sensor_id, window_start, window_end",
    ]
