"""Raw batches and valid events for the tests of the codec."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.codec import ARROW
from schemas.columns import RawBatch

T0 = 1_700_000_000_000


def raw_batch(
    values: Sequence[bytes | None],
    content_types: Sequence[str | None] | None = None,
    *,
    log_time: int = T0 + 60_000,
    partition: int = 0,
) -> RawBatch:
    """Return a batch at offsets 100, 102, 104 and so on, its records keyed k0, k1, ..."""
    n = len(values)
    return RawBatch(
        "iot.sensor.reading.v1",
        partition,
        100,
        100 + 2 * n,
        100 + 2 * np.arange(n),
        np.full(n, log_time, np.int64),
        [b"k%d" % i for i in range(n)],
        list(values),
        content_types,
    )


def reading(**changes: Any) -> dict[str, Any]:
    """Return a valid reading with some fields changed; ``...`` removes one."""
    event = {
        "sensor_id": "s-1",
        "site": "kew",
        "quantity": "temperature",
        "unit": "degC",
        "value": 21.5,
        "time": T0,
    } | changes
    return {name: value for name, value in event.items() if value is not ...}


def reading_json(**changes: Any) -> bytes:
    """Return a reading as JSON."""
    return json.dumps(reading(**changes)).encode()


def arrow_stream(data: Any, compression: str | None = None) -> bytes:
    """Return a table, or the columns of one, as an Arrow IPC stream."""
    table = data if isinstance(data, pa.Table) else pa.table(data)
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_readings(rows: Sequence[dict[str, Any]], **columns: Any) -> bytes:
    """Return readings as an Arrow IPC stream, with some columns replaced."""
    return arrow_stream({name: [row[name] for row in rows] for name in rows[0]} | columns)


def arrow_batch(*values: bytes, partition: int = 0) -> RawBatch:
    """Return a batch whose records are all Arrow streams."""
    return raw_batch(values, [ARROW] * len(values), partition=partition)
