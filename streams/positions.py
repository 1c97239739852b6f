"""Where a partition can be read, and whether a checkpoint's position still lies there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

FORBIDDEN = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
ANSWER_WITHIN = 5.0  # seconds until another broker is asked: the one asked may have died


@dataclass(frozen=True, slots=True)
class LogRange:
    """A source partition's readable offsets ``[low, high)``."""

    low: int
    high: int

    def gap(self, position: int, committed: int) -> tuple[int, str]:
        """Return how many offsets are gone between a checkpoint and this log, and in words; 0 and "" if all are there.

        ``position`` is where the state stands, ``committed`` how far outputs are published. Of the offsets that are gone, some
        may never have held a record (transaction markers, compaction), so the number is an upper bound of records.
        """
        if position < self.low:
            return self.low - position, "retention deleted them before they were processed"
        if committed > self.high:
            return (
                committed - self.high,
                "the log ends before them: the topic was made anew or its end was lost",
            )
        return 0, ""

    def nearest(self, position: int) -> int:
        """Return the offset nearest to ``position`` that can be read."""
        return min(max(position, self.low), self.high)


def log_range(
    connection: Mapping[str, str | int],
    topic: str,
    partition: int,
    timeout: float = 15.0,
    isolation: str = "read_uncommitted",
) -> LogRange:
    """Ask the broker which offsets a partition holds, again until ``timeout`` seconds: leaders may be being elected.

    To readers of committed records (``isolation``) it ends where the first open transaction begins.

    Raises:
        KafkaException: the broker does not say in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        # A client of its own for each attempt: one that has learnt of a leader which then died goes on asking it.
        probe = Consumer(
            {"log_level": 3, **connection, "group.id": "tidewatch-probe", "isolation.level": isolation}
        )
        try:
            low, high = probe.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_WITHIN)
            return LogRange(int(low), int(high))
        except KafkaException as error:
            if error.args[0].code() in FORBIDDEN or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            probe.close()
