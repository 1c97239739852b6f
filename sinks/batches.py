"""From fetched messages to one raw batch of a partition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from confluent_kafka import Message

from schemas.columns import RawBatch
from schemas.deadletters import header

CONTENT_TYPE = "content-type"


def raw_batch(messages: Sequence[Message], topic: str, partition: int, start: int) -> RawBatch:
    """Return the messages, at least one and all of this partition, as a batch that begins at ``start``."""
    n = len(messages)
    offsets = np.fromiter((message.offset() for message in messages), np.int64, n)
    types = [_content_type(message) for message in messages]
    return RawBatch(
        topic,
        partition,
        start,
        int(offsets[-1]) + 1,
        offsets,
        np.fromiter((message.timestamp()[1] for message in messages), np.int64, n),
        [message.key() for message in messages],
        [message.value() for message in messages],
        types if any(types) else None,
    )


def _content_type(message: Message) -> str | None:
    found = message.headers()
    if not found:
        return None
    return header(list(found.items()) if isinstance(found, dict) else found, CONTENT_TYPE)
