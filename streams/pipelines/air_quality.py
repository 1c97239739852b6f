"""Sensors of air and weather: ten-second windows by sensor and quantity, and what is wrong with them."""

from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.flatline import FlatLine
from streams.rules.robust_z import RobustZ
from streams.rules.silence import Silence

AIR_QUALITY = Pipeline(
    name="air-quality",
    source="iot.sensor.reading.v1",
    event=SENSOR_READING,
    group_by=("sensor_id", "quantity"),
    keep=("site",),
    window=Tumbling(10_000),
    out_of_orderness_ms=2_000,
    rules=(
        RobustZ(name="unusual", source="mean", raise_at=8.0, clear_at=4.0),
        FlatLine(name="stuck", duration_ms=60_000, min_samples=10),
        Silence(name="silent", duration_ms=120_000),
    ),
)
