"""The same windows on Bytewax, one worker, nothing kept anywhere, run in its own environment: BOOTSTRAP SOURCE RESULTS.

Time is the events' own: what the wall clock says does not close windows. A key's last window is closed by the topic's end.
"""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.run import cli_main

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW = 10_000
BATCH = 10_000

Sums = tuple[int, float, float, float]


def flow(bootstrap: str, source: str, results: str) -> Dataflow:
    """Return the dataflow from the topic of readings to that of results."""
    dataflow = Dataflow("bench")
    topic = KafkaSource([bootstrap], [source], tail=False, batch_size=BATCH)
    readings = op.map("decode", op.input("in", dataflow, topic), _decode)
    windows = fold_window(
        "windows",
        op.key_on("key", readings, lambda reading: reading["sensor_id"]),
        EventClock(_time, timedelta(seconds=2), now_getter=lambda: EPOCH, to_system_utc=lambda _: None),
        TumblingWindower(timedelta(milliseconds=WINDOW), EPOCH),
        lambda: (0, 0.0, float("inf"), float("-inf")),
        _add,
        _merge,
        ordered=False,
    )
    kafka.output("out", op.map("encode", windows.down, _encode), brokers=[bootstrap], topic=results)
    return dataflow


def _decode(message: KafkaSourceMessage[bytes, bytes]) -> dict[str, Any]:
    reading: dict[str, Any] = orjson.loads(message.value)
    return reading


def _time(reading: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(reading["time"] / 1000, UTC)


def _add(sums: Sums, reading: dict[str, Any]) -> Sums:
    count, total, low, high = sums
    value = reading["value"]
    return count + 1, total + value, value if value < low else low, value if value > high else high


def _merge(one: Sums, other: Sums) -> Sums:
    return one[0] + other[0], one[1] + other[1], min(one[2], other[2]), max(one[3], other[3])


def _encode(window: tuple[str, tuple[int, Sums]]) -> KafkaSinkMessage[bytes, bytes]:
    sensor, (number, (count, total, low, high)) = window
    result = {
        "sensor": sensor, "start": number * WINDOW, "count": count, "mean": total / count, "min": low, "max": high,
    }  # fmt: skip
    return KafkaSinkMessage(sensor.encode(), orjson.dumps(result))


if __name__ == "__main__":
    cli_main(flow(*sys.argv[1:4]))
    signal.pause()  # until told to stop, as all others run, so that what this process used can still be read
