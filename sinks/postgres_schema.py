"""Brings a database to the schema that the sink writes to: numbered SQL files, each applied once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import LiteralString

import psycopg

from sinks.errors import SinkError

_LOCK = 7_449_283_661  # any number that no other program uses for an advisory lock here


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: LiteralString

    @property
    def digest(self) -> str:
        """What tells whether a file was edited after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return the steps in order."""
    files = [file for file in resources.files("sinks.migrations").iterdir() if file.name.endswith(".sql")]
    found = [Migration(int(f.name[:4]), f.name.removesuffix(".sql"), f.read_text()) for f in files]
    return sorted(found, key=lambda each: each.number)


def migrate(connection: psycopg.Connection, steps: list[Migration] | None = None) -> list[str]:
    """Apply the steps that a database lacks, all or none, one process at a time; return their names.

    Raises:
        SinkError: the database was made by a newer version, or by files that were edited since.
    """
    steps = migrations() if steps is None else steps
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("CREATE SCHEMA IF NOT EXISTS tidewatch")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tidewatch.migration (number integer PRIMARY KEY, name text NOT NULL,"
            " digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = connection.execute("SELECT number, digest FROM tidewatch.migration").fetchall()
        applied = {int(number): str(digest) for number, digest in rows}
        _check(applied, steps)
        missing = [step for step in steps if step.number not in applied]
        for step in missing:
            connection.execute(step.sql)
            connection.execute(
                "INSERT INTO tidewatch.migration (number, name, digest) VALUES (%s, %s, %s)",
                (step.number, step.name, step.digest),
            )
    return [step.name for step in missing]


def _check(applied: dict[int, str], steps: list[Migration]) -> None:
    known = {step.number: step.digest for step in steps}
    if newer := sorted(applied.keys() - known.keys()):
        raise SinkError(
            f"the database has migration {newer[-1]}, which this version does not know: update Tidewatch"
        )
    if edited := [number for number, digest in applied.items() if known[number] != digest]:
        raise SinkError(
            f"migration {edited[0]} was edited after it was applied: put it back, and add a new one instead"
        )
