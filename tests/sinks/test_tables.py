"""Arrow tables of events and results: every record is in them, and can be had back as it was."""

from __future__ import annotations

import io
import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import ARROW
from schemas.columns import RawBatch
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING, EventType
from schemas.results import Alert, WindowSummary
from schemas.topics import CATALOGUE, TopicSpec
from sinks.tables import TIMES, event_schema, event_table, raw_batch_of, result_schema, result_table
from tests.schemas.batches import T0, arrow_readings, raw_batch, reading, reading_json
from tests.sinks.results import alert, summary

GOOD = reading_json()
ROWS = arrow_readings([reading(sensor_id="a"), reading(unit="furlong"), reading(sensor_id="b")])
RECORDS: list[tuple[bytes | None, str | None]] = [
    (GOOD, None), (reading_json(value="x"), None), (None, None), (b"", None), (b"{", "application/json"),
    (ROWS, ARROW), (b"junk", ARROW), (b"<x/>", "text/xml"), (reading_json(unit="degF", value=212.0), None),
]  # fmt: skip


def stored(table: pa.Table) -> pa.Table:
    """Return the table as it comes back from a file."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return pq.read_table(file)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(RECORDS), min_size=1, max_size=12))
def test_records_come_back_byte_for_byte(records: list[tuple[bytes | None, str | None]]) -> None:
    types = [kind for _, kind in records]
    batch = raw_batch([value for value, _ in records], types if any(types) else None)
    table = stored(event_table(batch, SENSOR_READING))
    back = raw_batch_of(table, batch.start)
    assert (back.topic, back.partition, back.start) == (batch.topic, batch.partition, batch.start)
    np.testing.assert_array_equal(back.offsets, batch.offsets)
    np.testing.assert_array_equal(back.log_times, batch.log_times)
    assert (back.keys, back.values, back.content_types) == (batch.keys, batch.values, batch.content_types)
    again = event_table(back, SENSOR_READING)
    assert again.to_pylist() == table.to_pylist()


def test_each_row_has_its_place_its_fields_or_its_error() -> None:
    batch = raw_batch([value for value, _ in RECORDS], [kind for _, kind in RECORDS])
    rows = event_table(batch, SENSOR_READING).to_pylist()
    assert [(row["offset"], row["row"], row["error"]) for row in rows] == [
        (100, 0, None), (102, 0, "wrong_type"), (104, 0, "empty"), (106, 0, "empty"), (108, 0, "malformed"),
        (110, 0, None), (110, 1, "unknown_unit"), (110, 2, None), (112, 0, "malformed"), (114, 0, "unknown_content_type"),
        (116, 0, None),
    ]  # fmt: skip
    assert [row["sensor_id"] for row in rows if row["error"] is None] == ["s-1", "a", "b", "s-1"]
    assert (rows[-1]["value"], rows[-1]["unit"]) == (pytest.approx(100.0), "degC")
    assert rows[0]["time"].timestamp() * 1000 == T0
    assert rows[0]["timestamp"].timestamp() * 1000 == T0 + 60_000
    assert [row["record_value"] is not None for row in rows[5:8]] == [True, False, False]


def test_absent_optional_fields_are_null() -> None:
    event = {
        "id": "1",
        "source": "h",
        "kind": "condition",
        "patient": "p",
        "code": "I10",
        "system": "icd",
        "time": T0,
    }
    value = [json.dumps(event).encode(), json.dumps(event | {"end": T0 + 5}).encode()]
    rows = event_table(raw_batch(value), HOSPITAL_EVENT).to_pylist()
    assert [row["error"] for row in rows] == [None, None]
    assert rows[0]["end"] is None
    assert rows[1]["end"].timestamp() * 1000 == T0 + 5
    assert event_schema(HOSPITAL_EVENT).names[9:] == list(HOSPITAL_EVENT.struct.__struct_fields__)


@pytest.mark.parametrize(
    "topic", [spec for spec in CATALOGUE if spec.value is not None], ids=lambda spec: spec.name
)
def test_whatever_the_catalogue_holds_has_a_schema(topic: TopicSpec) -> None:
    if isinstance(topic.value, EventType):
        assert set(topic.value.struct.__struct_fields__) <= set(event_schema(topic.value).names)
    elif topic.value is not None:
        assert set(topic.value.__struct_fields__) <= set(result_schema(topic.value).names)


def result_batch(values: list[bytes]) -> RawBatch:
    return raw_batch(values)


@pytest.mark.parametrize(("struct", "results"), [(Alert, [alert(1), alert(2, 1, value=None)]),
                                                 (WindowSummary, [summary(1), summary(2, 1)])])  # fmt: skip
def test_results_keep_every_field(struct: type[msgspec.Struct], results: list[msgspec.Struct]) -> None:
    batch = result_batch([*map(msgspec.json.encode, results), b"{"])
    table = stored(result_table(batch, msgspec.json.Decoder(struct), struct))
    assert table.schema.equals(result_schema(struct))
    rows = table.to_pylist(maps_as_pydicts="strict")
    for row, result in zip(rows, results, strict=False):
        for name, value in msgspec.structs.asdict(result).items():
            if name in TIMES:
                assert row[name].timestamp() * 1000 == value
            elif name in {"evidence", "extras"}:
                assert json.loads(row[name]) == value
            else:
                assert row[name] == value
    assert (rows[-1]["record_error"], rows[-1]["record_value"], rows[-1]["id"]) == ("malformed", b"{", None)
    assert rows[0]["record_value"] is None
