"""How a gateway names its batches, so that one that is sent again is recognised."""

from __future__ import annotations

import re

from schemas.columns import Int64s, RawBatch, Sent

_KEY = re.compile(rb"batch:([A-Za-z0-9._~-]{1,120}):([0-9]{1,19})")
_LARGEST = 2**63 - 1


def batch_key(stream: str, number: int) -> bytes:
    """Return the record key of a stream's batch.

    ``stream`` names one spool of one gateway (letters, digits and ``._~-``); numbers rise along a stream.

    Raises ValueError for a stream or number that could not be read back.
    """
    key = b"batch:%s:%d" % (stream.encode(), number)
    if number > _LARGEST or _KEY.fullmatch(key) is None:
        raise ValueError(f"no name for a batch: {stream!r}, {number}")
    return key


def sent_batches(batch: RawBatch, records: Int64s | list[int]) -> tuple[Sent, ...]:
    """Return which of the given records are numbered batches, in order of offset."""
    found = []
    for i in records:
        key = batch.keys[i]
        named = None if key is None else _KEY.fullmatch(key)
        if named is not None and int(named[2]) <= _LARGEST:
            found.append(Sent(int(batch.offsets[i]), named[1].decode(), int(named[2])))
    return tuple(found)
