"""The same windows on Pathway, one worker, nothing kept anywhere, run in its own environment: BOOTSTRAP SOURCE RESULTS NAME.

What the topic holds is read to its end in one step, then all windows are sent, each once. In its streaming mode windows close by
one clock, that of the furthest event of all partitions; where partitions are read at full speed, one that is ahead makes the
others' events late, and they are dropped.
"""

from __future__ import annotations

import signal
import sys

import pathway as pw

WINDOW = 10_000


class Reading(pw.Schema):  # type: ignore[misc]
    """What is read of an event."""

    sensor_id: str
    value: float
    time: int


def main() -> None:
    """Run to the topic's end, then stay until told to stop, so that what this process used can still be read."""
    bootstrap, source, results, name = sys.argv[1:5]
    settings = {"bootstrap.servers": bootstrap, "group.id": name, "auto.offset.reset": "earliest"}
    readings = pw.io.kafka.read(
        settings, topic=source, format="json", schema=Reading, mode="static", autocommit_duration_ms=None
    )
    windows = readings.windowby(
        readings.time,
        window=pw.temporal.tumbling(duration=WINDOW),
        instance=readings.sensor_id,
    ).reduce(
        sensor=pw.this._pw_instance,
        start=pw.this._pw_window_start,
        count=pw.reducers.count(),
        mean=pw.reducers.avg(pw.this.value),
        min=pw.reducers.min(pw.this.value),
        max=pw.reducers.max(pw.this.value),
    )
    pw.io.kafka.write(windows, {"bootstrap.servers": bootstrap}, results, format="json")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    signal.pause()


if __name__ == "__main__":
    main()
