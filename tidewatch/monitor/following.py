"""The consumer with which a monitor reads topics: without a group, and only what is committed."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer


def follower(connection: Mapping[str, str | int], more: Mapping[str, str | int] | None = None) -> Consumer:
    """Return a consumer to ``assign``; it commits nothing. ``more`` are further settings of librdkafka."""
    return Consumer(
        {
            "log_level": 3,
            **connection,
            "group.id": "tidewatch-monitor",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **(more or {}),
        }
    )
