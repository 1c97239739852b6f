"""Batches on the way to Kafka, kept on local disk until the broker has them: append-only segments with checksums."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from producers.errors import SpoolError, SpoolFullError
from producers.spool_entries import Entry, Item, next_entry, packed, scan, whole_part, write_all

log = logging.getLogger(__name__)

_LIFE_BITS = 32
_META = "spool.json"
_ACKED = "acked"

WhenFull = Literal["wait", "drop-oldest"]


class Meta(msgspec.Struct):
    """What a spool is: ``stream`` names it among all spools, ``life`` counts how often it was opened."""

    stream: str
    topic: str
    partitions: int
    life: int = 0


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bounds of a spool: bytes on disk in all and of a segment, and how often it is synced to disk.

    ``sync_every`` is in seconds: 0 syncs every append before it returns, so that a power cut loses nothing that was accepted;
    otherwise at most that many seconds are lost; ``None`` leaves it to the system. A killed process loses nothing in any case.
    ``when_full``: ``wait`` refuses (``SpoolFullError``), ``drop-oldest`` lets go of whole segments, oldest first, and counts.
    """

    max_bytes: int = 10 << 30
    segment_bytes: int = 64 << 20
    sync_every: float | None = 0.0
    when_full: WhenFull = "wait"

    def __post_init__(self) -> None:
        if self.segment_bytes < 1 or self.max_bytes < 2 * self.segment_bytes:
            raise ValueError("a spool has room for at least two segments")


@dataclass(slots=True)
class _Segment:
    """One file, named by its first number; ``size`` is what it holds in whole entries."""

    path: Path
    first: int
    size: int = 0


@dataclass(slots=True)
class _State:
    segments: deque[_Segment] = field(default_factory=deque)
    next: int = 0
    last: int = -1
    acked: int = -1
    dropped: int = 0
    damaged: int = 0


class Spool:
    """An ordered queue on disk between one writer and one reader, who may be two threads.

    Numbers rise from entry to entry and are never used twice, whatever is lost with the machine: each opening begins a new range.
    A torn end, as a kill or a power cut leaves it, is cut off on opening; entries that fail their checksum later are skipped with
    the rest of their segment and counted. What ``ack`` says is delivered is removed segment by segment.

    Raises:
        SpoolError: another process has it open, or it belongs to another topic.
    """

    def __init__(
        self,
        directory: Path,
        gateway: str,
        topic: str,
        partitions: int | None,
        limits: SpoolLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._limits, self._monotonic = directory, limits or SpoolLimits(), monotonic
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = _locked(directory / "lock")
        self._state = _State()
        self._changed = threading.Condition()
        self._file: FileIO | None = None
        self._synced_at = monotonic()
        self._unsynced = False
        try:
            self.meta = self._opened_meta(gateway, topic, partitions)
            self._recover()
            self._acked_file = os.open(directory / _ACKED, os.O_RDWR | os.O_CREAT, 0o644)
        except BaseException:
            self._lock_file.close()
            raise

    # --- what there is

    @property
    def size(self) -> int:
        """The bytes of all segments on disk."""
        with self._changed:
            return sum(segment.size for segment in self._state.segments)

    @property
    def acked(self) -> int:
        """The number up to which everything is delivered (or dropped)."""
        return self._state.acked

    @property
    def last(self) -> int:
        """The number of the newest entry, -1 while there never was one."""
        return self._state.last

    @property
    def dropped(self) -> int:
        """Rows let go of undelivered, because the spool was full, since it was opened."""
        return self._state.dropped

    @property
    def damaged(self) -> int:
        """Bytes passed over because they failed their checksum, since it was opened; the torn end of a crash is not among them."""
        return self._state.damaged

    # --- writing

    def append(self, items: Sequence[Item]) -> int:
        """Append items in order, synced as declared, and return the number of the last.

        Raises:
            SpoolFullError: there is no room, on the disk or within the bounds; nothing was appended.
        """
        with self._changed:
            numbered = [Entry(self._state.next + i, *item) for i, item in enumerate(items)]
            data = b"".join(packed(entry) for entry in numbered)
            self._make_room(len(data))
            self._write(data)
            self._state.next += len(items)
            self._state.last = self._state.next - 1
            self._changed.notify_all()
            return self._state.next - 1

    def sync_if_due(self) -> None:
        """Sync to disk if the time has come; to be called now and then where appends do not sync themselves."""
        every = self._limits.sync_every
        with self._changed:
            if every and self._unsynced and self._monotonic() - self._synced_at >= every:
                self._sync()

    def wait_for_room(self, timeout: float) -> None:
        """Wait until something is removed, at most ``timeout`` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    # --- reading

    def entries(self, after: int) -> Iterator[Entry | None]:
        """Yield entries with numbers above ``after`` in order, ``None`` whenever there are no more for now."""
        reader = _Reader()
        try:
            while True:
                if reader.file is None or self._is_over(reader):
                    self._go_on(reader, after)
                entry = None if reader.file is None else self._read(reader)
                if entry is None or entry.number > after:
                    yield entry
        finally:
            reader.close()

    def wait_for_more(self, timeout: float) -> None:
        """Wait until something is appended, at most ``timeout`` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    def ack(self, number: int) -> None:
        """Note that everything up to ``number`` is delivered, and remove what is no longer needed."""
        with self._changed:
            if number <= self._state.acked:
                return
            self._state.acked = number
            os.pwrite(self._acked_file, _number_record(number), 0)
            segments = self._state.segments
            while len(segments) > 1 and segments[1].first <= number + 1:
                segments.popleft().path.unlink()
            self._changed.notify_all()

    def close(self) -> None:
        """Sync and let go of the directory."""
        with self._changed:
            if self._file is not None:
                self._sync()
                self._file.close()
                self._file = None
            if not self._lock_file.closed:
                os.close(self._acked_file)
                self._lock_file.close()

    # --- opening

    def _opened_meta(self, gateway: str, topic: str, partitions: int | None) -> Meta:
        path = self._directory / _META
        try:
            meta = msgspec.json.decode(path.read_bytes(), type=Meta)
        except FileNotFoundError:
            if partitions is None:
                raise SpoolError(
                    f"no broker has told yet how many partitions {topic} has, and {self._directory} is new; say --partitions"
                ) from None
            if any(self._directory.glob("*.seg")):
                raise SpoolError(
                    f"{self._directory} holds batches but no {_META}, so nobody knows whose"
                ) from None
            (self._directory / _ACKED).unlink(missing_ok=True)
            # A disk that was replaced must not look like the one before, whose numbers were higher.
            meta = Meta(f"{gateway}~{secrets.token_hex(6)}", topic, partitions)
        except (msgspec.MsgspecError, OSError) as error:
            raise SpoolError(f"{path} cannot be read: {error}") from error
        if (meta.stream.rpartition("~")[0], meta.topic) != (gateway, topic):
            raise SpoolError(
                f"{self._directory} holds batches of gateway {meta.stream.rpartition('~')[0]} for {meta.topic}; "
                "take another directory, or let that gateway deliver them first"
            )
        if partitions is not None and meta.partitions != partitions:
            raise SpoolError(
                f"{self._directory} was split for {meta.partitions} partitions and {topic} has {partitions}; a topic whose "
                "partitions change gets a new name: keys would move away from their history"
            )
        meta.life += 1
        self._written_meta(path, meta)
        return meta

    def _written_meta(self, path: Path, meta: Meta) -> None:
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(meta))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        self._sync_directory()

    def _recover(self) -> None:
        state = self._state
        state.next = self.meta.life << _LIFE_BITS
        paths = sorted(self._directory.glob("*.seg"))
        state.segments.extend(_Segment(path, int(path.stem), path.stat().st_size) for path in paths)
        state.acked = _number_of(self._directory / _ACKED)
        while state.segments:
            newest = state.segments[-1]
            newest.size, state.last = whole_part(newest.path)
            os.truncate(newest.path, newest.size)
            if newest.size:
                break
            newest.path.unlink()
            state.segments.pop()
        if state.acked >= state.last:
            self._remove_all()

    # --- segments

    def _make_room(self, size: int) -> None:
        limits, segments = self._limits, self._state.segments
        if sum(segment.size for segment in segments) + size > limits.max_bytes and self.acked >= self.last:
            self._remove_all()
        while sum(segment.size for segment in segments) + size > limits.max_bytes:
            if limits.when_full == "wait" or len(segments) < 2:
                raise SpoolFullError(f"{self._directory} has reached {limits.max_bytes} bytes")
            self._drop(segments.popleft())

    def _remove_all(self) -> None:
        self._roll()
        while self._state.segments:
            self._state.segments.popleft().path.unlink()

    def _drop(self, segment: _Segment) -> None:
        with segment.path.open("rb") as file:
            undelivered = [entry for entry in scan(file) if entry.number > self._state.acked]
        self._state.dropped += sum(entry.rows for entry in undelivered)
        segment.path.unlink()
        if undelivered:
            self._state.acked = max(self._state.acked, undelivered[-1].number)
            os.pwrite(self._acked_file, _number_record(self._state.acked), 0)

    def _write(self, data: bytes) -> None:
        segments = self._state.segments
        if self._file is None or segments[-1].size >= self._limits.segment_bytes:
            self._roll()
            self._open_segment()
        assert self._file is not None
        segment = segments[-1]
        try:
            write_all(self._file, data)
            self._unsynced = True
            every = self._limits.sync_every
            if every is not None and (every == 0 or self._monotonic() - self._synced_at >= every):
                self._sync()
        except OSError as error:
            os.truncate(self._file.fileno(), segment.size)
            os.lseek(self._file.fileno(), segment.size, os.SEEK_SET)
            raise SpoolFullError(f"{self._directory}: {error.strerror}") from error
        segment.size += len(data)

    def _open_segment(self) -> None:
        number = self._state.next
        path = self._directory / f"{number:020d}.seg"
        try:
            self._file = FileIO(path, "xb")
        except OSError as error:
            raise SpoolFullError(f"{self._directory}: {error.strerror}") from error
        self._state.segments.append(_Segment(path, number))
        if self._limits.sync_every is not None:
            self._sync_directory()

    def _roll(self) -> None:
        if self._file is not None:
            self._sync()
            self._file.close()
            self._file = None

    def _sync(self) -> None:
        if self._file is not None and self._unsynced and self._limits.sync_every is not None:
            os.fdatasync(self._file.fileno())
        self._unsynced = False
        self._synced_at = self._monotonic()

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    # --- reading

    def _go_on(self, reader: _Reader, after: int) -> None:
        """Open the next segment that may hold entries above ``after``, if there is one."""
        reader.close()
        with self._changed:
            segments = list(self._state.segments)
            if reader.segment is not None:
                segments = [segment for segment in segments if segment.first > reader.first]
            else:
                begun = [segment for segment in segments if segment.first <= after + 1]
                segments = begun[-1:] + segments[len(begun) :]
            if segments:
                # Under the lock, since the writer may drop it; one that is open stays readable.
                reader.open(segments[0])

    def _is_over(self, reader: _Reader) -> bool:
        with self._changed:
            segments = self._state.segments
            newer = bool(segments) and segments[-1].first > reader.first
            return reader.position >= reader.size and (newer or reader.segment not in segments)

    def _read(self, reader: _Reader) -> Entry | None:
        with self._changed:
            end = reader.size
        if reader.position >= end:
            return None
        assert reader.file is not None
        reader.file.seek(reader.position)
        entry = next_entry(reader.file)
        if entry is None:
            self._state.damaged += end - reader.position
            log.error("%s is damaged: %d bytes of it cannot be sent", reader.path, end - reader.position)
        reader.position = end if entry is None else reader.file.tell()
        return entry


@dataclass(slots=True)
class _Reader:
    """How far the reader has come: which segment, where in it."""

    segment: _Segment | None = None
    position: int = 0
    file: BinaryIO | None = None

    @property
    def path(self) -> Path | None:
        return None if self.segment is None else self.segment.path

    @property
    def first(self) -> int:
        return -1 if self.segment is None else self.segment.first

    @property
    def size(self) -> int:
        return 0 if self.segment is None else self.segment.size

    def open(self, segment: _Segment) -> None:
        self.segment, self.position = segment, 0
        self.file = segment.path.open("rb")

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _number_record(number: int) -> bytes:
    raw = struct.pack("<q", number)
    return raw + struct.pack("<I", zlib.crc32(raw))


def _number_of(path: Path) -> int:
    """Return the number that a small file holds, -1 where it does not hold one: then more is sent again than need be."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return -1
    return int(struct.unpack("<q", data[:8])[0]) if len(data) >= 12 and data == _checked(data) else -1


def _checked(data: bytes) -> bytes:
    return data[:8] + struct.pack("<I", zlib.crc32(data[:8])) if len(data) == 12 else b""


def _locked(path: Path) -> BinaryIO:
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise SpoolError(f"{path.parent} is in use by another gateway") from None
    return file
