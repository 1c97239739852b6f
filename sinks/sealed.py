"""Archives of topics about patients: each record sealed by its patient's key, beside nothing but where and when it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from schemas.columns import RawBatch
from schemas.topics import TopicSpec
from sinks.patient_keys import PatientKeys
from sinks.tables import TIME

KEY_NAME, SEALED = "key_name", "sealed"
_SCHEMA = pa.schema(
    [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("row", pa.int32()), ("timestamp", TIME),
     (KEY_NAME, pa.string()), (SEALED, pa.binary())]
)  # fmt: skip
_OPENED = pa.schema(
    [*list(_SCHEMA)[:5], pa.field("record_key", pa.binary()), pa.field("record_value", pa.binary())]
)


class _Named(msgspec.Struct):
    """What tells whose a report is."""

    id: str = ""
    source: str = ""
    patient: str = ""


_READ = msgspec.json.Decoder(_Named).decode
_PAIR = msgspec.msgpack.Encoder().encode


def sealer(spec: TopicSpec, keys: PatientKeys) -> Callable[[RawBatch], pa.Table]:
    """Return what makes sealed tables of a topic's records; the key is that of the patient, or of the report without one."""
    whose = _by_key if spec.key == "patient" else _by_report

    def make(batch: RawBatch) -> pa.Table:
        patients = [whose(key, value) for key, value in zip(batch.keys, batch.values, strict=True)]
        keys.make(set(patients))
        sealed = [
            keys.seal(patient, _PAIR([key, value]), context(batch.topic, batch.partition, offset))
            for patient, key, value, offset in zip(
                patients, batch.keys, batch.values, batch.offsets.tolist(), strict=True
            )
        ]
        n = len(sealed)
        columns = [
            pa.array([batch.topic] * n), pa.array(np.full(n, batch.partition, np.int32)), pa.array(batch.offsets),
            pa.array(np.zeros(n, np.int32)),
            pa.array(batch.log_times).cast(TIME), pa.array([name for name, _ in sealed]),
            pa.array([text for _, text in sealed], pa.binary()),
        ]  # fmt: skip
        return pa.table(columns, schema=_SCHEMA)

    return make


def opened(table: pa.Table, file: Path) -> pa.Table:
    """Return a sealed archive with key and value of each record; both are null where the patient's key was deleted.

    Raises SinkError where a record was changed or moved.
    """
    places = zip(*(table.column(name).to_pylist() for name in ("topic", "partition", "offset")), strict=True)
    sealed = [
        (name, text, context(*place))
        for name, text, place in zip(
            table.column(KEY_NAME).to_pylist(), table.column(SEALED).to_pylist(), places, strict=True
        )
    ]
    texts = PatientKeys(file).opened(sealed)
    records: Sequence[Any] = [
        (None, None) if text is None else msgspec.msgpack.decode(text) for text in texts
    ]
    columns = [table.column(name) for name in _SCHEMA.names[:5]]
    columns += [pa.array([record[i] for record in records], pa.binary()) for i in (0, 1)]
    return pa.table(columns, schema=_OPENED)


def context(topic: str, partition: int, offset: int) -> bytes:
    """Return where a record was, to which its seal is bound."""
    return f"{topic}|{partition}|{offset}".encode()


def _by_key(key: bytes | None, value: bytes | None) -> str:
    del value
    return (key or b"").decode("utf-8", "replace")


def _by_report(key: bytes | None, value: bytes | None) -> str:
    del key
    try:
        report = _READ(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""  # whose it is cannot be told; all such records share a key
    return report.patient or f"{report.source}\x1f{report.id}"
