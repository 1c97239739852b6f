"""Writes results to PostgreSQL: copied in batches, upserted by id, waiting through an outage."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import LiteralString

import msgspec
import psycopg
from psycopg import errors, sql

from sinks.backoff import Backoff
from sinks.contract import Result
from sinks.errors import BackPressureError, SinkError
from sinks.postgres_rows import TABLES, Row, Table, table_of
from sinks.postgres_schema import migrate

log = logging.getLogger(__name__)

_NO_SPACE = (errors.DiskFull, errors.OutOfMemory, errors.InsufficientResources)
_LATER = (
    psycopg.OperationalError,  # lost, refused, starting up, shutting down
    psycopg.InterfaceError,  # closed under our hands
    errors.TransactionRollback,  # deadlock, serialization
    errors.ReadOnlySqlTransaction,  # a standby, until it takes over
)


class PostgresSink:
    """Upsert window results and alerts by id, each batch in one transaction; other results go whole to ``tidewatch.result``.

    Delivery: effectively once with the runner: a batch is committed before its offsets, and one that is written again
    replaces itself. While the database is away or full the batch is offered again, with growing pauses. A record that fits no
    column goes to ``tidewatch.refused``, and the others of its batch are written.
    """

    def __init__(self, dsn: str, backoff: Backoff | None = None) -> None:
        self._dsn = dsn
        self._backoff = backoff or Backoff()
        self._connection: psycopg.Connection | None = None

    def setup(self) -> None:
        """Connect and bring the schema up to date.

        Raises:
            BackPressureError: the database is away.
            SinkError: it refuses, or is of another version.
        """
        self._guarded(lambda _: None)

    def write(self, batch: Sequence[Result]) -> int:
        """Write a batch in one transaction; of several results with one id the last counts."""
        self._guarded(lambda connection: self._write(connection, batch))
        return len(batch)

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _guarded(self, action: Callable[[psycopg.Connection], None]) -> None:
        try:
            action(self._connected())
        except _NO_SPACE as error:
            self._drop()
            raise self._later(
                error, "no_space", "the database has no room: make some, it then goes on by itself"
            ) from error
        except _LATER as error:
            self._drop()
            raise self._later(error, "unavailable", "the database is away; waiting for it") from error
        except psycopg.Error as error:
            self._drop()
            raise SinkError(f"the database refuses: {_words(error)}") from error
        self._backoff.reset()

    def _later(self, error: psycopg.Error, code: str, what: str) -> BackPressureError:
        return BackPressureError(f"{what} ({_words(error)})", code=code, retry_after=self._backoff.next())

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=10, application_name="tidewatch"
            )
            for name in migrate(self._connection):
                log.warning("applied migration %s", name)
            for table in TABLES:
                self._connection.execute(_trusted(table.stage))
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _write(self, connection: psycopg.Connection, batch: Sequence[Result]) -> None:
        try:
            with connection.transaction():
                self._upsert(connection, batch)
        except psycopg.DataError as error:
            if len(batch) == 1:
                self._refuse(connection, batch[0], error)
                return
            middle = len(batch) // 2
            self._write(connection, batch[:middle])
            self._write(connection, batch[middle:])

    def _upsert(self, connection: psycopg.Connection, batch: Sequence[Result]) -> None:
        rows: dict[str, dict[str, Row]] = defaultdict(dict)
        tables: dict[str, Table] = {}
        for result in batch:
            table = table_of(result.value)
            tables[table.name] = table
            row = table.row(result, result.value)
            rows[table.name][row[0]] = row
        with connection.cursor() as cursor:
            for name, table in tables.items():
                with cursor.copy(_trusted(table.copy)) as copy:
                    for row in rows[name].values():
                        copy.write_row(row)
                cursor.execute(_trusted(table.upsert))

    def _refuse(self, connection: psycopg.Connection, result: Result, error: psycopg.Error) -> None:
        log.warning(
            "%s[%d] at %d is refused: %s", result.topic, result.partition, result.offset, _words(error)
        )
        with connection.transaction():
            connection.execute(
                "INSERT INTO tidewatch.refused VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    result.topic,
                    result.partition,
                    result.offset,
                    _words(error),
                    msgspec.json.encode(result.value),
                ),
            )


def _trusted(text: LiteralString) -> sql.SQL:
    """Return SQL made of this module's own table declarations."""
    return sql.SQL(text)


def _words(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).strip().splitlines()[0]
