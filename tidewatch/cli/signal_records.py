"""What the verbs of ``tidewatch signals`` share: reading a topic to its present end, numbers and times in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tidewatch.cli.shared import connection, explained, fail

if TYPE_CHECKING:
    from sinks.signals import Keyed


STATES, CHANGES = "pharma.signal.state.v1", "pharma.signal.raised.v1"


def records_of(topic: str, *, required: bool = True) -> Iterator[Keyed]:
    """Give key and value of every record; a topic that is not there is an error if it is ``required``, else empty."""
    from sinks.errors import TopicError
    from sinks.reader import read_to_end

    try:
        with explained():
            for batch in read_to_end(connection(), [topic]):
                for message in batch:
                    yield message.key(), message.value()
    except TopicError as error:
        if required:
            fail(error, "Make it with `tidewatch topics create`.")


def number(value: float | None) -> str:
    """Return a measure with two decimals, or a dash where it is not defined."""
    return "-" if value is None else f"{value:.2f}"


def day(ms: int) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
