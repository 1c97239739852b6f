"""Lines of JSON out of whatever a gateway is fed: a file or a pipe, NDJSON or CSV, read until its end or a sign to stop."""

from __future__ import annotations

import csv
import os
import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from producers.errors import MappingError

Form = Literal["ndjson", "csv"]

_CHUNK = 1 << 20
LONGEST = 1 << 20
"""A line without an end so many bytes on is handed over in pieces, lest it fill the memory."""


def chunks_of_lines(descriptor: int, stopped: Callable[[], bool], tick: float = 0.2) -> Iterator[list[bytes]]:
    """Yield the whole lines of each read, without their ends, until the end of the file or ``stopped()``."""
    rest = b""
    while not stopped():
        if not select.select([descriptor], [], [], tick)[0]:
            continue
        data = os.read(descriptor, _CHUNK)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], b""
        yield [line for line in lines if line.strip()]
    if rest.strip():
        yield [rest]


def as_json(
    chunks: Iterable[list[bytes]], form: Form, numbers: Sequence[str], time: str
) -> Iterator[list[bytes]]:
    """Yield lines as JSON events: those of NDJSON as they are, those of CSV by the names in the first line.

    Of CSV fields, ``numbers`` and ``time`` become numbers where they are some; empty ones are left out. What does not become a
    valid event that way is left to whoever reads the event to refuse.

    Raises:
        MappingError: the first line of CSV has an empty or repeated name.
    """
    return iter(chunks) if form == "ndjson" else _from_csv(chunks, numbers, time)


def _from_csv(chunks: Iterable[list[bytes]], numbers: Sequence[str], time: str) -> Iterator[list[bytes]]:
    encode = msgspec.json.Encoder().encode
    convert = {**dict.fromkeys(numbers, _number), time: _whole}
    names: list[str] = []
    for lines in chunks:
        rows = csv.reader(line.decode("utf-8", "replace") for line in lines)
        if not names:
            names = _header(next(rows, []))
        yield [
            encode(
                {name: convert.get(name, str)(text) for name, text in zip(names, row, strict=False) if text}
            )
            for row in rows
        ]


def _header(names: list[str]) -> list[str]:
    names = [name.strip().removeprefix("\ufeff") for name in names]
    if not all(names) or len(set(names)) < len(names):
        raise MappingError(f"the first line of CSV must name each column once, not {','.join(names)!r}")
    return names


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text
