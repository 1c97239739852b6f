"""What influenced a running app from outside: idle timeouts and rule changes, as its checkpoints still tell them."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.topics import checkpoint_topic
from sinks.reader import read_to_end
from streams.checkpoint import PROGRESS, Control, decode_progress
from streams.positions import log_range


def influences_of(
    connection: Mapping[str, str | int], app: str, partitions: int
) -> tuple[dict[int, list[Control]], list[int]]:
    """Return the influences of each partition in order, and the partitions whose earlier ones are no longer known.

    An app lets go of what lies before its newest full checkpoint.

    Raises:
        TopicError: there is no such app.
    """
    topic = checkpoint_topic(app)
    found: dict[int, list[Control]] = {partition: [] for partition in range(partitions)}
    for messages in read_to_end(connection, [topic]):
        for message in messages:
            if (message.key() or b"")[:1] == PROGRESS:
                progress = decode_progress(message.value() or b"")
                found[int(message.partition() or 0)].extend(progress.controls)
    cut = [p for p in range(partitions) if log_range(connection, topic, p).low > 0]
    return found, cut
