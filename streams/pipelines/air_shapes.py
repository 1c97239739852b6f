"""Air by site: minutes rolled up over sensors, and distributions that depart from other sites or from the past."""

from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling
from streams.shape import ShapePipeline

AIR_SITES = Pipeline(
    name="air-sites",
    source="iot.sensor.reading.v1",
    event=SENSOR_READING,
    group_by=("sensor_id", "quantity"),
    keep=("site",),
    window=Tumbling(60_000),
    rollups=(RollUp(by=("site", "quantity"), together=("quantity",)),),
)

SHAPE = ShapePipeline(name="shape", upstream="air-sites:by-site-quantity", window_ms=60_000)
