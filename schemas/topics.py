"""The topic catalogue: every topic, what is on it, how it is partitioned and how long it is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

import msgspec

from schemas.canary import Canary, CanarySeen
from schemas.contributions import Contribution
from schemas.deadletters import dead_letter_topic
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING, EventType
from schemas.results import Alert, ReplayedLetter, WindowSummary
from schemas.safety import DISPOSITIONS, Disposition, SafetyReport, SignalChange, SignalState
from schemas.shapes import Barycenter, ShapeForecast, SiteShape

Partitioner = Literal["murmur2", "source"]
Cleanup = Literal["delete", "compact"]
Role = Literal["source", "result", "dead", "late", "checkpoint", "rules", "control"]

FOREVER: Final = None
_LARGE: Final = 2 * 1_048_576


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be.

    ``key`` names the field whose UTF-8 bytes are the record key. ``partitioner`` is ``murmur2`` of the key,
    as Java producers do, or ``source``: the partition of the events that caused the record. ``retention``
    None means for ever. ``max_bytes`` None leaves the broker's limit on a record. ``private`` topics are about patients: their
    dead letters hold no payload, and they are archived only sealed.
    """

    name: str
    role: Role
    value: EventType | type[msgspec.Struct] | None
    key: str
    partitioner: Partitioner
    retention: timedelta | None
    cleanup: Cleanup = "delete"
    partitions: int = 4
    max_bytes: int | None = None
    private: bool = False

    @property
    def config(self) -> dict[str, str]:
        """The topic settings to apply.

        LogAppendTime, lest replayed history be deleted for the age of its event times.
        """
        retention = -1 if self.retention is None else self.retention // timedelta(milliseconds=1)
        settings = {
            "cleanup.policy": self.cleanup,
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(retention),
        }
        if self.max_bytes is not None:
            settings["max.message.bytes"] = str(self.max_bytes)
        return settings

    @property
    def derived(self) -> tuple[TopicSpec, ...]:
        """The topics for dead and late letters of a source, kept as long as it; none for other topics.

        They take records larger than the source's limit, since a letter is its event with more headers.
        """
        if self.role != "source":
            return ()
        letters = replace(self, partitioner="source", max_bytes=_LARGE)
        return (
            replace(letters, name=dead_letter_topic(self.name), role="dead"),
            replace(letters, name=late_topic(self.name), role="late"),
        )

    def with_partitions(self, partitions: int) -> TopicSpec:
        """Return the same topic with another number of partitions; one that is declared with a single one keeps it."""
        return self if self.partitions == 1 else replace(self, partitions=partitions)


REPLAYED_LETTERS: Final = "tidewatch.letter.replayed.v1"
PROBES: Final = "tidewatch.probe.sent.v1"
RANGES: Final = "tidewatch.topic.range.v1"
CANARIES: Final = "tidewatch.canary.sent.v1"
CANARIES_SEEN: Final = "tidewatch.canary.seen.v1"


def late_topic(topic: str) -> str:
    """Return the topic that takes the late events of ``topic``."""
    return f"{topic}.late"


def checkpoint_topic(app: str) -> str:
    """Return the topic that holds the checkpoints of an app."""
    return f"tw.{app}.checkpoint"


def checkpoint_spec(app: str, partitions: int) -> TopicSpec:
    """Return an app's checkpoint topic, one partition for each of its source; the app itself deletes old records."""
    name = checkpoint_topic(app)
    return TopicSpec(name, "checkpoint", None, "block", "source", FOREVER, partitions=partitions)


def _days(days: int) -> timedelta:
    return timedelta(days=days)


RULES_TOPIC: Final = "tidewatch.rule.change.v1"

# name, role, what a record holds, key, partitioner, retention
CATALOGUE: Final[tuple[TopicSpec, ...]] = (
    TopicSpec("iot.sensor.reading.v1", "source", SENSOR_READING, "sensor_id", "murmur2", _days(7)),
    # Apart from the city's sensors, since one partition has one event time: a year of weather is not today's air.
    TopicSpec("iot.weather.reading.v1", "source", SENSOR_READING, "sensor_id", "murmur2", _days(7)),
    TopicSpec("iot.sensor.window.v1", "result", WindowSummary, "group", "source", _days(30)),
    # Partial windows on their way to roll-ups, and the roll-ups.
    TopicSpec("iot.sensor.partial.v1", "source", Contribution, "group", "murmur2", _days(1)),
    TopicSpec("iot.sensor.rollup.v1", "result", WindowSummary, "group", "source", _days(30)),
    # Rules that change while pipelines run, newest by pipeline/rule, in JSON as `tidewatch rules apply` writes them.
    TopicSpec(RULES_TOPIC, "rules", None, "rule", "murmur2", FOREVER, "compact"),
    TopicSpec("iot.sensor.alert.v1", "result", Alert, "group", "source", _days(90)),
    # Distributions of sites as quantile vectors.
    TopicSpec("shape.site.v1", "result", SiteShape, "family/site", "source", _days(30)),
    TopicSpec("shape.barycenter.v1", "result", Barycenter, "family", "source", _days(30)),
    TopicSpec("shape.forecast.v1", "result", ShapeForecast, "family/site", "source", _days(30)),
    TopicSpec("shape.alert.v1", "result", Alert, "family/site", "source", _days(90)),
    # Window summaries that came too late for their shape, and those that it cannot read.
    TopicSpec("shape.late.v1", "late", WindowSummary, "group", "source", _days(30)),
    TopicSpec("shape.dlq.v1", "dead", None, "group", "source", _days(30), max_bytes=_LARGE),
    # Events about patients are kept no longer than their processing needs.
    TopicSpec(
        "hospital.patient.event.v1", "source", HOSPITAL_EVENT, "patient", "murmur2", _days(3), private=True
    ),
    # Written by pseudonym alone. Reports derived from it go to the partition of their population, where all of its counts are.
    TopicSpec("hospital.fhir.resource.v1", "source", None, "patient", "murmur2", _days(3), private=True),
    TopicSpec(
        "pharma.report.received.v1", "source", SafetyReport, "population", "murmur2", _days(3), private=True
    ),
    # Time at risk and cases of patients for monitored pairs, and how far each partition of patients is.
    TopicSpec("pharma.followup.changed.v1", "source", None, "population", "murmur2", _days(3)),
    TopicSpec("pharma.signal.state.v1", "result", SignalState, "id", "source", FOREVER, "compact"),
    TopicSpec("pharma.signal.raised.v1", "result", SignalChange, "signal_id", "source", FOREVER),
    # What analysts make of pairs, written by people.
    TopicSpec(DISPOSITIONS, "control", Disposition, "id", "murmur2", FOREVER, "compact"),
    # The range table of a topic by its name, and how far its partitions were copied, by topic/partition.
    TopicSpec(RANGES, "control", None, "topic", "murmur2", FOREVER, "compact"),
    # What keeps a dead letter from being sent twice, and what tells how far a broker's clock is off.
    TopicSpec(REPLAYED_LETTERS, "control", ReplayedLetter, "id", "murmur2", FOREVER, "compact"),
    TopicSpec(PROBES, "control", None, "id", "murmur2", timedelta(hours=1)),
    # What the monitor sends through every partition of every app, and what came out at the other end.
    TopicSpec(CANARIES, "control", Canary, "partition", "source", timedelta(hours=1)),
    TopicSpec(CANARIES_SEEN, "control", CanarySeen, "app/partition", "source", timedelta(hours=1)),
)


def all_topics(catalogue: Sequence[TopicSpec] = CATALOGUE) -> tuple[TopicSpec, ...]:
    """Return the catalogue with the derived topics after their sources."""
    return tuple(topic for spec in catalogue for topic in (spec, *spec.derived))


def result_topics(catalogue: Sequence[TopicSpec] = CATALOGUE) -> tuple[TopicSpec, ...]:
    """Return the topics that processors publish results and alerts to."""
    return tuple(spec for spec in catalogue if spec.role == "result")


def find_topic(name: str) -> TopicSpec:
    """Return the catalogue's topic of this name, derived ones included.

    Raises KeyError, naming the known topics, if there is none.
    """
    known = {spec.name: spec for spec in all_topics()}
    if name not in known:
        raise KeyError(f"no topic {name!r} in the catalogue, which has {', '.join(known)}")
    return known[name]


def event_type_of(name: str) -> EventType:
    """Return the event type on a source topic.

    Raises KeyError if the topic is not in the catalogue, TypeError if it holds no events.
    """
    value = find_topic(name).value
    if not isinstance(value, EventType):
        raise TypeError(f"topic {name!r} holds no events that the codec reads")
    return value


def to_json() -> str:
    """Return all topics with their partitions and settings as JSON, for tools that make topics themselves."""
    facts = [
        {"name": topic.name, "partitions": topic.partitions, "config": topic.config} for topic in all_topics()
    ]
    return msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(to_json())
