"""Hourly weather stations: each day's aggregates by instrument, and days unlike the weeks before them."""

from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.robust_z import RobustZ

WEATHER = Pipeline(
    name="weather",
    source="iot.weather.reading.v1",
    event=SENSOR_READING,
    group_by=("sensor_id", "quantity"),
    keep=("site",),
    window=Tumbling(86_400_000),
    out_of_orderness_ms=3_600_000,
    # Stations report hourly; a quiet minute says nothing.
    idle_timeout_ms=None,
    rules=(
        RobustZ(
            name="unusually-low",
            source="min",
            side="below",
            raise_at=4.5,
            clear_at=2.0,
            alpha=0.05,
            min_sd=0.5,
        ),
        RobustZ(
            name="unusually-high",
            source="max",
            side="above",
            raise_at=6.0,
            clear_at=3.0,
            alpha=0.05,
            min_sd=0.5,
        ),
    ),
)
