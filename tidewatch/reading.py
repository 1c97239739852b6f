"""Reads a topic or an archive into a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.deadletters import dead_letter
from schemas.results import DeadLetter
from schemas.topics import find_topic
from sinks.archive_files import PartitionFiles, read_files
from sinks.batches import raw_batch
from sinks.errors import TopicError
from sinks.makers import maker
from sinks.reader import EARLIEST, read_to_end
from sinks.sealed import SEALED, opened
from tidewatch.backfill.record_files import batches_of, is_record_file, records_of


def read_frame(
    source: str | Path,
    *,
    newest: bool,
    since: datetime | None,
    like: str | None,
    connection: Mapping[str, str | int] | None,
    keys: Path | None = None,
) -> pd.DataFrame:
    """Do what `tidewatch.read` says."""
    table = (
        _opened(_archive(Path(source), like), keys)
        if _is_archive(source)
        else _topic(str(source), since, like, connection)
    )
    time = "timestamp" if "timestamp" in table.column_names else "record_timestamp"
    if since is not None and time in table.column_names:
        table = table.filter(
            pc.greater_equal(table.column(time), pa.scalar(_utc(since), table.schema.field(time).type))
        )
    return _deduplicated(_frame(table), newest=newest)


def _opened(table: pa.Table, keys: Path | None) -> pa.Table:
    if SEALED not in table.column_names:
        return table
    if keys is None or not keys.is_file():
        raise TopicError("this archive is sealed by the keys of patients: name their file with keys=")
    return opened(table, keys)


def _is_archive(source: str | Path) -> bool:
    return isinstance(source, Path) or "/" in source or Path(source).exists()


def _archive(path: Path, like: str | None) -> pa.Table:
    """Read all files below a directory of one topic, or one file."""
    if path.is_file():
        return _files([path], like)
    partitions = sorted(path.glob("[0-9]*"), key=lambda each: int(each.name))
    if not partitions:
        topics = sorted(each.name for each in path.glob("*") if each.is_dir())
        remedy = (
            f"name one of its topics: {', '.join(topics)}"
            if topics
            else "make one with `tidewatch sink parquet`"
        )
        raise TopicError(f"{path} is no archive of a topic; {remedy}")
    files = [
        file for each in partitions for file in PartitionFiles(path.parent, path.name, int(each.name)).files()
    ]
    if not files:
        raise TopicError(f"the archive {path} holds no records yet")
    return _files(files, like)


def _files(files: list[Path], like: str | None) -> pa.Table:
    """Read an archive's tables, or decode the records that a backfill has left, ``TOPIC/PARTITION/NUMBER.parquet``."""
    if not is_record_file(files[0]):
        return read_files(files)
    topic = files[0].absolute().parent.parent.name
    placed = [(file, int(file.absolute().parent.name)) for file in files]
    if _is_dead(like or topic):
        records = [record for file, partition in placed for _, record in records_of(file, topic, partition)]
        letters = [(dead_letter(record.headers, record.key, record.value), record) for record in records]
        return pa.Table.from_pylist(
            [_fields(letter) | {"record_partition": record.partition} for letter, record in letters]
        )
    make = maker(topic, like=like)
    tables = [make(batch) for file, partition in placed for batch in batches_of(file, topic, partition)]
    return pa.concat_tables(tables).unify_dictionaries()


def _topic(
    topic: str, since: datetime | None, like: str | None, connection: Mapping[str, str | int] | None
) -> pa.Table:
    if connection is None:
        from tidewatch.settings import Settings

        connection = Settings().connection()
    start = EARLIEST if since is None else int(_utc(since).timestamp() * 1000)
    dead = _is_dead(like or topic)
    make = None if dead else maker(topic, like=like)
    tables: list[pa.Table] = []
    letters: list[dict[str, Any]] = []
    for batch in read_to_end(connection, [topic], start):
        partitions = np.array([message.partition() or 0 for message in batch])
        for partition in np.unique(partitions).tolist():
            group = [batch[i] for i in np.flatnonzero(partitions == partition).tolist()]
            if make is not None:
                tables.append(make(raw_batch(group, topic, partition, int(group[0].offset() or 0))))
            else:
                letters += _letters(group)
    if dead:
        return pa.Table.from_pylist(letters)
    if not tables:
        raise TopicError(f"topic {topic!r} holds no records" + (" since then" if since else " yet"))
    return pa.concat_tables(tables).unify_dictionaries()


def _is_dead(topic: str) -> bool:
    try:
        return find_topic(topic).role == "dead"
    except KeyError:
        return False


def _letters(messages: list[Any]) -> Iterator[dict[str, Any]]:
    for message in messages:
        letter = dead_letter(message.headers(), message.key(), message.value())
        yield _fields(letter) | {
            "record_partition": message.partition(),
            "record_offset": message.offset(),
            "record_timestamp": datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
        }


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in letter.__struct_fields__}


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(maps_as_pydicts="lossy")
    by = ["partition", "offset", "row"] if "row" in frame else ["record_partition", "record_offset"]
    place = [name for name in by if name in frame]
    return frame.sort_values(place, kind="stable", ignore_index=True) if len(frame) else frame


def _deduplicated(frame: pd.DataFrame, *, newest: bool) -> pd.DataFrame:
    """Keep each result once by its id, of revisions the newest where asked.

    Of results without revisions, which are states of something, all are kept, or the last where asked. Events have a ``row``.
    """
    if "row" in frame or "id" not in frame or "record_error" not in frame:
        return frame
    readable = frame["record_error"].isna()
    good = frame[readable]
    if "revision" in frame:
        good = good.drop_duplicates("id", keep="last")
        if newest:
            # An id ends in its revision: what comes before it names what is revised.
            subject = good["id"].str.rpartition("|")[0]
            good = good[good["revision"] == good.groupby(subject, sort=False)["revision"].transform("max")]
    elif newest:
        good = good.drop_duplicates("id", keep="last")
    kept = good if newest else pd.concat([good, frame[~readable]]).sort_index()
    return kept.reset_index(drop=True)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
