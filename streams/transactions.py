"""One partition's transactional producer: all of a commit becomes visible, or none of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.errors import FencedError, OutputRefusedError, StoppingError
from streams.failpoints import failpoint

log = logging.getLogger(__name__)

# Sending again would meet the same answer.
PERMANENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError._STATE,
    }
)
LARGEST_RECORD = 16 << 20  # the topics' own limits decide; librdkafka's only has to be above them
LONGEST_WAIT = 5.0
_A_TURN = 1_000
_IN_TURN = threading.Lock()
"""Queueing holds the interpreter's lock, even while librdkafka's own threads keep it waiting. Of many partitions that close windows
at once one does so at a time, for so many records, or the event loop would come behind all of them."""
STEP = 2.0  # seconds until a call looks up whether to go on waiting


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
    Whatever waits for Kafka gives up with StoppingError once ``keep_trying()`` says no. Not safe for use by two threads at once.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        transactional_id: str,
        timeout: float,
        partition: int,
        keep_trying: Callable[[], bool] = lambda: True,
    ) -> None:
        self._partition = partition
        self._keep_trying = keep_trying
        self._refused: KafkaError | None = None
        self._producer = Producer(
            {
                "log_level": 3,
                **connection,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(timeout * 1000),
                "compression.type": "lz4",
                "linger.ms": 1,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 131_072,  # the outputs of a large commit are in memory once already
                "message.max.bytes": LARGEST_RECORD,
            }
        )

    def open(self) -> None:
        """Fence earlier owners and end their transactions.

        Raises:
            FencedError: the producer is beyond repair.
            StoppingError: there is no more time to wait for Kafka.
        """
        try:
            self._until_settled(self._producer.init_transactions)
        except KafkaException as error:
            raise _translated(error) from error

    def write(
        self, records: Iterable[Record], on_delivery: Delivered | None = None, watched: str | None = None
    ) -> None:
        """Commit the records in one transaction, aborting and sending again where Kafka asks for it.

        ``on_delivery`` is told of the records on topic ``watched``.

        Raises:
            FencedError: another owner took over, or the producer is beyond repair.
            OutputRefusedError: Kafka will never take these records.
            StoppingError: there is no more time to wait for Kafka.
        """
        batch = list(records)
        waits = 0.1
        failed = False
        while True:
            self._refused = None
            try:
                self._producer.begin_transaction()
                self._produce(batch, on_delivery, watched, ask=failed)
                failpoint("commit-produced", self._partition)
                self._until_settled(self._producer.commit_transaction)
            except KafkaException as error:
                cause = self._refused or error.args[0]
                if cause.code() not in PERMANENT and not error.args[0].txn_requires_abort():
                    raise _translated(error) from error
                self._abort()
                if cause.code() in PERMANENT:
                    raise _refusal(cause) from error
                failed = True
                log.warning("partition %d: aborted, sending again: %s", self._partition, cause.str())
                self._wait(waits)
                waits = min(2 * waits, LONGEST_WAIT)
            else:
                return

    def close(self) -> None:
        """Give up whatever is in flight without waiting for it."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)

    def _produce(
        self, records: list[Record], on_delivery: Delivered | None, watched: str | None, *, ask: bool
    ) -> None:
        """Hand the records to librdkafka; to ``ask`` what became of each takes longer than sending it."""
        produce = self._producer.produce

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None and error.code() in PERMANENT:
                self._refused = error
            if on_delivery is not None and message.topic() == watched:
                on_delivery(error, message)

        def told(record: Record) -> bool:
            return on_delivery is not None and record.topic == watched

        def queued(some: list[Record]) -> int:
            """Queue records until there is no more room; return how many were."""
            count = 0
            with _IN_TURN, suppress(BufferError):
                for record in some:
                    produce(
                        record.topic,
                        record.value,
                        record.key,
                        record.partition,
                        on_delivery=delivered if ask or told(record) else None,
                        headers=list(record.headers) or None,
                    )
                    count += 1
            return count

        done = 0
        while done < len(records):
            count = queued(records[done : done + _A_TURN])
            done += count
            if count < _A_TURN and done < len(records):
                self._producer.poll(0.05)
                self._wait(0.0)
        self._producer.poll(0)

    def _until_settled(self, step: Callable[[float], None]) -> None:
        while True:
            try:
                step(STEP)
            except KafkaException as error:
                kafka_error = error.args[0]
                if kafka_error.txn_requires_abort() or not kafka_error.retriable():
                    raise
                self._wait(0.05)
            else:
                return

    def _wait(self, seconds: float) -> None:
        if not self._keep_trying():
            raise StoppingError(f"partition {self._partition} stopped while it waited for Kafka")
        time.sleep(seconds)

    def _abort(self) -> None:
        try:
            self._until_settled(self._producer.abort_transaction)
        except KafkaException as error:
            raise _translated(error) from error


def _refusal(error: KafkaError) -> OutputRefusedError:
    too_large = error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    remedy = (
        "raise max.message.bytes of the output topics (a dead letter is as large as its event)"
        if too_large
        else "check that the output topics exist and that this worker may write to them"
    )
    return OutputRefusedError(
        f"Kafka refuses an output for good: {error.str()}; {remedy}, then restart the worker.",
        too_large=too_large,
    )


def _translated(error: KafkaException) -> Exception:
    kafka_error = error.args[0]
    if kafka_error.code() in PERMANENT:
        return _refusal(kafka_error)
    fenced = kafka_error.code() in FENCED
    return FencedError(kafka_error.str()) if fenced or kafka_error.fatal() else error
