"""Stock Faust at its cheapest: a plain agent that adds to a dict, nothing kept anywhere: BOOTSTRAP SOURCE RESULTS RECORDS NAME.

Its windowed tables close by the wall clock and lose windows, so the windows here are a dict of the program's own.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust
import orjson
from confluent_kafka import Producer

BOOTSTRAP, SOURCE, RESULTS, RECORDS, NAME = sys.argv[1:6]
WINDOW = 10_000

app = faust.App(
    NAME,
    broker=f"kafka://{BOOTSTRAP}",
    store="memory://",
    web_enabled=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    datadir=tempfile.mkdtemp(),
)
app.conf.web_enabled = False
source = app.topic(SOURCE, value_serializer="raw", key_serializer="raw")
windows: dict[tuple[str, int], list[float]] = {}


def publish() -> None:
    """Write all windows."""
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for (sensor, start), (count, total, low, high) in windows.items():
        result = {
            "sensor": sensor,
            "start": start,
            "count": int(count),
            "mean": total / count,
            "min": low,
            "max": high,
        }
        producer.produce(RESULTS, orjson.dumps(result))
    producer.flush(60)


@app.agent(source)
async def count(stream: Any) -> None:
    """Add each event to its window; publish when all records have come."""
    seen, expected = 0, int(RECORDS)
    async for value in stream:
        event = orjson.loads(value)
        key = event["sensor_id"], event["time"] // WINDOW * WINDOW
        number = event["value"]
        window = windows.get(key)
        if window is None:
            windows[key] = [1, number, number, number]
        else:
            window[0] += 1
            window[1] += number
            window[2] = min(window[2], number)
            window[3] = max(window[3], number)
        seen += 1
        if seen == expected:
            publish()


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--without-web", "-l", "warn"]
    app.main()
