"""Which struct a topic's records are, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas.errors import ErrorCode
from schemas.topics import find_topic, result_topics
from sinks.errors import TopicError

Struct = type[msgspec.Struct]
Decoder = msgspec.json.Decoder[msgspec.Struct]


def struct_of(topic: str) -> Struct:
    """Return the struct of a result topic of the catalogue.

    Raises:
        TopicError: the topic is not in the catalogue or holds no results.
    """
    try:
        value = find_topic(topic).value
    except KeyError as error:
        raise TopicError(f"{error.args[0]}; say with --like which of them it is like") from error
    if not (isinstance(value, type) and issubclass(value, msgspec.Struct)):
        raise TopicError(f"topic {topic!r} holds no results")
    return value


def topics_of(struct: Struct) -> tuple[str, ...]:
    """Return the catalogue's result topics that hold a struct."""
    return tuple(spec.name for spec in result_topics() if spec.value is struct)


def decoders(topics: Iterable[str], struct: Struct | None = None) -> dict[str, Decoder]:
    """Return the decoder of each topic's records, of the catalogue's struct if none is given.

    Raises:
        TopicError: no struct is given, and a topic is not in the catalogue or holds no results.
    """
    return {topic: msgspec.json.Decoder(struct or struct_of(topic)) for topic in topics}


def decode(decoder: Decoder, value: bytes | None) -> msgspec.Struct | ErrorCode:
    """Decode a record, or return why it is no result."""
    if not value:
        return ErrorCode.EMPTY
    try:
        return decoder.decode(value)
    except msgspec.ValidationError:
        return ErrorCode.WRONG_TYPE
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorCode.MALFORMED
