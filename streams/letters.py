"""Dead letters that Kafka finds too large: cut, so that one huge record cannot stop its partition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

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
