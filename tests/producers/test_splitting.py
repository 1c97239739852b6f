"""Splitting: every row is on the partition of its key, once, in order, and reads back as what it was."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.splitting import Part, split
from schemas.codec import ARROW, decode
from schemas.columns import Columns, RawBatch
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from schemas.partitioning import partition_of
from tests.schemas.batches import T0, raw_batch, reading

LARGE = 900_000


def columns_of(events: list[dict[str, Any]]) -> Columns:
    return decode(raw_batch([json.dumps(event).encode() for event in events]), SENSOR_READING)


def read_back(part: Part, partitions: int) -> Columns:
    one = np.array([T0], np.int64)
    batch = RawBatch("t", part.partition, 0, 1, np.zeros(1, np.int64), one, [None], [part.value], [ARROW])
    return decode(batch, SENSOR_READING, partitions=partitions)


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    return [json.loads(columns.raw(i)[1]) for i in range(len(columns))]


events_strategy = st.lists(
    st.builds(
        reading,
        sensor_id=st.sampled_from(["a", "b", "sensor-17", "é", "x" * 60]),
        site=st.sampled_from(["kew", "ham"]),
        value=st.floats(-60, 60).map(lambda value: round(value, 3)),
        time=st.integers(T0, T0 + 10_000),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(events=events_strategy, partitions=st.integers(1, 7), max_bytes=st.sampled_from([2_500, 6_000, LARGE]))
def test_rows_are_split_by_the_partition_of_their_key(
    events: list[dict[str, Any]], partitions: int, max_bytes: int
) -> None:
    parts = list(split(columns_of(events), SENSOR_READING, partitions, max_bytes))
    assert all(len(part.value) <= max_bytes for part in parts)
    found: dict[int, list[dict[str, Any]]] = {}
    for part in parts:
        columns = read_back(part, partitions)
        assert columns.rejected == ()
        assert len(columns) == part.rows
        found.setdefault(part.partition, []).extend(rows_of(columns))
    home = partition_of([event["sensor_id"].encode() for event in events], partitions)
    assert found == {
        p: [event for event, at in zip(events, home.tolist(), strict=True) if at == p]
        for p in sorted(set(home.tolist()))
    }


def test_a_row_that_fits_in_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        list(split(columns_of([reading()]), SENSOR_READING, 1, 100))


def test_dictionaries_hold_what_the_part_has_and_no_more() -> None:
    events = [reading(sensor_id=f"s-{i}", site=f"site-{i}") for i in range(1_000)]
    parts = list(split(columns_of(events), SENSOR_READING, 4, LARGE))
    together = sum(len(part.value) for part in parts)
    assert max(len(part.value) for part in parts) < 0.3 * together


def test_optional_fields_survive() -> None:
    base = {
        "source": "m", "kind": "condition", "patient": "p", "code": "L50", "system": "ICD-10", "time": T0,
    }  # fmt: skip
    sent = [
        base | {"id": "e1", "end": T0 + 5},
        base | {"id": "e2", "version": "2019"},
    ]
    before = decode(raw_batch([json.dumps(event).encode() for event in sent]), HOSPITAL_EVENT)
    (part,) = split(before, HOSPITAL_EVENT, 1, LARGE)
    batch = RawBatch(
        "t", 0, 0, 1, np.zeros(1, np.int64), np.full(1, T0, np.int64), [None], [part.value], [ARROW]
    )
    after = decode(batch, HOSPITAL_EVENT)
    assert after.rejected == ()
    for name in HOSPITAL_EVENT.labels:
        assert [after.labels[name].values[c] for c in after.labels[name].codes] == [
            before.labels[name].values[c] for c in before.labels[name].codes
        ]
    np.testing.assert_array_equal(after.numbers["end"], before.numbers["end"])
    np.testing.assert_array_equal(after.numbers["recorded"], before.numbers["recorded"])
