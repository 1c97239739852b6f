"""How the records of each topic become an archive's table."""

from __future__ import annotations

from functools import partial

import msgspec
import pyarrow as pa

from schemas.columns import RawBatch
from schemas.event_types import EventType
from schemas.topics import all_topics, find_topic
from sinks.archiver import Maker
from sinks.errors import TopicError
from sinks.patient_keys import PatientKeys
from sinks.sealed import sealer
from sinks.tables import event_table, result_table


def maker(topic: str, *, like: str | None = None, partitions: int | None = None) -> Maker:
    """Return what makes tables of a topic's records: events of sources and late letters, or results.

    ``like`` names the catalogue's topic of the same kind, for topics that are not in the catalogue.

    Raises:
        TopicError: nobody knows what the topic holds, or it holds dead letters, whose headers a table would lose.
    """
    try:
        spec = find_topic(like or topic)
    except KeyError as error:
        raise TopicError(f"{error.args[0]}; say with --like which of them it is like") from error
    if isinstance(spec.value, EventType) and spec.role != "dead":
        return partial(event_table, event=spec.value, partitions=partitions)
    if isinstance(spec.value, type):
        return _results(spec.value)
    raise TopicError(f"topic {topic!r} holds dead letters or state: look at them with `tidewatch dlq`")


def archive_maker(topic: str, *, like: str | None = None, keys: PatientKeys | None = None) -> Maker:
    """Return what makes the tables of a topic's archive: sealed by the keys of patients where the topic is about them.

    Raises:
        TopicError: it is about patients and there are no keys, or as ``maker`` says.
    """
    spec = next((spec for spec in all_topics() if spec.name == (like or topic)), None)
    if spec is None or not spec.private or spec.role == "dead":
        return maker(topic, like=like)
    if keys is None:
        raise TopicError(
            f"topic {topic!r} is about patients: name a file for their keys with --keys, to archive it sealed"
        )
    return sealer(spec, keys)


def _results(struct: type[msgspec.Struct]) -> Maker:
    decoder: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(struct)

    def make(batch: RawBatch) -> pa.Table:
        return result_table(batch, decoder, struct)

    return make
