"""What a recut copies: the rows from the cut on, partitions merged so that none runs ahead of the others."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from schemas.ranges import RangeTable
from tidewatch.recut import merged

START = 1_750_000_000_000
TABLE = RangeTable("new", "old", START + 50, ("m",))


def batches(partition: int, times: list[int], cut: int) -> list[RawBatch]:
    values = [
        json.dumps(
            {
                "sensor_id": "s",
                "site": "x",
                "quantity": "temperature",
                "unit": "degC",
                "value": 1.0,
                "time": START + t,
            }
        ).encode()
        for t in times
    ]
    values.insert(cut, b"no json")
    n = len(values)
    offsets, now = 3 * np.arange(n, dtype=np.int64), np.full(n, START + 10**6, np.int64)
    whole = [(0, cut), (cut, n)]
    return [
        RawBatch("old", partition, 3 * a, 3 * b, offsets[a:b], now[a:b], [b"k"] * (b - a), values[a:b])
        for a, b in whole
        if b > a
    ]


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.lists(st.integers(0, 100), max_size=12), min_size=1, max_size=3), data=st.data())
def test_rows_from_the_cut_on_are_copied_in_order_and_no_partition_runs_ahead(
    parts: list[list[int]], data: st.DataObject
) -> None:
    fed = [batches(n, times, data.draw(st.integers(0, len(times)))) for n, times in enumerate(parts)]
    found = list(merged(TABLE, fed, SENSOR_READING))
    assert [record.newest for record in found] == sorted(record.newest for record in found)
    for number, times in enumerate(parts):
        mine = [record for record in found if record.partition == number]
        assert [record.next for record in mine] == [3 * i + 1 for i in range(len(times) + 1)]
        copied = [json.loads(value)["time"] - START for record in mine for _, value in record.rows]
        assert copied == [time for time in times if time >= 50]
