"""Reads the topic of live rules, without a group: every worker sees every change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.rules.base import Declaration
from streams.rules.ruleset import RuleError, Ruleset, check_spec

log = logging.getLogger(__name__)

Specs = dict[str, dict[str, Any]]


class RuleBook:
    """The specs of one pipeline's rules by name, as the topic has them, whatever order they came in.

    A record that is wrong by itself is passed over. What names rules that are not there has no effect until they are: a composite
    may come before its parts.
    """

    def __init__(self, pipeline: str, declared: Sequence[Declaration]) -> None:
        self._newest: Specs = {}
        self._pipeline, self._declared = pipeline, declared

    @property
    def specs(self) -> Specs:
        """The specs that have an effect."""
        chosen: Specs = {}
        refused = {name: RuleError("") for name in sorted(self._newest)}
        tried = len(refused) + 1
        while len(refused) < tried:  # what one needs may come after it
            tried = len(refused)
            for name in list(refused):
                try:
                    Ruleset.of(self._declared, chosen | {name: self._newest[name]})
                except RuleError as error:
                    refused[name] = error
                else:
                    chosen[name] = self._newest[name]
                    del refused[name]
        for name, why in refused.items():
            log.warning("rule %r of %s has no effect: %s", name, self._pipeline, why)
        return chosen

    @property
    def text(self) -> str:
        """The specs in JSON, the same text for the same specs."""
        return msgspec.json.encode(self.specs, order="deterministic").decode()

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Take a record of the topic and say whether it changed anything; the key is ``pipeline/rule``."""
        pipeline, _, name = (key or b"").decode("utf-8", "replace").partition("/")
        if pipeline != self._pipeline:
            return False
        try:
            spec = None if value is None else _spec(name, value)
        except RuleError as error:
            log.error("rule %r of %s is left as it was: %s", name, pipeline, error)
            return False
        was = self._newest.pop(name, None)
        if spec is not None:
            self._newest[name] = spec
        return was != spec


class RulesFeed(threading.Thread):
    """Tell ``on_change(pipeline, text)`` what the rules on top of the declared ones are, now and whenever they change.

    Changes are told together where the topic ends, lest those that were applied together take effect one by one.

    Delivery: every change is told at least once and the newest last. ``caught_up`` is set once the topic was read to its end.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        topic: str,
        books: Mapping[str, RuleBook],
        on_change: Callable[[str, str], None],
    ) -> None:
        super().__init__(name="tw-rules", daemon=True)
        self.caught_up = threading.Event()
        self._connection, self._topic, self._books, self._on_change = connection, topic, books, on_change
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def run(self) -> None:
        """Read until stopped."""
        consumer = reader(self._connection)
        try:
            waiting, changed = assign_all(consumer, self._topic), set(self._books)
            while not self._stopping.is_set():
                for message in consumer.consume(1_000, 0.2):
                    error, partition = message.error(), int(message.partition() or 0)
                    if error is None:
                        changed |= self._take(message)
                        waiting.add(partition)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        waiting.discard(partition)
                if waiting:
                    continue
                for pipeline in sorted(changed):
                    self._on_change(pipeline, self._books[pipeline].text)
                changed.clear()
                self.caught_up.set()
        except KafkaException as error:
            log.error("live rules cannot be read from %s: %s", self._topic, error)
        finally:
            self.caught_up.set()
            consumer.close()

    def _take(self, message: Message) -> set[str]:
        return {name for name, book in self._books.items() if book.take(message.key(), message.value())}


def reader(connection: Mapping[str, str | int]) -> Consumer:
    """Return a consumer that reads committed records to the end of each partition and says so."""
    return Consumer(
        {
            "log_level": 3,
            **connection,
            "group.id": "tidewatch-rules",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )


def assign_all(consumer: Consumer, topic: str) -> set[int]:
    """Read all partitions of a topic from their beginning, and return their numbers."""
    found = consumer.list_topics(topic, timeout=30).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in found.partitions])
    return set(found.partitions)


def _spec(name: str, value: bytes) -> dict[str, Any]:
    try:
        spec = msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise RuleError(f"not a JSON object: {error}") from error
    if spec.get("name") != name:
        raise RuleError(f"its key names {name!r}, its value {spec.get('name')!r}")
    check_spec(spec)
    return spec
