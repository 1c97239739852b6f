"""How a dead letter says where it came from and why: its record headers, after Kafka Connect's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.columns import Rejected
from schemas.results import DeadLetter

Headers = tuple[tuple[str, bytes], ...]

TOPIC: Final = "__connect.errors.topic"
PARTITION: Final = "__connect.errors.partition"
OFFSET: Final = "__connect.errors.offset"
STAGE: Final = "__connect.errors.stage"
CLASS_NAME: Final = "__connect.errors.class.name"
MESSAGE: Final = "__connect.errors.exception.message"
CODE: Final = "tidewatch.error.code"
ROW: Final = "tidewatch.row"
REDACTED: Final = "tidewatch.redacted"

MAX_DETAIL: Final = 1_000


def dead_letter_topic(topic: str) -> str:
    """Return the topic that takes the dead letters of ``topic``."""
    return f"{topic}.dlq"


def headers_for(rejected: Rejected, topic: str, partition: int, stage: str) -> Headers:
    """Return the headers of a dead letter; its key and value are the original bytes.

    All values are UTF-8 text; the detail is cut at 1,000 characters, so that a hostile record cannot make its
    dead letter too large to be written.
    """
    values = {
        TOPIC: topic,
        PARTITION: str(partition),
        OFFSET: str(rejected.offset),
        STAGE: stage,
        CLASS_NAME: f"tidewatch.{stage}",
        MESSAGE: rejected.detail[:MAX_DETAIL],
        CODE: str(rejected.code),
        ROW: str(rejected.row),
    }
    return tuple((name, value.encode("utf-8", "replace")) for name, value in values.items())


def header(headers: Sequence[tuple[str, bytes | str | None]] | None, name: str) -> str | None:
    """Return a header as text, ``None`` where it is absent; of several, the last one."""
    found = [value for label, value in headers or () if label == name]
    if not found or found[-1] is None:
        return None
    value = found[-1]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def dead_letter(
    headers: Sequence[tuple[str, bytes | str | None]] | None, key: bytes | None, value: bytes | None
) -> DeadLetter:
    """Read a dead letter back.

    Dead letters of other writers lack some headers: numbers are then -1, texts empty. ``id`` is
    ``topic|partition|offset|row`` of the source, the same however often the letter is written.
    """
    topic = header(headers, TOPIC) or ""
    partition, offset, row = (_number(header(headers, name)) for name in (PARTITION, OFFSET, ROW))
    return DeadLetter(
        id=f"{topic}|{partition}|{offset}|{row}",
        topic=topic,
        partition=partition,
        offset=offset,
        row=row,
        stage=header(headers, STAGE) or "",
        code=header(headers, CODE) or "",
        detail=header(headers, MESSAGE) or "",
        key=key,
        value=value,
    )


def _number(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        return -1
