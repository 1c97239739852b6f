"""Dead letters that Kafka finds too large, or that are about patients: cut, or emptied."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from schemas.deadletters import CODE, MESSAGE, REDACTED
from schemas.errors import ErrorCode
from streams.task import Output
from streams.transactions import Record

ORIGINAL_BYTES = "tidewatch.value.bytes"
# Brokers take 1,048,588 bytes unless told otherwise; the second limit suits any topic that takes letters at all.
LIMITS = (1_000_000, 65_536)


def shorter(records: Sequence[Record], dead: Collection[str]) -> Iterator[list[Record]]:
    """Yield the records with ever shorter letters on the ``dead`` topics; nothing if there is nothing to cut.

    A cut letter says in the header ``tidewatch.value.bytes`` how long its event was; where the event is, its other headers say.
    """
    for limit in LIMITS:
        cut = [_cut(record, limit) if record.topic in dead else record for record in records]
        if cut != list(records):
            yield cut


def _cut(record: Record, limit: int) -> Record:
    size = len(record.value or b"")
    if record.value is None or size <= limit:
        return record
    headers = (*record.headers, (ORIGINAL_BYTES, b"%d" % size))
    return msgspec.structs.replace(record, value=record.value[:limit], headers=headers)


def redacted(output: Output) -> Output:
    """Return a dead letter without key and payload, and without words that may quote them; other outputs as they are.

    Its headers say where the event is, for as long as its topic keeps it, and the header ``tidewatch.redacted`` how long it was.
    """
    if output.kind != "dead":
        return output
    size = len(output.value or b"")
    quotes = (CODE, str(ErrorCode.PROCESSING).encode()) in output.headers
    headers = tuple(
        (name, b"the task failed" if quotes and name == MESSAGE else value) for name, value in output.headers
    )
    return msgspec.structs.replace(output, key=None, value=b"", headers=(*headers, (REDACTED, b"%d" % size)))
