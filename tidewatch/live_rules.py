"""Live rules as the command line sees them: what the topic has, what a file would change, how often rules hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.results import Alert
from schemas.topics import RULES_TOPIC
from sinks.reader import read_to_end
from streams.pipeline import Pipeline
from streams.rules.ruleset import Ruleset
from streams.rules_feed import RuleBook, Specs

Action = Literal["add", "change", "remove", "keep"]


@dataclass(slots=True)
class Hits:
    """How often a rule's alerts opened, how many are open, how many openings were muted, and when it last opened (ms)."""

    opened: int = 0
    open_now: int = 0
    muted: int = 0
    last: int | None = None


def current_specs(connection: Mapping[str, str | int], pipeline: Pipeline) -> Specs:
    """Return the specs on the topic of live rules that workers of a pipeline follow now.

    Raises:
        TopicError: the topic is not there.
    """
    book = RuleBook(pipeline.name, pipeline.rules)
    for messages in read_to_end(connection, [RULES_TOPIC]):
        for message in messages:
            book.take(message.key(), message.value())
    return book.specs


def plan(current: Specs, wanted: Specs, *, prune: bool) -> dict[str, Action]:
    """Return what applying ``wanted`` does to each rule; rules that it does not name go only with ``prune``."""
    actions: dict[str, Action] = {}
    for name in sorted(current.keys() | wanted.keys()):
        if name not in wanted:
            actions[name] = "remove" if prune else "keep"
        elif name not in current:
            actions[name] = "add"
        else:
            actions[name] = "keep" if current[name] == wanted[name] else "change"
    return actions


def publish(
    connection: Mapping[str, str | int], pipeline: str, wanted: Specs, actions: Mapping[str, Action]
) -> None:
    """Write the changes to the topic, idempotently and with all acknowledgements.

    Raises:
        KafkaException: a change was not taken; applying again is safe.
    """
    producer = Producer(
        {"log_level": 3, **connection, "enable.idempotence": True, "partitioner": "murmur2_random"}
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    for name, action in actions.items():
        if action != "keep":
            value = None if action == "remove" else msgspec.json.encode(wanted[name])
            producer.produce(RULES_TOPIC, value, f"{pipeline}/{name}", on_delivery=delivered)
    if producer.flush(30):
        raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))
    if failures:
        raise KafkaException(failures[0])


def hits(connection: Mapping[str, str | int], pipeline: Pipeline) -> dict[str, Hits]:
    """Count the alerts of each rule of a pipeline on its topic of alerts, each transition once."""
    decoder = msgspec.json.Decoder(Alert)
    found: dict[str, Hits] = {}
    seen: set[str] = set()
    for messages in read_to_end(connection, [pipeline.alerts]):
        for message in messages:
            alert = decoder.decode(message.value() or b"")
            if alert.pipeline == pipeline.name and alert.id not in seen:
                seen.add(alert.id)
                _count(found.setdefault(alert.rule, Hits()), alert)
    return found


def _count(rule: Hits, alert: Alert) -> None:
    if alert.state == "open":
        rule.opened += 1
        rule.open_now += 1
        rule.muted += alert.muted_by is not None
        rule.last = max(rule.last or alert.time, alert.time)
    elif alert.state == "close":
        rule.open_now -= 1


def listed(pipeline: Pipeline, specs: Specs, counted: Mapping[str, Hits]) -> list[dict[str, Any]]:
    """Return one row for each rule that is in force, was switched off or has ever hit, and each mute."""
    ruleset = Ruleset.of(pipeline.rules, specs)
    declared = {rule.name for rule in pipeline.rules}
    rows: list[dict[str, Any]] = []
    for scoped in ruleset.rules:
        rule = scoped.declaration
        state = "declared" if rule.name not in specs else "replaced" if rule.name in declared else "live"
        rows.append(_row(rule.name, rule.kind, state, dict(scoped.where), counted.get(rule.name)))
    rows += [_row(mute.name, "mute", "live", mute.where, None) for mute in ruleset.mutes]
    there = {row["name"] for row in rows}
    for name in sorted((declared | specs.keys()) - there):
        rows.append(_row(name, "", "off", {}, counted.get(name)))
    for name in sorted(counted.keys() - there - declared - specs.keys()):
        rows.append(_row(name, "", "gone", {}, counted[name]))
    return rows


def _row(name: str, kind: str, state: str, where: dict[str, str], counted: Hits | None) -> dict[str, Any]:
    counts = counted or Hits()
    return {
        "name": name, "kind": kind, "state": state, "where": where, "opened": counts.opened,
        "open_now": counts.open_now, "muted": counts.muted, "last_opened_ms": counts.last,
    }  # fmt: skip
