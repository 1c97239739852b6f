"""Keys of patients, one each, in a file of the site: whoever deletes a key makes all that it sealed unreadable."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sinks.errors import SinkError

_NONCE = 12
_KEY_BITS = 256


class PatientKeys:
    """A SQLite file of random AES-256 keys by pseudonym, readable by its owner alone; several processes may share it.

    What is sealed carries the key's own random name, not the pseudonym, so that nothing is left to link once a key is gone.
    Raises SinkError for a file that is none of keys or cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: dict[str, tuple[str, AESGCM]] = {}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            with self._open() as database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS key (name TEXT PRIMARY KEY, patient TEXT UNIQUE NOT NULL, secret BLOB NOT NULL)"
                )
        except (OSError, sqlite3.Error) as error:
            raise SinkError(f"the keys of patients in {file} cannot be used: {error}") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._file, timeout=30)
        try:
            database.execute("PRAGMA secure_delete = ON")  # a deleted key is overwritten, not only unlinked
            with database:
                yield database
        finally:
            database.close()

    def make(self, patients: set[str]) -> None:
        """Make keys, durably, for those patients that have none yet; whatever is sealed later can be opened."""
        unknown = sorted(patients - self._held.keys())
        if not unknown:
            return
        fresh = [
            (secrets.token_hex(16), patient, AESGCM.generate_key(bit_length=_KEY_BITS)) for patient in unknown
        ]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO key VALUES (?, ?, ?)", fresh)
            for patient in unknown:
                name, secret = database.execute(
                    "SELECT name, secret FROM key WHERE patient = ?", (patient,)
                ).fetchone()
                self._held[patient] = name, AESGCM(secret)

    def seal(self, patient: str, text: bytes, context: bytes) -> tuple[str, bytes]:
        """Return the name of the patient's key, which ``make`` has made, and the text sealed by it within a context."""
        name, cipher = self._held[patient]
        nonce = secrets.token_bytes(_NONCE)
        return name, nonce + cipher.encrypt(nonce, text, context)

    def opened(self, sealed: list[tuple[str, bytes, bytes]]) -> list[bytes | None]:
        """Return the texts of (key's name, sealed text, context); None where the key is gone.

        Raises SinkError where a text was changed or moved to another context.
        """
        with self._open() as database:
            known = dict(database.execute("SELECT name, secret FROM key"))
        ciphers = {name: AESGCM(secret) for name, secret in known.items()}
        try:
            return [
                ciphers[name].decrypt(text[:_NONCE], text[_NONCE:], context) if name in ciphers else None
                for name, text, context in sealed
            ]
        except InvalidTag as error:
            raise SinkError(
                f"a sealed record does not fit its key in {self._file}: it was changed"
            ) from error

    def knows(self, patient: str) -> bool:
        """Return whether there is a key of a patient."""
        with self._open() as database:
            found = database.execute("SELECT 1 FROM key WHERE patient = ?", (patient,)).fetchone()
        return found is not None

    def forget(self, patient: str) -> None:
        """Delete a patient's key, for good, if there is one. Processes that archive now must be restarted."""
        self._held.pop(patient, None)
        with self._open() as database:
            database.execute("DELETE FROM key WHERE patient = ?", (patient,))
