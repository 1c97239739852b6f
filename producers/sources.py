"""Files of rows as a stream of data frames: CSV, NDJSON and Parquet, compressed or not, in bounded memory."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from producers.errors import MappingError, SourceError
from producers.rejects import RejectReason, Rejects

CHUNK_ROWS = 20_000
_CSV_BLOCK = 4 << 20
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def read_frames(
    path: Path, columns: Sequence[str], rejects: Rejects, *, delimiter: str = ","
) -> Iterator[pd.DataFrame]:
    """Yield the named columns in chunks, in file order; the form is told by the name, ``.gz`` may follow.

    CSV values are text, with empty and NA-like ones missing; NDJSON columns may be dotted paths into nested objects.
    Lines that are no row are added to ``rejects``.

    Raises:
        MappingError: a column is not in the file.
        SourceError: the form is unknown, or the file is not readable as it.
    """
    reader = _reader_of(path)
    try:
        yield from reader(path, columns, rejects, delimiter)
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: {error}") from error


def check_file(path: Path) -> None:
    """Make sure that a file is there and of a known form, before anything else is set up.

    Raises:
        SourceError: it is not.
    """
    _reader_of(path)
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file")


def _reader_of(path: Path) -> _Reader:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    reader = _READERS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        raise SourceError(f"{path}: the name must end in one of {', '.join(_READERS)}, with or without .gz")
    return reader


def _csv(path: Path, columns: Sequence[str], rejects: Rejects, delimiter: str) -> Iterator[pd.DataFrame]:
    def skip(row: Any) -> str:
        rejects.add(
            RejectReason.MALFORMED, f"{row.actual_columns} columns, not {row.expected_columns}: {row.text}"
        )
        return "skip"

    with pyarrow.csv.open_csv(
        path,
        pyarrow.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK),
        pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        pyarrow.csv.ConvertOptions(
            null_values=_MISSING,
            strings_can_be_null=True,
            include_columns=list(columns),
            column_types=_texts(path, columns, delimiter),
        ),
    ) as reader:
        for batch in reader:
            yield batch.to_pandas()


def _texts(path: Path, columns: Sequence[str], delimiter: str) -> dict[str, pa.DataType]:
    """Return the type text for the columns, after making sure that the header has them."""
    with _opened(path) as file:
        header = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        present = next(csv.reader(header, delimiter=delimiter), [])
    _require(path, columns, present)
    return dict.fromkeys(columns, pa.string())


def _parquet(path: Path, columns: Sequence[str], _: Rejects, __: str) -> Iterator[pd.DataFrame]:
    with pyarrow.parquet.ParquetFile(path) as file:
        _require(path, columns, file.schema_arrow.names)
        for batch in file.iter_batches(CHUNK_ROWS, columns=list(columns)):
            yield batch.to_pandas()


def _ndjson(path: Path, columns: Sequence[str], rejects: Rejects, _: str) -> Iterator[pd.DataFrame]:
    with _opened(path) as lines:
        checked = False
        while chunk := list(islice(lines, CHUNK_ROWS)):
            rows = list(_objects(chunk, rejects))
            if rows and not checked:
                present = list(dict.fromkeys(name for row in rows for name in row))
                _require(path, [name for name in columns if name.split(".")[0] not in present], present)
                checked = True
            yield pd.DataFrame(
                {name: pd.Series([_value(row, name) for row in rows], dtype=object) for name in columns}
            )


def _objects(lines: list[bytes], rejects: Rejects) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            rejects.add(RejectReason.MALFORMED, f"{error}: {line!r}")
            continue
        if isinstance(row, dict):
            yield row
        else:
            rejects.add(RejectReason.MALFORMED, f"no object: {line!r}")


def _value(row: dict[str, Any], name: str) -> Any:
    if name in row or "." not in name:
        return row.get(name)
    found: Any = row
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _require(path: Path, wanted: Sequence[str], present: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise MappingError(f"{path} has no column {', '.join(missing)}; it has {', '.join(present)}")


_Reader = Callable[[Path, Sequence[str], Rejects, str], Iterator[pd.DataFrame]]
_READERS: dict[str, _Reader] = {
    ".csv": _csv,
    ".tsv": lambda path, columns, rejects, _: _csv(path, columns, rejects, "\t"),
    ".ndjson": _ndjson,
    ".jsonl": _ndjson,
    ".parquet": _parquet,
}
