"""The files of an archive: one directory a partition, each file named by its first offset and there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.errors import BackPressureError, SinkError

FORMAT: Final = b"1"
RETRY_SECONDS: Final = 5.0
_SUFFIX: Final = ".parquet"
_DIGITS: Final = 20
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Extent:
    """What a file covers: the offsets ``[first, next)`` of a partition of the topic with this id."""

    first: int
    next: int
    topic_id: str


class PartitionFiles:
    """The files of one partition, ``DIRECTORY/TOPIC/PARTITION/FIRST-OFFSET.parquet``.

    A file appears by a rename after it was written and synced, so a crash at any point leaves the earlier files as they were
    and at most a temporary one, which the next start removes. The position is recovered from the last file alone.
    """

    def __init__(self, root: Path, topic: str, partition: int) -> None:
        self.directory = root / topic / str(partition)

    def prepare(self) -> None:
        """Make the directory and remove what a crash left half written."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for leftover in self.directory.glob(".*.tmp"):
            leftover.unlink()

    def files(self) -> list[Path]:
        """Return the files in order of their offsets."""
        return sorted(self.directory.glob(f"{'[0-9]' * _DIGITS}{_SUFFIX}"))

    def last(self) -> Extent | None:
        """Return what the last file covers, ``None`` where there is no file."""
        files = self.files()
        return extent_of(files[-1]) if files else None

    def write(self, table: pa.Table, extent: Extent) -> Path:
        """Write one more file, durably.

        Raises:
            BackPressureError: the disk is full, the file too large for it, or over quota; nothing is left behind.
            SinkError: it cannot be written for another reason.
        """
        final = self.directory / f"{extent.first:0{_DIGITS}d}{_SUFFIX}"
        temporary = self.directory / f".{final.name}.tmp"
        facts = {b"tidewatch.format": FORMAT, b"tidewatch.next": str(extent.next).encode(),
                 b"tidewatch.topic_id": extent.topic_id.encode()}  # fmt: skip
        try:
            with temporary.open("wb") as file:
                pq.write_table(table.replace_schema_metadata(facts), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
            _sync_directory(self.directory)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _explained(error, self.directory) from error
        return final


def extent_of(file: Path) -> Extent:
    """Return what a file covers.

    Raises:
        SinkError: it is no file of an archive.
    """
    try:
        facts = pq.read_schema(file).metadata or {}
        if facts.get(b"tidewatch.format") != FORMAT:
            raise SinkError(f"{file} is not of this archive's format; move it away")
        next_, topic_id = int(facts[b"tidewatch.next"]), facts[b"tidewatch.topic_id"].decode()
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise SinkError(f"{file} cannot be read ({error}); remove it, and it is fetched again") from error
    return Extent(int(file.name.removesuffix(_SUFFIX)), next_, topic_id)


@contextmanager
def locked(root: Path, topic: str) -> Iterator[None]:
    """Keep other processes from archiving the same topic to the same place; the lock goes with its process.

    Raises:
        SinkError: another process has it, or the directory cannot be made.
    """
    directory = root / topic
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SinkError(
                    f"another process archives {topic} to {root}; stop it or choose another place"
                ) from None
            yield
    except OSError as error:
        raise SinkError(f"{directory} cannot be used: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explained(error: OSError, directory: Path) -> Exception:
    if error.errno in _NO_ROOM:
        return BackPressureError(
            f"no room for the archive in {directory} ({os.strerror(error.errno)}): make space there, it then goes on by itself",
            code="no_space",
            retry_after=RETRY_SECONDS,
        )
    return SinkError(f"the archive cannot be written in {directory}: {error}")


def read_files(files: list[Path]) -> Any:
    """Return the rows of files, in their order, as one table; columns that older files lack are null."""
    tables = [pq.read_table(file, partitioning=None) for file in files]
    return pa.concat_tables(
        [each.replace_schema_metadata(None) for each in tables], promote_options="permissive"
    )
