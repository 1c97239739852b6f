"""Dead letters: counted by reason, looked at, and sent back to their source once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import Message, Producer
from confluent_kafka.cimpl import KafkaException

from schemas.deadletters import dead_letter, dead_letter_topic
from schemas.partitioning import partition_of
from schemas.results import DeadLetter, ReplayedLetter
from schemas.topics import REPLAYED_LETTERS, find_topic
from sinks.reader import read_to_end

TIMEOUT = 30.0
REPLAYED_FROM = "tidewatch.replayed.from"
_BATCH = 1_000

Connection = Mapping[str, str | int]


class LetterError(Exception):
    """A dead letter cannot be sent back as asked."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and when it was written, in milliseconds; ``replayed`` if it was sent back before."""

    letter: DeadLetter
    time: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: of these codes, with these ids; none given: all."""

    codes: frozenset[str] = field(default=frozenset())
    ids: frozenset[str] = field(default=frozenset())

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is wanted."""
        return (not self.codes or letter.code in self.codes) and (not self.ids or letter.id in self.ids)


@dataclass(slots=True)
class Reason:
    """The letters of one topic and code: how many, how many of them sent back, the last one and an example."""

    topic: str
    code: str
    stage: str
    count: int = 0
    replayed: int = 0
    last: int = 0
    example: str = ""


def letters(connection: Connection, source: str, wanted: Wanted, done: frozenset[str]) -> Iterator[Letter]:
    """Give the wanted dead letters of a source topic, each once, in the order of their partitions.

    Raises:
        TopicError: there is no such topic.
    """
    seen: set[str] = set()
    for batch in read_to_end(connection, [dead_letter_topic(source)]):
        for message in batch:
            letter = _read(message)
            if letter.id not in seen and wanted.takes(letter):
                seen.add(letter.id)
                yield Letter(letter, message.timestamp()[1], letter.id in done)


def _read(message: Message) -> DeadLetter:
    found = message.headers()
    return dead_letter(
        list(found.items()) if isinstance(found, dict) else found, message.key(), message.value()
    )


def replayed(connection: Connection) -> frozenset[str]:
    """Return the ids of all dead letters that were ever sent back.

    Raises:
        TopicError: the topic that remembers them is not there.
    """
    return frozenset(
        (message.key() or b"").decode()
        for batch in read_to_end(connection, [REPLAYED_LETTERS])
        for message in batch
    )


def reasons(found: Iterable[Letter], source: str) -> list[Reason]:
    """Count letters by code and stage, the most frequent first."""
    counts: dict[tuple[str, str], Reason] = {}
    for each in found:
        key = each.letter.code, each.letter.stage
        reason = counts.setdefault(key, Reason(source, *key))
        reason.count += 1
        reason.replayed += each.replayed
        if each.time >= reason.last:
            reason.last, reason.example = each.time, each.letter.detail
    return sorted(counts.values(), key=lambda reason: -reason.count)


@dataclass(frozen=True, slots=True)
class Resend:
    """A record to send back: the id of its letter, and what goes where."""

    id: str
    key: bytes | None
    value: bytes
    partition: int
    edited: bool


def plan(found: Sequence[Letter], source: str, partitions: int, edits: Mapping[str, bytes]) -> list[Resend]:
    """Return what to send for letters that were not sent back yet, with edited values in place of their own.

    The partition is that of the key, or where the letter came from if it has none; an edited event is keyed anew.

    Raises:
        LetterError: an edit is of no letter here, is no event of the topic, or a letter is of another topic.
    """
    if unknown := edits.keys() - {each.letter.id for each in found}:
        raise LetterError(f"no dead letter {sorted(unknown)[0]!r} is among the chosen ones of {source}")
    return [_resend(each.letter, source, partitions, edits) for each in found if not each.replayed]


def _resend(letter: DeadLetter, source: str, partitions: int, edits: Mapping[str, bytes]) -> Resend:
    if letter.topic != source:
        raise LetterError(
            f"dead letter {letter.id} came from {letter.topic or 'nowhere known'}, not from {source}"
        )
    edited = letter.id in edits
    if not edited and not letter.value and _private(source):
        raise LetterError(
            f"dead letter {letter.id} holds nothing of its event, which is about a patient; while {source} keeps it, it is at "
            f"offset {letter.offset} of partition {letter.partition}. Correct it at the source and send it anew."
        )
    key = _key(source, letter.id, edits[letter.id]) if edited else letter.key
    value = edits[letter.id] if edited else letter.value or b""
    partition = int(partition_of([key], partitions)[0]) if key else max(letter.partition, 0) % partitions
    return Resend(letter.id, key, value, partition, edited)


def _private(source: str) -> bool:
    try:
        return find_topic(source).private
    except KeyError:
        return False


def _key(source: str, letter_id: str, value: bytes) -> bytes:
    try:
        field_name = find_topic(source).key
    except KeyError as error:
        raise LetterError(
            f"{source} is not in the catalogue, so an edited letter cannot be keyed; send it unedited"
        ) from error
    try:
        event = msgspec.json.decode(value)
        return str(event[field_name]).encode()
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise LetterError(f"the edited value of {letter_id} is no JSON object with a {field_name}") from error


def send_back(
    connection: Connection,
    source: str,
    choose: Callable[[frozenset[str]], Sequence[Resend]],
    clock: Callable[[], float],
) -> int:
    """Send letters back to their source, and remember them; return how many were sent.

    ``choose`` is given the ids of all letters sent back before, and returns what to send. Delivery: effectively once. Each
    letter and the mark that it was sent are written in one transaction, and whoever sends letters at the same time is fenced off
    before the marks are read.

    Raises:
        KafkaException: the cluster refused, or another process took over; what was not marked was not sent.
    """
    producer = Producer(
        {
            "log_level": 2,
            **connection,
            # One for all topics: an open transaction of another would hide marks from those who read committed ones.
            "transactional.id": "tw.dlq",
            "partitioner": "murmur2_random",
            "transaction.timeout.ms": 30_000,
        }
    )
    producer.init_transactions(TIMEOUT)
    chosen = choose(replayed(connection))
    for first in range(0, len(chosen), _BATCH):
        _send(producer, source, chosen[first : first + _BATCH], clock)
    return len(chosen)


def _send(producer: Producer, source: str, chosen: Sequence[Resend], clock: Callable[[], float]) -> None:
    producer.begin_transaction()
    try:
        for each in chosen:
            mark = ReplayedLetter(id=each.id, topic=source, time=int(clock() * 1000), edited=each.edited)
            headers: list[tuple[str, str | bytes | None]] = [(REPLAYED_FROM, each.id.encode())]
            producer.produce(source, each.value, each.key, partition=each.partition, headers=headers)
            producer.produce(REPLAYED_LETTERS, msgspec.json.encode(mark), each.id.encode())
            producer.poll(0)
        producer.commit_transaction(TIMEOUT)
    except KafkaException as error:
        if error.args[0].txn_requires_abort():
            producer.abort_transaction(TIMEOUT)
        raise
