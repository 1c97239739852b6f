"""The committed offsets of a group, read from outside it."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer


def reader_of(connection: Mapping[str, str | int], group: str) -> Consumer:
    """Return a client to ask for a group's offsets with ``committed``; it never subscribes, so it is no member.

    The admin client's requests to a group's coordinator (``list_consumer_group_offsets``, ``describe_consumer_groups``) abort the
    whole process where that coordinator dies meanwhile (librdkafka issue 4605), so nothing here uses them.
    """
    return Consumer({"log_level": 3, **connection, "group.id": group, "enable.auto.commit": False})
