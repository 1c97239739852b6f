"""Files of records as they are to be on a topic: key, value and headers, byte for byte and in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import RawBatch
from streams.transactions import Record

_HEADER: Final = pa.struct([("name", pa.string()), ("value", pa.binary())])
SCHEMA: Final = pa.schema(
    [
        ("offset", pa.int64()),
        ("watermark", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(_HEADER)),
    ]
)
_ROWS: Final = 10_000


class RecordFile:
    """Writes the records of one partition to a file; ``count`` is their number.

    ``watermark`` of a record is its writer's before it, in milliseconds, by which files are merged. A file can be read once it is
    closed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.count = path, 0
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, record: Record, watermark: int) -> None:
        """Add a record."""
        headers = [{"name": name, "value": value} for name, value in record.headers]
        self._rows.append(
            {"offset": self.count, "watermark": watermark, "key": record.key, "value": record.value, "headers": headers}
        )  # fmt: skip
        self.count += 1
        if len(self._rows) >= _ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows = []


def is_record_file(path: Path) -> bool:
    """Tell whether a file is of this kind, rather than an archive's table of decoded records."""
    return bool(pq.read_schema(path).names == SCHEMA.names)


def batches_of(path: Path, topic: str, partition: int, start: int = 0) -> Iterator[RawBatch]:
    """Yield a file's records as they would be fetched; the first has the offset ``start``, log-append times are 0."""
    with pq.ParquetFile(path) as file:
        for table in file.iter_batches(_ROWS, columns=["key", "value"]):
            n = len(table)
            offsets = np.arange(start, start + n, dtype=np.int64)
            yield RawBatch(
                topic, partition, start, start + n, offsets, np.zeros(n, np.int64),
                table.column("key").to_pylist(), table.column("value").to_pylist(),
            )  # fmt: skip
            start += n


def records_of(path: Path, topic: str, partition: int) -> Iterator[tuple[int, Record]]:
    """Yield (watermark, record) in order."""
    with pq.ParquetFile(path) as file:
        for table in file.iter_batches(_ROWS):
            for row in table.to_pylist():
                headers = tuple((header["name"], header["value"]) for header in row["headers"])
                yield row["watermark"], Record(topic, partition, row["key"], row["value"], headers)
