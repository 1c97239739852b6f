"""One partition's transactional producer: all of a commit becomes visible, or none of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.errors import FencedError
from streams.failpoints import failpoint


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record to write to an explicit partition."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


Delivered = Callable[[KafkaError | None, Message], None]


class TransactionalWriter:
    """Write lists of records atomically under one transactional id.

    Delivery: each list given to ``write`` is visible to read_committed readers exactly once or, when this raises, not at all or
    not known; the owner then starts again from the checkpoint, which tells. Opening fences every earlier owner of the id.
    Not safe for use by two threads at once.
    """

    def __init__(
        self, connection: Mapping[str, str | int], transactional_id: str, timeout: float, partition: int
    ) -> None:
        self._partition = partition
        self._timeout = timeout
        self._producer = Producer(
            {
                "log_level": 3,
                **connection,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(timeout * 1000),
                "compression.type": "lz4",
                "linger.ms": 1,
                "queue.buffering.max.messages": 1_000_000,
                "message.max.bytes": 1_000_000,
            }
        )

    def open(self, keep_trying: Callable[[], bool]) -> None:
        """Fence earlier owners and end their transactions, retrying while ``keep_trying()`` says so."""
        while True:
            try:
                self._producer.init_transactions(self._timeout)
            except KafkaException as error:
                if not error.args[0].retriable() or not keep_trying():
                    raise _translated(error) from error
                time.sleep(0.1)
            else:
                return

    def write(self, records: Iterable[Record], on_delivery: Delivered | None = None) -> None:
        """Commit the records in one transaction, aborting and sending again where Kafka asks for it.

        Raises:
            FencedError: another owner took over, or the producer is beyond repair.
        """
        batch = list(records)
        while True:
            try:
                self._producer.begin_transaction()
                self._produce(batch, on_delivery)
                failpoint("commit-produced", self._partition)
                self._until_settled(self._producer.commit_transaction)
            except KafkaException as error:
                if not error.args[0].txn_requires_abort():
                    raise _translated(error) from error
                self._abort()
            else:
                return

    def close(self) -> None:
        """Give up whatever is in flight without waiting for it."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)

    def _produce(self, records: list[Record], on_delivery: Delivered | None) -> None:
        produce = self._producer.produce
        for record in records:
            while True:
                try:
                    produce(
                        record.topic,
                        record.value,
                        record.key,
                        record.partition,
                        on_delivery=on_delivery,
                        headers=list(record.headers) or None,
                    )
                except BufferError:
                    self._producer.poll(0.05)
                else:
                    break
        self._producer.poll(0)

    def _until_settled(self, step: Callable[[float], None]) -> None:
        while True:
            try:
                step(self._timeout)
            except KafkaException as error:
                kafka_error = error.args[0]
                if kafka_error.txn_requires_abort() or not kafka_error.retriable():
                    raise
                time.sleep(0.05)
            else:
                return

    def _abort(self) -> None:
        try:
            self._until_settled(self._producer.abort_transaction)
        except KafkaException as error:
            raise _translated(error) from error


def _translated(error: KafkaException) -> Exception:
    kafka_error = error.args[0]
    fenced = kafka_error.code() in {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._STATE}
    return FencedError(kafka_error.str()) if fenced or kafka_error.fatal() else error
