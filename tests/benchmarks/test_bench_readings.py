"""Record batches of readings are what Kafka's clients read, with checksum, offsets, keys and times as they should be."""

from __future__ import annotations

import msgspec
import numpy as np
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.readings import NAME_SIZE, Readings, record_batches
from schemas.event_types import SENSOR_READING

START = 1_750_000_000_000


def readings(n: int, partitions: int, milliseconds: int) -> Readings:
    rng = np.random.default_rng(n)
    letters = rng.integers(ord("a"), ord("z") + 1, (n, NAME_SIZE)).astype(np.uint8)
    times = START + np.sort(rng.integers(0, milliseconds, n))
    return Readings(letters, rng.random(n) < 0.1, times, rng.integers(0, partitions, n).astype(np.int8))


@settings(max_examples=25)
@given(st.integers(1, 3_000), st.integers(1, 4), st.integers(1, 40))
@example(64, 1, 1)
@example(65, 1, 1)
@example(8_192, 1, 9)
def test_a_client_reads_what_was_meant(n: int, partitions: int, milliseconds: int) -> None:
    meant = readings(n, partitions, milliseconds)
    batches = record_batches(meant)
    assert set(batches) == set(meant.partitions.tolist())
    for partition, data in batches.items():
        batch = MemoryRecords(data).next_batch()
        assert batch.validate_crc()
        rows = np.flatnonzero(meant.partitions == partition)
        for place, (row, record) in enumerate(zip(rows.tolist(), batch, strict=True)):
            event = msgspec.json.decode(record.value, type=SENSOR_READING.struct)
            assert record.offset == place
            assert record.key == event.sensor_id.encode() == meant.names[row].tobytes()
            assert event.value == (99.0 if meant.high[row] else 20.0)
            assert event.time == meant.times[row]
