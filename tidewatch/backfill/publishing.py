"""Publishes what a backfill has written to the topics where the stream publishes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from streams.transactions import TransactionalWriter
from tidewatch.backfill.record_files import records_of

_RECORDS = 5_000


def publish(
    connection: Mapping[str, str | int],
    name: str,
    output: Path,
    topics: Sequence[str],
    tell: Callable[[int], None],
) -> int:
    """Write the records of a backfill's topics, each to its partition in order, and return how many there were.

    Delivery: in transactions of 5,000 records; publishing again sends the same ids again, which sinks upsert.
    ``tell(records)`` hears of each transaction.

    Raises:
        OutputRefusedError: a topic is not there or does not take the records.
    """
    sent = 0
    for topic in topics:
        for directory in sorted((output / topic).glob("[0-9]*"), key=lambda each: int(each.name)):
            partition = int(directory.name)
            records = (
                record
                for file in sorted(directory.glob("*.parquet"))
                for _, record in records_of(file, topic, partition)
            )
            writer = TransactionalWriter(connection, f"tw.backfill.{name}.{partition}", 60.0, partition)
            try:
                writer.open()
                while some := list(islice(records, _RECORDS)):
                    writer.write(some)
                    sent += len(some)
                    tell(sent)
            finally:
                writer.close()
    return sent
