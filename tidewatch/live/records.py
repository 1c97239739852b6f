"""Small helpers about records."""

from __future__ import annotations

from confluent_kafka import Message


def headers_of(message: Message) -> list[tuple[str, bytes | str | None]]:
    """Return a record's headers; none at all is the empty list."""
    headers = message.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)
