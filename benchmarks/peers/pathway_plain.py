"""The same windows on Pathway, one worker, nothing kept anywhere, run in its own environment: BOOTSTRAP SOURCE RESULTS NAME.

Each window is sent once, when the furthest event of all partitions is ``PATIENCE`` past its end: Pathway has one clock for all of
them, and partitions that are read at full speed are not read at the same event time.
"""

from __future__ import annotations

import sys

import pathway as pw

WINDOW = 10_000
PATIENCE = 60_000


class Reading(pw.Schema):  # type: ignore[misc]
    """What is read of an event."""

    sensor_id: str
    value: float
    time: int


def main() -> None:
    """Run until told to stop."""
    bootstrap, source, results, name = sys.argv[1:5]
    settings = {"bootstrap.servers": bootstrap, "group.id": name, "auto.offset.reset": "earliest"}
    readings = pw.io.kafka.read(settings, topic=source, format="json", schema=Reading)
    windows = readings.windowby(
        readings.time,
        window=pw.temporal.tumbling(duration=WINDOW),
        instance=readings.sensor_id,
        behavior=pw.temporal.exactly_once_behavior(shift=PATIENCE),
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


if __name__ == "__main__":
    main()
